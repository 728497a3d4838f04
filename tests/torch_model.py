"""The least model that has all kinds of parameters, as a file of the authors': for tests of reading it."""

import functools
from typing import Any

import jax
import numpy as np
from golden_data import settings as golden_settings
from ml_collections import ConfigDict
from torch_file import Pieces, pieces

from hcflow_jax import models
from hcflow_jax.interop import arrays
from hcflow_jax.interop import settings as release
from hcflow_jax.interop.constants import constants, without_effect


@functools.cache
def settings() -> dict[str, Any]:
    """Settings of two levels, with a U-Net, a skip, both kinds of splits and a base that is all masked."""
    general = {**golden_settings()["GENERAL"], "RESIZE_DATA_TO": 16}
    model = {
        **golden_settings()["MODEL_PARAMETERS"],
        "RESOLUTIONS": [16, 8],
        "SKIPS_CHANNELS": [2, 2],
        "CHANNELS": [3, 4],
        "LOSS_WEIGHTS": [1.0, 1.0],
        "PRIOR_STDS": [1.0, 1.0],
        "NUM_LAYERS": [2, 1],
        "ENCODER_CHANNELS": [4, 4],
        "DECODER_CHANNELS": [4, 4],
        "RNVP_CHANNELS": [4, 4],
        "UNET_N_DOWNSCALES": [1, 1],
        "FLOW_SPLIT_TYPES": ["blocks-channels", "channels"],
        "POOLING_TYPE": ["blocks_only_reduced", "blocks_only_reduced"],
        "COND_OUT_C": [4, 4],
        "GLOBAL_NET_CHANNELS": 8,
        "AUGMENTATION_TYPES": ["NOISE_NOEUNET_NO_STYLE_NO_NORM", "NOISE"],
        "DECODER_REL_NOISE": [0.05, 0.05],
        "USE_UNITARY_PERMUTE": [False, False],
        "ENDBLOCK_SETTINGS": {
            **golden_settings()["MODEL_PARAMETERS"]["ENDBLOCK_SETTINGS"],
            "COND_OUTPUT_CHANNELS": [-1, 4],
            "MASK_FOR_BASE_IND": [0, 8],
            "LAYERS": [1, 2],
            "RNVP_CHANNELS": [4, 4],
            "ENDBLOCK_TOT_CHANNELS": 8,
            "AUTOENCODER_CHANNELS": 8,
            "GLOBAL_STATE_HIDDEN_CHANNELS": 8,
        },
    }
    return {"GENERAL": general, "MODEL_PARAMETERS": model}


@functools.cache
def config() -> ConfigDict:
    """The same as our config."""
    return release.to_config(settings())


@functools.cache
def shapes() -> Any:
    """Shapes of the model's parameters."""
    return models.build(config()).shapes()


@functools.cache
def flat() -> dict[str, np.ndarray]:
    """Parameters, masks and kernels under the authors' names; not to be written to."""
    rng = np.random.default_rng(0)
    tree = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes())
    learnt = arrays.to_torch(tree, config())
    return {**learnt, **without_effect(learnt, config()), **dict(constants(config()))}


@functools.cache
def file() -> Pieces:
    """A file of them, the optimizer without moments."""
    return pieces(flat(), settings(), moments=False)
