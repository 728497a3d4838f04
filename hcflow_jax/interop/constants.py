"""The arrays in the authors' files that are not learned: masks, resampling kernels, and parameters without effect."""

import math
from collections.abc import Iterator, Mapping

import numpy as np
from ml_collections import ConfigDict

from hcflow_jax import flows
from hcflow_jax.models.hierarchy.build import level_rows

_TAPS = np.array([1, 3, 3, 1], np.float32) / 8
_DEAD_BIASES = (".conv_d_pred_2.w", ".conv_d_pred_3.w")  # their biases are multiplied by 0
_SPLIT_CONV = "endblock_split_conv.w"


def constants(config: ConfigDict) -> Iterator[tuple[str, np.ndarray]]:
    """Masks and resampling kernels, which follow from the config.

    mask_out is 1 where a coupling changes its input; mask_in is sqrt(2) where it does not. The masks for style and
    base are 0 on the channels of y_top that style network and base do not see.

    Yields:
      (state_dict name, float32 array).
    """
    rows = level_rows(config)
    for prefix in ("", *(f"blocks.{block}." for block in range(len(rows)))):
        for name in ("interp_K", "interp_K_down"):
            yield prefix + name, np.outer(_TAPS, _TAPS)[None, None]
    yield from _top(config.model.top)
    for block, (resolution, row) in enumerate(rows.items()):
        for step, kind in enumerate(reversed(row.steps)):  # the authors count steps from the latent side
            split = flows.ChannelSplit()
            if kind != "channel":
                split = flows.CheckerSplit(int(kind.removeprefix("checker")), step)
            hidden = np.asarray(split.hidden((1, resolution, resolution, row.channels)))
            whole = np.broadcast_to(hidden, (resolution, resolution, row.channels)).transpose(2, 0, 1)
            yield from _pair(f"blocks.{block}.blocks.steps.{step}", whole)


def _top(top: ConfigDict) -> Iterator[tuple[str, np.ndarray]]:
    for name, (a, b) in (("style", top.style_masked), ("base", top.base_masked)):
        mask = np.ones((1, top.dims), np.float32)
        mask[:, a:b] = 0
        yield f"endblock_unified._mask_for_{name}", mask
    parts = (("endblock_uncond", top.prior, top.prior.dims), ("conditionals.0", top.y1, top.dims - top.prior.dims))
    for name, part, dims in parts:
        hidden = np.asarray(flows.ChannelSplit().hidden((1, dims)))
        for step in range(part.steps):
            yield from _pair(f"endblock_unified.{name}.steps.{step}", hidden)


def _pair(step: str, hidden: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    yield f"{step}.coupling.mask_in", np.ascontiguousarray(np.float32(math.sqrt(2)) * (1 - hidden)[None])
    yield f"{step}.coupling.mask_out", np.ascontiguousarray(hidden[None])


def without_effect(flat: Mapping[str, np.ndarray], config: ConfigDict) -> dict[str, np.ndarray]:
    """Zeros for the parameters that have no effect. Our tree does not have them.

    Args:
      flat: the learned parameters, by the authors' names.
      config: the config of the same model.
    """
    dead: dict[str, np.ndarray] = {
        f"{name[:-1]}b": np.zeros(len(kernel), np.float32)
        for name, kernel in flat.items()
        if name.endswith(_DEAD_BIASES)
    }
    if _SPLIT_CONV not in flat:
        dims = config.model.top.dims
        dead[_SPLIT_CONV] = np.zeros((dims, dims, 1, 1), np.float32)
    return dead
