"""The noise of the features y in training: its scale and its draws (Eq. 6).

Every level except the finest gets two independent noises: one as input of its own flow, one as input of the next
finer decoder. Each sample has its own draws, so dividing a batch over devices changes nothing.
"""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

if TYPE_CHECKING:
    from hcflow_jax.models.hierarchy.model import Hierarchy

Noise = dict[str, dict[str, Array]]
USES = ("flow", "decoder")


def draw(model: "Hierarchy", keys: Key[Array, " b"]) -> Noise:
    """Draws standard normal noise for every noisy level, from one key per sample.

    Args:
      model: the model.
      keys: (b,) typed keys.

    Returns:
      {"flow": {level: eps}, "decoder": {level: eps}}; eps has the shape of y, (b, ...).
    """

    leaves = [(use, n, model.level(n)) for use in USES for n in model.noisy_names]
    ends = np.cumsum([level.dims for _, _, level in leaves])

    def one(key: Key[Array, ""]) -> Noise:
        # One draw is divided into levels. With one draw per level, every program would contain a dozen generators.
        parts = jnp.split(jax.random.normal(key, (int(ends[-1]),), jnp.float32), ends[:-1])
        drawn: Noise = {use: {} for use in USES}
        for (use, n, level), part in zip(leaves, parts, strict=True):
            drawn[use][n] = part.reshape(level.shape)
        return drawn

    return jax.vmap(one)(keys)


def zeros(model: "Hierarchy", batch: int) -> Noise:
    """No noise: the tree of `draw`, with zeros, for `batch` samples."""
    return {
        use: {n: jnp.zeros((batch, *model.level(n).shape), jnp.float32) for n in model.noisy_names} for use in USES
    }


def sigma(y: Array, group: int) -> Float[Array, " b"]:
    """sigma(y): the unbiased std over each statistics group, averaged over all dimensions (docs/model.md, Eq. J).

    The gradient is 0 for dimensions that do not vary within a group.

    Args:
      y: (b, ...).
      group: the number of consecutive samples in a group.

    Returns:
      (b,), the same value for all samples of a group, in units of y.

    Raises:
      ValueError: `group` is below 2 or does not divide b.
    """
    batch = y.shape[0]
    if group < 2 or batch % group:
        raise ValueError(
            f"sigma: a batch of {batch} is not a multiple of model.statistics_group={group} (at least 2)"
        )
    grouped = y.astype(jnp.float32).reshape(batch // group, group, -1)
    var = jnp.var(grouped, 1, ddof=1)
    varies = var > 0
    std = jnp.where(varies, jnp.sqrt(jnp.where(varies, var, 1.0)), 0.0)
    return jnp.repeat(jnp.mean(std, -1), group)


def perturb(
    model: "Hierarchy", y: dict[str, Array], noise: Noise, sigmas: dict[str, Float[Array, ""]] | None = None
) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
    """Adds noise to y: y + alpha sigma(y) eps (Eq. 6).

    Args:
      model: the model.
      y: by level, without noise.
      noise: from `draw`.
      sigmas: sigma(y) of every noisy level, for all samples; None: it is computed over the statistics groups.

    Returns:
      The inputs of the flows by level, without gradients if `model.stop_gradient`; the inputs of the decoders by
      level, with gradients; and sigma(y) by noisy level, (b,).
    """
    if sigmas is None:
        by_sample = {n: sigma(y[n], model.statistics_group) for n in model.noisy_names}
    else:
        by_sample = {n: jnp.broadcast_to(sigmas[n], y[n].shape[:1]) for n in model.noisy_names}
    flow_in, decoder_in = dict(y), dict(y)
    for n, scale in by_sample.items():
        level = model.level(n)
        scale = scale.reshape(-1, *[1] * len(level.shape))
        flow_in[n] = y[n] + level.flow_noise * scale * noise["flow"][n]
        decoder_in[n] = y[n] + level.decoder_noise * scale * noise["decoder"][n]
    if model.stop_gradient:
        flow_in = jax.tree.map(jax.lax.stop_gradient, flow_in)
    return flow_in, decoder_in, by_sample
