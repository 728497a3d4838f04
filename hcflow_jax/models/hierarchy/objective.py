"""The loss and the bound on bits/dim (docs/model.md, Eq. K to N): noise, entropies, stop-gradients and weights.

All values are per sample. The loss of a level is L_R = -(log N(z_R; 0, std_R^2) + log_det + entropy) / ln 2 bits,
times the weight of the level. The finest level adds log 4 per dimension to log_det, because its y is 4 * image.
"""

import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from hcflow_jax.gradients import at_once
from hcflow_jax.models import results
from hcflow_jax.models.hierarchy import wiring
from hcflow_jax.models.hierarchy.level import IMAGE_SCALE, Level
from hcflow_jax.models.hierarchy.noise import Noise, draw, perturb
from hcflow_jax.models.results import PerSample

if TYPE_CHECKING:
    from hcflow_jax.models.hierarchy.model import Hierarchy

draw_noise = draw


@struct.dataclass
class Part:
    """The terms of one level; all are (b,), except z.

    Attributes:
      log_prior: log N(z; 0, std^2 I), nats.
      log_det: the log-determinant of the flow, nats.
      entropy: the entropy of the noise on the flow's input, nats; 0 at the finest level.
      scale: log 4 per dimension at the finest level, nats; 0 at the others.
      z: the latents of the noisy y, (b, ...).
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
        """-(log_prior + log_det + entropy + scale) / ln 2, (b,), bits (docs/model.md, Eq. L)."""
        return -(self.log_prior + self.log_det + self.entropy + self.scale) / math.log(2)

    @property
    def bits_without_flow(self) -> PerSample:
        """The share of `bits` that does not depend on the flow, (b,), bits."""
        return -(self.entropy + self.scale) / math.log(2)


@struct.dataclass
class Objective(results.Objective):
    """The result of `objective` for each image.

    Attributes:
      parts: the terms of the loss and of the bound, by level.
    """

    parts: dict[str, Part]


def objective(
    model: "Hierarchy",
    params: Any,
    x: Float[Array, "b r r 3"],
    noise: Noise,
    sigmas: dict[str, Float[Array, ""]] | None = None,
) -> Objective:
    """Loss and bound of images, with the given noise (docs/model.md, Eq. M and N).

    The inputs of the flows pass no gradients to the encoder, but their conditioning does: the encoder learns through
    the decoders. If `model.stop_gradient` is False, it also learns through the inputs of the flows. If `model.loss`
    is "bound", it also learns from the entropies.

    Args:
      model: the model.
      params: raw or prepared.
      x: dequantised images, about [-0.5, 0.5].
      noise: from `draw_noise`, or other values of the same shapes.
      sigmas: sigma(y) of every noisy level, instead of that of the images' own statistics groups.

    Returns:
      The loss, bits; the bound, bits/dim; and their terms.

    Raises:
      ValueError: the batch is not a multiple of the statistics group, or x has another resolution.
    """
    params = model.prepare(params)
    y = model.features(params, x)
    flow_in, decoder_in, by_group = perturb(model, y, noise, sigmas)
    cond = model.conditions(params, y, decoder_in)
    terms = {n: _terms(model.level(n), (params["flows"][n], flow_in[n], cond[n])) for n in model.level_names}
    return _objective(model, terms, by_group)


def mean_loss(
    model: "Hierarchy", params: Any, x: Float[Array, "b r r 3"], noise: Noise
) -> tuple[Float[Array, ""], Objective]:
    """The mean over images of the loss of `objective`, for training. It needs less memory to differentiate.

    Given the inputs of the flows and their conditioning, the losses of the levels do not depend on each other. So the
    gradient of each level's loss is computed before the next decoder runs. The activations of only one flow are in
    memory at a time.

    Args:
      model: the model.
      params: raw or prepared.
      x: as in `objective`.
      noise: as in `objective`.

    Returns:
      The mean, (), bits; and what `objective` returns, without gradients. There are only reverse-mode derivatives.

    Raises:
      ValueError: as in `objective`.
    """
    params = model.prepare(params)
    y = model.features(params, x)
    flow_in, decoder_in, by_group = perturb(model, y, noise)
    losses, terms = [], {}

    def visit(level: Level, cond: Any) -> tuple[Array, Array]:
        n = level.name

        def loss(arguments: Any) -> tuple[Array, Terms]:
            own = _terms(level, arguments)
            return -jnp.mean(own.log_prior + own.log_det) * _weight(model, level) / math.log(2), own

        given = (params["flows"][n], flow_in[n], cond)
        of_level, terms[n], seen = at_once(loss, given, decoder_in[n])
        losses.append(of_level)
        return y[n], seen

    wiring.walk(model, wiring.runner(params), visit, model.levels, {})
    result = _objective(model, terms, by_group)
    # The rest of the loss: the entropies, which have gradients if `model.loss` is "bound", and constants.
    rest = sum(_weight(model, model.level(n)) * part.bits_without_flow for n, part in result.parts.items())
    return sum(losses, jnp.mean(rest)), jax.lax.stop_gradient(result)


@struct.dataclass
class Terms:
    """What the flow of one level contributes: three of the attributes of `Part`."""

    log_prior: PerSample
    log_det: PerSample
    z: Array


def _terms(level: Level, arguments: tuple[Any, Array, Any]) -> Terms:
    """The flow's parameters, its input and its conditioning -> its terms."""
    z, log_det = level.flow.forward(*arguments)
    return Terms(log_normal(z, level.prior_std), log_det, z)


def _weight(model: "Hierarchy", level: Level) -> float:
    """The factor of a level's bits in the loss."""
    return level.weight if model.loss == "weighted" else 1 / math.prod(model.image_shape)


def _objective(model: "Hierarchy", terms: dict[str, Terms], by_group: dict[str, PerSample]) -> Objective:
    parts, zero = {}, jnp.zeros_like(terms[model.level_names[-1]].log_det)
    for level in model.levels:
        n, own = level.name, terms[level.name]
        finest = n == model.level_names[-1]
        parts[n] = Part(
            log_prior=own.log_prior,
            log_det=own.log_det,
            entropy=zero if finest else noise_entropy(level, by_group[n], learns=model.loss == "bound"),
            scale=zero + level.dims * math.log(IMAGE_SCALE) * finest,
            z=own.z,
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
    """log N(z; 0, std^2 I), summed over all dimensions, (b,), nats."""
    square = jnp.sum(jnp.square(z / std), tuple(range(1, z.ndim)))
    return -0.5 * square - math.prod(z.shape[1:]) * (0.5 * math.log(2 * math.pi) + math.log(std))


def noise_entropy(level: Level, sigma: PerSample, learns: bool = False) -> PerSample:
    """The entropy of the noise on a flow's input, N(0, (alpha sigma)^2) in all dimensions (docs/model.md, Eq. K).

    Args:
      level: the level; alpha is its `flow_noise`.
      sigma: sigma(y) of each sample's group, (b,).
      learns: whether sigma gets a gradient. The gradient is 0 where sigma is 0.

    Returns:
      (b,), nats; 0 if alpha is 0.
    """
    if level.flow_noise == 0:
        return jnp.zeros_like(sigma)
    if learns:
        sigma = jnp.where(sigma > 0, sigma, jax.lax.stop_gradient(sigma))
    else:
        sigma = jax.lax.stop_gradient(sigma)
    variance = jnp.square(level.flow_noise * sigma)
    return level.dims * (0.5 * jnp.log(2 * math.pi * variance) + 0.5)
