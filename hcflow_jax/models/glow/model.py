"""Glow as an `ImageModel`: an exact likelihood, and whitened latents of each level.

The levels are named by their resolutions, coarse to fine: "4", "8" and "16" for images of 32 pixels and 3 levels. The
latents of "16" and "8" are the halves of the channels that leave at these levels; the latent of "4" is the last one.
All latents are whitened, eps = (z - mean) exp(-logs), so that their prior is standard normal. The log-determinant of
a level includes -sum(logs).
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array, Float, Key

from hcflow_jax import flows, parameters
from hcflow_jax.errors import InputError
from hcflow_jax.models.base import ByLevel, ImageModel, Params, Sigma, State, level_error
from hcflow_jax.models.glow.family import IMAGE_CHANNELS
from hcflow_jax.models.results import LevelMap, Objective, PerSample

_SQUEEZE = flows.Squeeze()


@dataclasses.dataclass(frozen=True)
class Glow(ImageModel):
    """The Glow model. `build` makes it from a config.

    Attributes:
      resolution: R, pixels.
      levels: (name, flow) pairs, coarse to fine. A flow starts after the squeeze of its level. The coarsest flow
        gives its latent; the others give the latent that leaves, and the input of the next level.
      bits: the bits of the images, `data.bits`.
      norm_factor: the factor of the log-scales that actnorms store (3 in OpenAI's Glow, else 1).
    """

    resolution: int
    levels: tuple[tuple[str, flows.Bijector], ...]
    bits: int
    norm_factor: float = 1.0

    likelihood = "exact"

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(R, R, 3) of x."""
        return (self.resolution, self.resolution, IMAGE_CHANNELS)

    @property
    def level_names(self) -> tuple[str, ...]:
        """The levels, coarse to fine: R / 2^L, ..., R / 2."""
        return tuple(name for name, _ in self.levels)

    @property
    def scaled_levels(self) -> tuple[str, ...]:
        """All levels."""
        return self.level_names

    @property
    def latent_shapes(self) -> dict[str, tuple[int, ...]]:
        """(r, r, channels) of each level's latent, without the batch."""
        shapes, channels = {}, IMAGE_CHANNELS
        for name, flow in reversed(self.levels):
            channels *= 2 if flow.leaving else 4
            shapes[name] = (int(name), int(name), channels)
        return {name: shapes[name] for name in self.level_names}

    # Parameters

    def create(self, key: Key[Array, ""]) -> Params:
        """Fresh parameters that do not depend on data yet, as numpy arrays; one draw gives all random ones."""
        return jax.device_get(parameters.draw(key, self._create))

    def shapes(self) -> Params:
        """The shapes of the parameters; nothing is allocated."""
        return parameters.unbox(jax.eval_shape(self._create, jax.random.key(0)))

    def _create(self, key: Key[Array, ""]) -> Params:
        """Fresh parameters; the random ones are in boxes (`parameters.Drawn`)."""
        made, h = {}, jnp.zeros((1, *self.image_shape))
        for (name, flow), own in zip(reversed(self.levels), jax.random.split(key, len(self.levels)), strict=True):
            h = _SQUEEZE.forward({}, h)[0]
            made[name] = flow.create(own, h)
            h = h[..., : h.shape[-1] // 2]
        return {"flows": made}

    def calibrate(self, params: Params, x: Float[Array, "b r r 3"], keys: Key[Array, " b"]) -> Params:
        """Initialises all actnorms from the images, also those inside the couplings' networks, in `forward` order."""
        del keys
        done, h = {}, x
        for name, flow in reversed(self.levels):
            h = _SQUEEZE.forward({}, h)[0]
            done[name], z = flow.calibrate(params["flows"][name], h)
            h = z[-1] if flow.leaving else z
        return {"flows": done}

    def prepare(self, params: Params) -> Params:
        """Computes the matrix of every 1x1 convolution, its inverse and its log-det."""
        return {"flows": {name: flow.prepare(params["flows"][name]) for name, flow in self.levels}}

    def flow_params(self, prepared: Params) -> dict[str, Params]:
        """The prepared parameters of each level; actnorms have their effective log-scales."""

        def effective(path: Any, leaf: Array) -> Array:
            return self.norm_factor * leaf if parameters.path_name(path).endswith("actnorm/scale") else leaf

        return jax.tree_util.tree_map_with_path(effective, prepared["flows"])

    # Likelihood

    def objective(
        self,
        params: Params,
        x: Float[Array, "b r r 3"],
        keys: Key[Array, " b"],
        statistics: dict[str, Float[Array, ""]] | None = None,
    ) -> Objective:
        """-log2 p(x) of each image, in bits per dimension, for pixel values in steps of 1 (Eq. 1); also the loss.

        Args:
          params: raw or prepared.
          x: dequantised images.
          keys: not used: the model has no noise.
          statistics: not used.
        """
        del keys, statistics
        log_density = self._log_density(params, x)
        dims = math.prod(self.image_shape)
        by_level = {name: -value / (dims * math.log(2)) for name, value in log_density.items()}
        bits = sum(by_level.values(), jnp.zeros(x.shape[0], x.dtype)) + self.bits
        return Objective(loss=bits, bits_per_dim=bits, bits_by_level=by_level)

    def _log_density(self, params: Params, x: Float[Array, "b r r 3"]) -> dict[str, PerSample]:
        """Each level's share of log p(x), nats."""
        z, log_dets = self.encode(params, x)
        return {
            n: flows.StandardNormal(shape).log_prob(z[n]) + log_dets[n] for n, shape in self.latent_shapes.items()
        }

    # Latents

    def encode(self, params: Params, x: Float[Array, "b r r 3"]) -> tuple[ByLevel, ByLevel]:
        """Encodes images to latents.

        Returns:
          eps by level, coarse to fine, and the log-determinant of each level, (b,), nats: that of its steps, plus
          -sum(logs) of its prior. The sum over the levels is log|det d eps / d x|.

        Raises:
          InputError: the images have another shape.
        """
        if x.shape[1:] != self.image_shape:
            raise InputError(f"x has shape {tuple(x.shape)}; the model expects {('batch', *self.image_shape)}")
        z, log_dets, h = {}, {}, x
        for name, flow in reversed(self.levels):
            h = _SQUEEZE.forward({}, h)[0]
            out, log_dets[name] = flow.forward(params["flows"][name], h)
            z[name], h = out if flow.leaving else (out, out)
        return {n: z[n] for n in self.level_names}, {n: log_dets[n] for n in self.level_names}

    def level_maps(self, params: Params, x: Float[Array, "b r r 3"]) -> dict[str, LevelMap]:
        """The map of each level, after its squeeze.

        Its result is the latent and the input of the next level, concatenated over channels.
        """
        maps, h = {}, x
        for name, flow in reversed(self.levels):
            y, own = _SQUEEZE.forward({}, h)[0], params["flows"][name]
            maps[name] = LevelMap(y, Partial(_together, flow, own), Partial(_apart, flow, own))
            h = maps[name].forward(y)[0][..., y.shape[-1] // 2 :]
        return {name: maps[name] for name in self.level_names}

    def decode_coarse(self, params: Params, z: ByLevel, level: str) -> State:
        """Decodes the levels coarser than `level`: {"h": the half that stayed at `level`}, or {} if there is none."""
        return self._invert(params, {}, z, self.levels[: self._place(level)])

    def decode_from(self, params: Params, state: State, z: ByLevel, level: str) -> Float[Array, "b r r 3"]:
        """Decodes `level` and the finer ones, given the coarser ones."""
        return self._invert(params, state, z, self.levels[self._place(level) :])["h"]

    def _invert(
        self, params: Params, state: State, z: ByLevel, levels: tuple[tuple[str, flows.Bijector], ...]
    ) -> State:
        for name, flow in levels:
            h, _ = flow.inverse(params["flows"][name], (z[name], state["h"]) if state else z[name])
            state = {"h": _SQUEEZE.inverse({}, h)[0]}
        return state

    def _place(self, name: str) -> int:
        if name not in self.level_names:
            raise KeyError(level_error(name, self.level_names))
        return self.level_names.index(name)

    def draw(self, key: Key[Array, ""], count: int, sigma: Sigma = 1.0) -> ByLevel:
        """Draws latents eps ~ N(0, sigma^2).

        Args:
          key: a typed key.
          count: the number of images.
          sigma: one value for all levels, or a dict by level name (levels that are not named have 1).

        Raises:
          InputError: `sigma` names a level that the model does not have.
        """
        sigmas = sigma if isinstance(sigma, dict) else dict.fromkeys(self.level_names, sigma)
        for name in sigmas:
            if name not in self.level_names:
                raise InputError(f"sigma: {level_error(name, self.level_names)}")
        keys = jax.random.split(key, len(self.levels))
        return {
            name: jnp.asarray(sigmas.get(name, 1.0), jnp.float32)
            * jax.random.normal(own, (count, *shape), jnp.float32)
            for (name, shape), own in zip(self.latent_shapes.items(), keys, strict=True)
        }

    def finest_score(self, params: Params, x: Float[Array, "b r r 3"], state: State) -> Float[Array, "b r r 3"]:
        """The gradient of log p(x) with respect to x, nats. Nothing is held fixed: Glow is one flow over pixels."""
        del state
        return jax.grad(lambda x: sum(jnp.sum(share) for share in self._log_density(params, x).values()))(x)


def _together(flow: flows.Bijector, params: Params, y: Array) -> tuple[Array, PerSample]:
    z, log_det = flow.forward(params, y)
    return jnp.concatenate(z, -1) if flow.leaving else z, log_det


def _apart(flow: flows.Bijector, params: Params, z: Array) -> tuple[Array, PerSample]:
    return flow.inverse(params, tuple(jnp.split(z, 2, -1)) if flow.leaving else z)
