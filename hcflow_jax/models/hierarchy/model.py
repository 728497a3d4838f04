"""The paper's model: flows map the features y_R of an image to Gaussian latents, each conditioned on the coarser y.

The levels, coarse to fine, are "prior" and "y1" (the parts of the 1x1 vector y_top), then "8", ..., and the finest
resolution, whose y is 4 * image. Images x are in about [-0.5, 0.5], (b, R, R, 3). `noise` has the noise of training.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Key

from hcflow_jax import parameters
from hcflow_jax.errors import InputError
from hcflow_jax.models.base import ByLevel, ImageModel, Likelihood, Params, Sigma, State, level_error
from hcflow_jax.models.hierarchy import noise, top, wiring
from hcflow_jax.models.hierarchy.level import IMAGE_SCALE, Level
from hcflow_jax.models.hierarchy.objective import Objective, log_normal, mean_loss, objective
from hcflow_jax.models.hierarchy.rate_groups import RATE_GROUPS
from hcflow_jax.models.results import LevelMap


@dataclasses.dataclass(frozen=True)
class Hierarchy(ImageModel):
    """The paper's model. `build` makes it from a config.

    Attributes:
      encoder, style, base: networks from `nets`.
      levels: the levels, coarse to fine.
      style_masked: channels [a, b) of y_top that the style network does not see.
      statistics_group: the number of images that share sigma(y).
      bits: the bits of the images, `data.bits`.
      stop_gradient, loss: as in `config.model`.
    """

    encoder: nn.Module
    style: nn.Module
    base: nn.Module
    levels: tuple[Level, ...]
    style_masked: tuple[int, int]
    statistics_group: int
    bits: int
    stop_gradient: bool = True
    loss: Literal["weighted", "bound"] = "weighted"

    rate_groups = RATE_GROUPS
    frozen_group = "encoder"
    spaces = ("z", "y_top")

    @property
    def level_names(self) -> tuple[str, ...]:
        """The levels, coarse to fine: "prior", "y1", "8", ..., the finest."""
        return tuple(level.name for level in self.levels)

    @property
    def latent_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of z of each level, without the batch."""
        return {level.name: level.shape for level in self.levels}

    @property
    def scaled_levels(self) -> tuple[str, ...]:
        """The levels that are larger than 1x1. The 1x1 levels are drawn with standard deviation 1."""
        return self.level_names[2:]

    @property
    def batch_unit(self) -> int:
        """The size of the statistics group, over which sigma(y) is computed."""
        return self.statistics_group

    @property
    def noisy_names(self) -> tuple[str, ...]:
        """All levels except the finest."""
        return self.level_names[:-1]

    @property
    def noisy_encoder(self) -> bool:
        """Whether a level has flow noise."""
        return any(self.level(n).flow_noise > 0 for n in self.noisy_names)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(R, R, 3) of x."""
        return self.levels[-1].shape

    @property
    def latent_size(self) -> int:
        """The number of latent dimensions of one image."""
        return sum(level.dims for level in self.levels)

    @property
    def likelihood(self) -> Likelihood:
        """ "bound" if every level except the finest has flow noise; otherwise the code of an image has no density."""
        return "bound" if all(self.level(n).flow_noise > 0 for n in self.noisy_names) else "undefined"

    def level(self, name: str) -> Level:
        """The level of that name. If there is none, a KeyError names the levels."""
        for level in self.levels:
            if level.name == name:
                return level
        raise KeyError(level_error(name, self.level_names))

    # Parameters

    def create(self, key: Key[Array, ""]) -> Params:
        """Fresh parameters that do not depend on data yet, as numpy arrays from one draw. Little is compiled."""
        return parameters.draw_all(key, jax.eval_shape(self._create, key))

    def shapes(self) -> Params:
        """The shapes of the parameters; nothing is allocated."""
        return parameters.unbox(jax.eval_shape(self._create, jax.random.key(0)))

    def _create(self, key: Key[Array, ""]) -> Params:
        """Fresh parameters; the random ones are in boxes (`parameters.Drawn`)."""
        keys = iter(jax.random.split(key, 4 + 2 * len(self.levels)))
        params: dict[str, Any] = {"encoder": {}, "style": {}, "decoder": {}, "flows": {}}

        def run(module: nn.Module, path: tuple[str, ...], *inputs: Any) -> Any:
            output, made = module.init_with_output(next(keys), *inputs)
            holder = params[path[0]] if path[1:] else params
            holder[path[-1]] = made["params"]
            return output

        y = wiring.features(self, run, jnp.zeros((1, *self.image_shape), jnp.float32))

        def visit(level: Level, cond: Any) -> tuple[Array, Array]:
            params["flows"][level.name] = level.flow.create(next(keys), y[level.name], cond)
            return y[level.name], y[level.name]

        wiring.walk(self, run, visit, self.levels, {})
        return params

    def calibrate(self, params: Params, x: Float[Array, "b r r 3"], keys: Key[Array, " b"]) -> Params:
        """`calibrate_with_noise`, with noise drawn from one key per image."""
        return self.calibrate_with_noise(params, x, noise.draw(self, keys))

    def calibrate_with_noise(self, params: Params, x: Float[Array, "b r r 3"], eps: noise.Noise) -> Params:
        """Initialises the actnorms from data, in `forward` order and separately for each level.

        Args:
          params: raw; only the actnorms change.
          x: dequantised images.
          eps: the noise of the inputs of flows and decoders, as in training.
        """
        y = self.features(params, x)
        flow_in, decoder_in, _ = noise.perturb(self, y, eps)
        cond = self.conditions(params, y, decoder_in)
        flows = {
            n: self.level(n).flow.calibrate(params["flows"][n], flow_in[n], cond[n])[0] for n in self.level_names
        }
        return {**params, "flows": flows}

    def prepare(self, params: Params) -> Params:
        """Computes the matrix of every mixing, its inverse and its log-det, batched over the steps of a `Repeat`."""
        flows = {level.name: level.flow.prepare(params["flows"][level.name]) for level in self.levels}
        return {**params, "flows": flows}

    def flow_params(self, prepared: Params) -> dict[str, Params]:
        """The prepared parameters of each level's flow."""
        return prepared["flows"]

    # Likelihood

    def objective(
        self,
        params: Params,
        x: Float[Array, "b r r 3"],
        keys: Key[Array, " b"],
        statistics: dict[str, Float[Array, ""]] | None = None,
    ) -> Objective:
        """Loss and bound of each image, with noise drawn from one key per image; see `objective.objective`."""
        return objective(self, params, x, noise.draw(self, keys), statistics)

    def mean_loss(
        self, params: Params, x: Float[Array, "b r r 3"], keys: Key[Array, " b"]
    ) -> tuple[Array, Objective]:
        """The mean of the loss; its gradient has the activations of one flow at a time (`objective.mean_loss`)."""
        return mean_loss(self, params, x, noise.draw(self, keys))

    def batch_statistics(self, params: Params, x: Float[Array, "b r r 3"]) -> dict[str, Float[Array, ""]]:
        """sigma(y) of every noisy level, averaged over the statistics groups."""
        features = self.features(params, x).items()
        return {n: jnp.mean(noise.sigma(y, self.statistics_group)) for n, y in features if n in self.noisy_names}

    # Data to latents

    def features(self, params: Params, x: Float[Array, "b r r 3"]) -> ByLevel:
        """y by level, coarse to fine, without noise. Images of another shape raise a ValueError."""
        if x.shape[1:] != self.image_shape:
            raise ValueError(f"x has shape {tuple(x.shape)}; the model expects {('batch', *self.image_shape)}")
        return wiring.features(self, wiring.runner(params), x)

    def conditions(self, params: Params, y: ByLevel, noisy: ByLevel | None = None) -> dict[str, Any]:
        """The conditioning of every level's flow, from the y of the coarser levels.

        Args:
          params: raw or prepared.
          y: by level; y_1 is conditioned on y_prior without noise.
          noisy: the noisy y that decoders get in training; None: y.
        """
        seen = y if noisy is None else noisy
        conditions = {}

        def visit(level: Level, cond: Any) -> tuple[Array, Array]:
            conditions[level.name] = cond
            return y[level.name], seen[level.name]

        wiring.walk(self, wiring.runner(params), visit, self.levels, {})
        return conditions

    def encode(self, params: Params, x: Float[Array, "b r r 3"]) -> tuple[ByLevel, ByLevel]:
        """Encodes images without noise: z by level, coarse to fine, and log|det dz/dy| of each flow, (b,), nats."""
        return self._latents(params, self.features(params, x))

    def encode_noisy(
        self,
        params: Params,
        x: Float[Array, "b r r 3"],
        keys: Key[Array, " b"],
        statistics: dict[str, Float[Array, ""]],
    ) -> tuple[ByLevel, ByLevel]:
        """`encode` of noisy features, y + alpha sigma(y) eps (Eq. 6). Flows and decoders get the same noisy y."""
        noisy, _, _ = noise.perturb(self, self.features(params, x), noise.draw(self, keys), statistics)
        return self._latents(params, noisy)

    def _latents(self, params: Params, y: ByLevel) -> tuple[ByLevel, ByLevel]:
        found = {n: each.forward(each.y) for n, each in self._maps(params, y).items()}
        return {n: z for n, (z, _) in found.items()}, {n: log_det for n, (_, log_det) in found.items()}

    def level_maps(self, params: Params, x: Float[Array, "b r r 3"]) -> dict[str, LevelMap]:
        """The flow of each level, from y to z, conditioned on the coarser levels of x."""
        return self._maps(params, self.features(params, x))

    def _maps(self, params: Params, y: ByLevel) -> dict[str, LevelMap]:
        cond = self.conditions(params, y)
        return {n: self.level(n).at(params["flows"][n], y[n], cond[n]) for n in self.level_names}

    # Latents to data

    def generate(self, params: Params, z: ByLevel) -> tuple[ByLevel, ByLevel]:
        """Maps latents to y of every level, coarse to fine, and log|det dy/dz| of each flow, (b,), nats."""
        _, y, log_dets = self._invert(params, z, self.levels, {})
        return y, log_dets

    def decode_coarse(self, params: Params, z: ByLevel, level: str) -> State:
        """Decodes the levels coarser than `level`, to the state that conditions `level` and the finer ones."""
        return self._invert(params, z, self.levels[: self._place(level)], {})[0]

    def decode_from(self, params: Params, state: State, z: ByLevel, level: str) -> Float[Array, "b r r 3"]:
        """Decodes `level` and the finer ones, given the coarser ones."""
        _, y, _ = self._invert(params, z, self.levels[self._place(level) :], state)
        return y[self.level_names[-1]] / IMAGE_SCALE

    def finest_score(self, params: Params, x: Float[Array, "b r r 3"], state: State) -> Float[Array, "b r r 3"]:
        """The gradient of log p(x | coarser levels) with respect to x, nats."""
        level = self.levels[-1]
        cond, _ = wiring.condition(self, wiring.runner(params), level, state)

        def log_density(x: Array) -> Array:
            z, log_det = level.flow.forward(params["flows"][level.name], IMAGE_SCALE * x, cond)
            return jnp.sum(log_normal(z, level.prior_std) + log_det)

        return jax.grad(log_density)(x)

    def _invert(
        self, params: Params, z: ByLevel, levels: tuple[Level, ...], state: State
    ) -> tuple[State, ByLevel, ByLevel]:
        """Maps the latents of some levels to y and log-dets, given the state of the levels before them."""
        y, log_dets = {}, {}

        def visit(level: Level, cond: Any) -> tuple[Array, Array]:
            n = level.name
            y[n], log_dets[n] = level.flow.inverse(params["flows"][n], z[n], cond)
            return y[n], y[n]

        return wiring.walk(self, wiring.runner(params), visit, levels, state), y, log_dets

    def _place(self, name: str) -> int:
        return self.level_names.index(self.level(name).name)

    def to_space(self, params: Params, z: ByLevel, space: str) -> ByLevel:
        """For "y_top": the parts of the 1x1 vector y_top, in place of their latents."""
        return top.to_features(self, params, z) if space == "y_top" else super().to_space(params, z, space)

    def from_space(self, params: Params, y: ByLevel, space: str) -> ByLevel:
        """The inverse of `to_space`."""
        return top.to_latents(self, params, y) if space == "y_top" else super().from_space(params, y, space)

    def draw(self, key: Key[Array, ""], count: int, sigma: Sigma = 1.0) -> ByLevel:
        """Draws z ~ N(0, (sigma prior_std)^2) (docs/model.md, Eq. Q). A single sigma does not apply to 1x1 levels."""
        sigmas = sigma if isinstance(sigma, dict) else dict.fromkeys(self.scaled_levels, sigma)
        for name in sigmas:
            if name not in self.level_names:
                raise InputError(f"sigma: {level_error(name, self.level_names)}")
        drawn = {}
        for level, k in zip(self.levels, jax.random.split(key, len(self.levels)), strict=True):
            std = jnp.asarray(level.prior_std * sigmas.get(level.name, 1.0), jnp.float32)
            drawn[level.name] = std * jax.random.normal(k, (count, *level.shape), jnp.float32)
        return drawn
