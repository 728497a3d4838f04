"""Reads Glow models of other implementations: the public PyTorch one's state_dict, OpenAI's TensorFlow variables.

The numbers of levels and steps, the widths, and the kinds of couplings and mixings follow from the names and shapes
of the arrays. `glow_names` has the tables of names.
"""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from hcflow_jax import config as schema
from hcflow_jax import paths
from hcflow_jax.config import ConfigError
from hcflow_jax.errors import InputError
from hcflow_jax.files import refuse_special
from hcflow_jax.interop import state_dict
from hcflow_jax.models.glow import family

Flat = dict[str, np.ndarray]

_CONDITIONAL = ("project_ycond", "project_class", "model/prior/y_emb", "model/classifier")
_AVERAGE = "/ExponentialMovingAverage"
_TOP_WEIGHT, _PRIOR_H = "learn_top_fn.conv.weight", "prior_h"


def read(file: Path) -> Flat:
    """The arrays of a file by name. The file is an .npz, or has a format that `state_dict.read` reads.

    Raises:
      InputError: the file is missing, damaged, or of another format; the message names it.
    """
    if file.suffix != ".npz":
        return state_dict.read(file)
    try:
        refuse_special(file.stat())
        with open(file, "rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            return dict(arrays)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror or error})") from None
    except (ValueError, EOFError, TypeError, NotImplementedError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{file}: it is not a complete .npz of arrays ({' '.join(str(error).split())[:200]})"
        ) from None


def convert(
    flat: Mapping[str, np.ndarray], resolution: int, given: ConfigDict | None = None
) -> tuple[Any, ConfigDict]:
    """Converts the arrays of a Glow model to our parameters, and makes its config.

    Args:
      flat: the arrays by name, with the names of either implementation.
      resolution: R of the images, pixels.
      given: a config of the family "glow", for the groups `data`, `eval`, `sample` and `execution`.

    Returns:
      The parameter tree, and the config.

    Raises:
      ConfigError: `resolution` or `given` does not fit.
      InputError: an array is missing, unknown, of another shape or not finite, or the model is class-conditional.
    """
    from hcflow_jax.interop import glow_names

    flat = _relevant(flat)
    for name, array in flat.items():
        if name.startswith(_CONDITIONAL):
            raise InputError(f"{name}: the model is class-conditional, and only unconditional ones can be imported")
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise InputError(f"{name} has a value that is not finite, so the model cannot be used")
    config = _with_images(_structure(flat), resolution, given)
    schema.check(config)
    flat = _check_top(flat, config)
    tree = glow_names.from_flat(flat, config)
    known = {name for _, _, names, _ in glow_names.entries(config) for name in names}
    if left := sorted(flat.keys() - known):
        raise InputError(f"it has {len(left)} unknown entries, the first {left[0]!r}")
    return tree, config


def import_file(file: Path, out: Path, resolution: int, given: ConfigDict | None = None) -> list[str]:
    """Makes a workdir from a file.

    Args:
      file: the file, see `read`.
      out: the workdir to make.
      resolution: R of the images, pixels.
      given: as in `convert`.

    Returns:
      Lines that say what was imported.

    Raises:
      CheckpointError: `out` exists, or cannot be written.
      ConfigError, InputError: see `convert`; the message names the file.
    """
    import jax

    from hcflow_jax import checkpoint, devices
    from hcflow_jax.settings import own

    checkpoint.check_new(out)
    file = paths.local(file)
    flat = read(file)
    devices.start()
    try:
        with own():
            tree, config = convert(flat, resolution, given)
    except InputError as error:
        raise type(error)(f"{file}: {error}") from error
    about = {"imported": {"file": file.name, "bytes": file.stat().st_size, "family": family.NAME}}
    step = checkpoint.save_weights(out, tree, config, about)
    model, count = config.model, sum(leaf.size for leaf in jax.tree.leaves(tree))
    what = f"{model.levels} levels of {model.steps} {model.coupling} steps, {model.hidden} channels, {model.mixing}"
    return [f"{file}: {count:,} parameters ({what}, {model.variant})", f"saved as {step}, with its config"]


def state_dict_of(tree: Any, config: ConfigDict) -> Flat:
    """The state_dict of the public PyTorch implementation. Parameters without effect are zero.

    Args:
      tree: the parameters.
      config: the config of the same model.

    Raises:
      ConfigError: that implementation cannot represent the model.
    """
    from hcflow_jax.interop import glow_names

    if config.model.variant != family.PYTORCH:
        raise ConfigError(
            f"model.variant is {config.model.variant!r}: the PyTorch implementation pads in another way, so only "
            f"models of variant {family.PYTORCH!r} can be exported"
        )
    without_effect = {name: np.zeros(shape, np.float32) for name, shape in _without_effect(config).items()}
    return {**glow_names.to_flat(tree, config), **without_effect}


def _without_effect(config: ConfigDict) -> dict[str, tuple[int, ...]]:
    """The shapes of the arrays without effect: the weight of the top prior, and its input, which is always zero."""
    size = config.data.resolution // 2**config.model.levels
    channels = family.IMAGE_CHANNELS * 2 ** (config.model.levels + 1)
    return {_TOP_WEIGHT: (2 * channels, 2 * channels, 3, 3), _PRIOR_H: (1, 2 * channels, size, size)}


def _relevant(flat: Mapping[str, np.ndarray]) -> Flat:
    """The arrays of the model, without an outer prefix and without TensorFlow's optimizer.

    An average of one of OpenAI's variables is used only if the variable itself is missing.
    """
    if any(name.startswith("model/") for name in flat):
        named = {n.removesuffix(":0"): array for n, array in flat.items() if n.startswith("model/")}
        averages = {n.removesuffix(_AVERAGE): array for n, array in named.items() if n.endswith(_AVERAGE)}
        return {**averages, **{n: array for n, array in named.items() if _AVERAGE not in n}}
    wrapped = all(name.startswith("module.") for name in flat)  # the prefix of PyTorch's DataParallel
    return {name.removeprefix("module.") if wrapped else name: array for name, array in flat.items()}


def _structure(flat: Flat) -> ConfigDict:
    """A config with the structure of the model, read from the names and shapes of its arrays.

    Raises:
      InputError: the names are not those of a Glow model.
    """
    config = schema.default(family.NAME)
    openai = any(name.startswith("model/") for name in flat)
    pattern = r"(model/\d+/\d+/)actnorm_center/b" if openai else r"(flow\.layers\.\d+\.)actnorm\.bias"
    steps = [found[1] for name in flat if (found := re.fullmatch(pattern, name))]
    pattern = r"model/pool\d+/conv/W" if openai else r"flow\.layers\.\d+\.conv\.conv\.weight"
    levels = 1 + sum(bool(re.fullmatch(pattern, name)) for name in flat)
    first = "model/0/0/" if openai else "flow.layers.1."
    width, last = ("f1/l_2/W", "f1/l_last/W") if openai else ("block.2.conv.weight", "block.4.conv.weight")
    for name in (first + width, first + last):
        if name not in flat or flat[name].ndim != 4:
            raise InputError(f"it has no convolution {name!r}, which the first step of a Glow has")
    if len(steps) % levels:
        raise InputError(f"it has {len(steps)} steps in {levels} levels, not as many in each: a part is missing")
    if any(name.startswith(first + "invconv") and name.rpartition("/")[2] in ("P", "L", "U") for name in flat):
        raise InputError(
            f"{first}invconv is LU-decomposed, which OpenAI's models are not known to have; export its W"
        )
    lu = first + "invconv.lower" in flat
    if not lu and first + ("invconv/W" if openai else "invconv.weight") not in flat:
        raise InputError(f"{first}invconv is missing: models that reverse or shuffle the channels cannot be imported")
    features, channels = flat[first + last].shape[3 if openai else 0], 4 * family.IMAGE_CHANNELS
    config.model.update(
        dict(
            levels=levels,
            steps=len(steps) // levels,
            hidden=int(flat[first + width].shape[3 if openai else 0]),
            coupling=family.AFFINE if features == channels else family.ADDITIVE,
            mixing=family.LU if lu else family.FULL,
            variant=family.OPENAI if openai else family.PYTORCH,
        )
    )
    return config


def _with_images(config: ConfigDict, resolution: int, given: ConfigDict | None) -> ConfigDict:
    """The config with the resolution of its images, and with the groups of `given` that do not define the model.

    Raises:
      ConfigError: `resolution` or `given` does not fit.
    """
    if given is not None:
        own = schema.family_of(given)
        if own != family.NAME:
            raise ConfigError(f"--config: model.family must be {family.NAME!r}, not {own!r}")
        if given.data.resolution != resolution:
            raise ConfigError(
                f"--config: data.resolution must be --resolution, {resolution}, not {given.data.resolution}"
            )
        for group in ("data", "eval", "sample", "execution"):
            config[group].update(given[group])
    factor = 2**config.model.levels
    if resolution < 1 or resolution % factor:
        raise ConfigError(
            f"--resolution must be a multiple of {factor}, for {config.model.levels} levels, not {resolution}"
        )
    config.data.resolution = resolution
    return config


def _check_top(flat: Flat, config: ConfigDict) -> Flat:
    """The arrays with those of a learned top prior, and without arrays that have no effect.

    Raises:
      InputError: an array without effect has another shape, or the input of the top prior is not zero.
    """
    from hcflow_jax.interop import glow_names

    for name, shape in _without_effect(config).items():
        if name in flat and flat[name].shape != shape:
            raise InputError(
                f"{name} has shape {flat[name].shape}; {config.model.levels} levels at --resolution "
                f"{config.data.resolution} want {shape}"
            )
    if np.any(flat.get(_PRIOR_H, 0)):
        raise InputError(f"{_PRIOR_H} is not zero, so the model has another prior")
    rest = {name: array for name, array in flat.items() if name not in _without_effect(config)}
    # A top prior that was not learned is a standard normal, the same as a learned prior with zeros.
    top = {
        names[0]: layout.theirs(np.zeros(shape, np.float32))
        for path, shape, names, layout in glow_names.entries(config)
        if path[2] == "top"
    }
    return rest if any(name in rest for name in top) else {**top, **rest}
