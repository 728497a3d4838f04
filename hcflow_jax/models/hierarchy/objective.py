"""The loss and the bound (Section 5): noise, entropies, stop-gradients, weights. The only place that knows bits.

Every value is per sample. A level's L_R = -(log N(z_R; 0, std_R^2) + log_det + entropy) / ln 2 bits, times its
weight; the finest level's log_det gains log 4 a dim, since its y is 4 * image.
"""

import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from hcflow_jax.models import base
from hcflow_jax.models.hierarchy.level import IMAGE_SCALE, Level
from hcflow_jax.models.hierarchy.noise import Noise, draw, perturb

if TYPE_CHECKING:
    from hcflow_jax.models.hierarchy.model import Hierarchy

draw_noise = draw

PerSample = Float[Array, " b"]


@struct.dataclass
class Part:
    """One level's share, each (b,).

    Attributes:
      log_prior: log N(z; 0, std^2 I), nats.
      log_det: the log-determinant of the flow alone, nats.
      entropy: the entropy of the noise on the flow's input, nats; 0 at the finest level.
      scale: log 4 a dim at the finest level, else 0; nats.
      z: latents of the noisy y.
      sigma: sigma(y) of the sample's statistics group; 0 at the finest level.
    """

    log_prior: PerSample
    log_det: PerSample
    entropy: PerSample
    scale: PerSample
    z: Array
    sigma: PerSample

    @property
    def bits(self) -> PerSample:
        """-(log_prior + log_det + entropy + scale), bits."""
        return -(self.log_prior + self.log_det + self.entropy + self.scale) / math.log(2)


@struct.dataclass
class Objective(base.Objective):
    """What `objective` gives for each image.

    Attributes:
      parts: what the loss and the bound are made of, by level.
    """

    parts: dict[str, Part]


def objective(
    model: "Hierarchy",
    params: Any,
    x: Float[Array, "b r r 3"],
    noise: Noise,
    sigmas: dict[str, Float[Array, ""]] | None = None,
) -> Objective:
    """Loss and bound of images, with the given noise.

    The flows' inputs are stop-gradiented, their conditioning is not: the encoder learns through the decoders. It
    learns through the flows too where `model.stop_gradient` is False, and from the entropies where `model.loss` is
    "bound".

    Args:
      model: the model.
      params: raw or prepared.
      x: dequantised images, about [-0.5, 0.5].
      noise: from `draw_noise`, or any of its shape.
      sigmas: sigma(y) of every noisy level, in place of that of the images' own statistics groups.

    Raises:
      ValueError: where the batch is no multiple of the statistics group, or x has another resolution.
    """
    params = model.prepare(params)
    y = model.features(params, x)
    flow_in, decoder_in, by_group = perturb(model, y, noise, sigmas)
    cond = model.conditions(params, y, decoder_in)
    zero = jnp.zeros(x.shape[0], x.dtype)
    parts = {}
    for level in model.levels:
        n = level.name
        z, log_det = level.flow.forward(params["flows"][n], flow_in[n], cond[n])
        finest = n == model.level_names[-1]
        parts[n] = Part(
            log_prior=log_normal(z, level.prior_std),
            log_det=log_det,
            entropy=zero if finest else noise_entropy(level, by_group[n], learns=model.loss == "bound"),
            scale=zero + level.dims * math.log(IMAGE_SCALE) * finest,
            z=z,
            sigma=by_group.get(n, zero),
        )
    dims = math.prod(model.image_shape)
    by_level = {n: part.bits / dims for n, part in parts.items()}
    in_all = sum(by_level.values(), zero)
    weighted = sum((model.level(n).weight * part.bits for n, part in parts.items()), zero)
    bound = in_all + model.bits
    return Objective(
        loss=weighted if model.loss == "weighted" else in_all,
        bits_per_dim=bound if model.likelihood == "bound" else jnp.full_like(bound, jnp.nan),
        bits_by_level=by_level,
        parts=parts,
    )


def log_normal(z: Array, std: float) -> PerSample:
    """log N(z; 0, std^2 I) over all dims, (b,), nats."""
    square = jnp.sum(jnp.square(z / std), tuple(range(1, z.ndim)))
    return -0.5 * square - math.prod(z.shape[1:]) * (0.5 * math.log(2 * math.pi) + math.log(std))


def noise_entropy(level: Level, sigma: PerSample, learns: bool = False) -> PerSample:
    """Entropy of N(0, (alpha sigma)^2) in all dims, (b,), nats; 0 where alpha is 0.

    Args:
      level: the level.
      sigma: sigma(y) of each sample's group.
      learns: whether sigma gets a gradient; it is 0 where sigma is 0.
    """
    if level.flow_noise == 0:
        return jnp.zeros_like(sigma)
    if learns:
        sigma = jnp.where(sigma > 0, sigma, jax.lax.stop_gradient(sigma))
    else:
        sigma = jax.lax.stop_gradient(sigma)
    variance = jnp.square(level.flow_noise * sigma)
    return level.dims * (0.5 * jnp.log(2 * math.pi * variance) + 0.5)
