"""The golden case's model and parameters, and programs that several test files share: each is made once."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from golden_data import group, load, nhwc, settings
from ml_collections import ConfigDict

from hcflow_jax.interop import arrays
from hcflow_jax.interop import settings as release
from hcflow_jax.models.hierarchy import Hierarchy, build, noise
from hcflow_jax.nets.decoder import mask_channels


@functools.cache
def config() -> ConfigDict:
    """tiny_a's config, from the release's settings; in float32, as the numbers are, on a GPU too."""
    config = release.to_config(settings())
    config.execution.dtype = "float32"
    return config


@functools.cache
def model() -> Hierarchy:
    """tiny_a's model."""
    return build.build(config())


def from_flat(flat: Any) -> Any:
    """Parameters of tiny_a's model from the release's."""
    return arrays.from_torch(flat, config())


@functools.cache
def params() -> Any:
    """tiny_a's parameters."""
    return from_flat(group(load("tiny_a/params"), "param/"))


@jax.jit
def _top(params: Any, prior: Any, y1: Any) -> tuple[Any, Any, Any]:
    y_top = jnp.concatenate([prior, y1], -1)
    style: Any = model().style.apply({"params": params["style"]}, mask_channels(y_top, model().style_masked))
    own = params["decoder"]["base"]
    base: Any = model().base.apply({"params": own}, y_top)
    return style, (base - own["constant"])[:, 0, 0], base


def top(y: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Style vector, masked 1x1 convolution of y_top, and 4x4 base, from the y's of a batch."""
    return _top(params(), y["prior"], y["y1"])


def recorded_noise(name: str) -> noise.Noise:
    """The noise of a file of losses: "loss_zero" or "loss_noise"."""
    if name == "loss_zero":
        return noise.zeros(model(), 4)
    data = {key: nhwc(value) for key, value in group(load(f"tiny_a/{name}"), "noise/").items()}
    flow = {"prior": "end_loss/0", "y1": "end_loss/1", "8": "flow/8", "32": "flow/32"}
    decoder = {"prior": "end_apply/0", "y1": "end_apply/1", "8": "cond/32", "32": "cond/64"}
    assert set(data) == {*flow.values(), *decoder.values()}
    return {
        "flow": {n: jnp.asarray(data[key]) for n, key in flow.items()},
        "decoder": {n: jnp.asarray(data[key]) for n, key in decoder.items()},
    }
