"""The paper's model: an image's features y_R, each made Gaussian by its own flow, conditioned on coarser ones.

Level names run coarse to fine: "prior" and "y1", the parts of the 1x1 vector y_top, then "8", ..., the finest,
whose y is 4 * image. Everything takes and gives x, images in about [-0.5, 0.5], (b, R, R, 3), and never x's noise,
which `noise` and `objective` add.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, PRNGKeyArray

from hcflow_jax import parameters
from hcflow_jax.models import noise
from hcflow_jax.models.level import Level
from hcflow_jax.nets.decoder import mask_channels

IMAGE_SCALE = 4.0  # y of the finest level is 4 * image

Params = Any
ByLevel = dict[str, Array]


@dataclasses.dataclass(frozen=True)
class Hierarchy:
    """Encoder, style network, base and levels, coarse to fine; built from a config by `factory.build`."""

    encoder: nn.Module
    style: nn.Module
    base: nn.Module
    levels: tuple[Level, ...]
    style_masked: tuple[int, int]
    statistics_group: int
    bits: int

    @property
    def level_names(self) -> tuple[str, ...]:
        """Coarse to fine: "prior", "y1", "8", ..., the finest."""
        return tuple(level.name for level in self.levels)

    @property
    def noisy_names(self) -> tuple[str, ...]:
        """All levels but the finest."""
        return self.level_names[:-1]

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(R, R, 3) of x."""
        return self.levels[-1].shape

    @property
    def latent_size(self) -> int:
        """Number of latent dimensions of one image."""
        return sum(level.dims for level in self.levels)

    @property
    def has_density(self) -> bool:
        """Whether an image's code has a density, so that bits/dim is defined: every noisy level has flow noise."""
        return all(self.level(n).flow_noise > 0 for n in self.noisy_names)

    def level(self, name: str) -> Level:
        """The level of that name.

        Raises:
          KeyError: naming the levels there are.
        """
        for level in self.levels:
            if level.name == name:
                return level
        raise KeyError(f"no level {name!r}; there are {', '.join(self.level_names)}")

    # Parameters

    def create(self, key: PRNGKeyArray) -> Params:
        """Fresh parameters, before any data is seen: numpy arrays, drawn at once, nothing compiled."""
        return parameters.draw_all(key, jax.eval_shape(self._create, key))

    def shapes(self) -> Params:
        """Shapes of the parameters; nothing is allocated."""
        return parameters.unbox(jax.eval_shape(self._create, jax.random.key(0)))

    def _create(self, key: PRNGKeyArray) -> Params:
        """Fresh parameters, boxed with how each is drawn."""
        keys = iter(jax.random.split(key, 4 + 2 * len(self.levels)))
        params: dict[str, Any] = {"encoder": {}, "style": {}, "decoder": {}, "flows": {}}

        def run(module: nn.Module, path: tuple[str, ...], *inputs: Any) -> Any:
            output, made = module.init_with_output(next(keys), *inputs)
            holder = params[path[0]] if path[1:] else params
            holder[path[-1]] = made["params"]
            return output

        y = self._features(run, jnp.zeros((1, *self.image_shape)))

        def visit(level: Level, cond: Any) -> tuple[Array, Array]:
            params["flows"][level.name] = level.flow.create(next(keys), y[level.name], cond)
            return y[level.name], y[level.name]

        self._walk(run, visit)
        return params

    def init(self, key: PRNGKeyArray, x: Float[Array, "b r r 3"]) -> Params:
        """Fresh parameters with actnorms initialised from dequantised images, under noise as in training.

        Call it as it is: only `calibrate`, which it ends with, is worth compiling.

        Args:
          key: a stream of its own.
          x: (b, R, R, 3); b a multiple of the statistics group.
        """
        for_params, for_noise = jax.random.split(key)
        eps = jax.jit(partial(noise.draw, self))(jax.random.split(for_noise, x.shape[0]))
        return jax.jit(self.calibrate)(self.create(for_params), x, eps)

    def calibrate(self, params: Params, x: Float[Array, "b r r 3"], eps: noise.Noise) -> Params:
        """Initialises the actnorms from data: front to back in forward order, each level on its own.

        Args:
          params: raw; everything but the actnorms stays as it is.
          x: dequantised images.
          eps: noise on what the flows and the decoders see, as in training.
        """
        y = self.features(params, x)
        flow_in, decoder_in, _ = noise.perturb(self, y, eps)
        cond = self.conditions(params, y, decoder_in)
        flows = {}
        for level in self.levels:
            n = level.name
            flows[n] = level.flow.calibrate(params["flows"][n], flow_in[n], cond[n])[0]
        return {**params, "flows": flows}

    def prepare(self, params: Params) -> Params:
        """Parameters with every mixing's kernel, inverse and log-det computed, once, batched over like steps."""
        flows = {level.name: level.flow.prepare(params["flows"][level.name]) for level in self.levels}
        return {**params, "flows": flows}

    # Data to latents

    def features(self, params: Params, x: Float[Array, "b r r 3"]) -> ByLevel:
        """y by level, coarse to fine, noiseless.

        Raises:
          ValueError: for images of another shape.
        """
        if x.shape[1:] != self.image_shape:
            raise ValueError(f"x has shape {tuple(x.shape)}; the model takes {('batch', *self.image_shape)}")
        return self._features(_runner(params), x)

    def conditions(self, params: Params, y: ByLevel, noisy: ByLevel | None = None) -> dict[str, Any]:
        """Conditioning of every level's flow from the y's below it: all levels at once, nothing sequential.

        Args:
          y: by level; y_1 is conditioned on the clean y_prior.
          noisy: y as the decoders see them in training; y itself where none is given.
        """
        seen = y if noisy is None else noisy
        conditions = {}

        def visit(level: Level, cond: Any) -> tuple[Array, Array]:
            conditions[level.name] = cond
            return y[level.name], seen[level.name]

        self._walk(_runner(params), visit)
        return conditions

    def encode(self, params: Params, x: Float[Array, "b r r 3"]) -> tuple[ByLevel, ByLevel]:
        """Images to latents, no noise.

        Returns:
          z by level, coarse to fine, and log|det dz/dy| of each flow, (b,), nats.
        """
        y = self.features(params, x)
        cond = self.conditions(params, y)
        z, log_dets = {}, {}
        for level in self.levels:
            n = level.name
            z[n], log_dets[n] = level.flow.forward(params["flows"][n], y[n], cond[n])
        return z, log_dets

    # Latents to data

    def generate(self, params: Params, z: ByLevel) -> tuple[ByLevel, ByLevel]:
        """Latents to the y's of every level, coarse to fine, and log|det dy/dz| of each flow, (b,), nats."""
        y, log_dets = {}, {}

        def visit(level: Level, cond: Any) -> tuple[Array, Array]:
            n = level.name
            y[n], log_dets[n] = level.flow.inverse(params["flows"][n], z[n], cond)
            return y[n], y[n]

        self._walk(_runner(params), visit)
        return y, log_dets

    def decode(self, params: Params, z: ByLevel) -> Float[Array, "b r r 3"]:
        """Latents to images: the inverse of `encode`."""
        return self.generate(params, z)[0][self.level_names[-1]] / IMAGE_SCALE

    def draw(self, key: PRNGKeyArray, count: int, sigma: float | dict[str, float] = 1.0) -> ByLevel:
        """Latents from the prior: z ~ N(0, (sigma prior_std)^2).

        Args:
          key: typed key.
          count: number of images.
          sigma: of every level above 1x1 (the top always has 1), or by level name (absent: 1).
        """
        sigmas = sigma if isinstance(sigma, dict) else dict.fromkeys(self.level_names[2:], sigma)
        if unknown := set(sigmas) - set(self.level_names):
            raise KeyError(f"sigma names no level: {unknown}; there are {', '.join(self.level_names)}")
        keys = jax.random.split(key, len(self.levels))
        return {
            level.name: level.prior_std * sigmas.get(level.name, 1.0) * jax.random.normal(k, (count, *level.shape))
            for level, k in zip(self.levels, keys, strict=True)
        }

    def sample(
        self, params: Params, key: PRNGKeyArray, count: int, sigma: float | dict[str, float] = 1.0
    ) -> Float[Array, "b r r 3"]:
        """Images of the model's own making: `decode` of `draw`."""
        return self.decode(params, self.draw(key, count, sigma))

    # How levels hang together

    def _features(self, run: "Run", x: Array) -> ByLevel:
        finest = IMAGE_SCALE * x.astype(jnp.float32)
        targets, top = run(self.encoder, ("encoder",), finest)
        split = self.level("prior").dims
        y = {"prior": top[:, :split], "y1": top[:, split:]}
        y |= {n: targets[int(n)] for n in self.level_names[2:-1]} | {self.level_names[-1]: finest}
        return {n: value.astype(jnp.float32) for n, value in y.items()}

    def _walk(self, run: "Run", visit: "Visit") -> None:
        """Coarse to fine: each level's conditioning, from what `visit` gave for the levels before it.

        `visit(level, cond)` gives the level's y, clean and as the next decoder sees it.
        """
        clean: list[Array] = []
        seen: list[Array] = []
        style = skip = None
        for level in self.levels:
            if level.decoder is None:
                cond = None
            elif level.name == "y1":
                cond = run(level.decoder, ("decoder", "y1"), clean[0])
            else:
                if style is None:
                    top = jnp.concatenate(seen, -1)
                    style = run(self.style, ("style",), mask_channels(top, self.style_masked))
                    seen.append(run(self.base, ("decoder", "base"), top))
                cond, skip = run(level.decoder, ("decoder", level.name), seen[-1], skip, style)
            y, noisy = visit(level, cond)
            clean.append(y)
            seen.append(noisy)


Run = Callable[..., Any]
Visit = Callable[[Level, Any], tuple[Array, Array]]


def _runner(params: Params) -> Run:
    """Applies a network with its part of the parameters."""

    def run(module: nn.Module, path: tuple[str, ...], *inputs: Any) -> Any:
        own = params
        for name in path:
            own = own[name]
        return module.apply({"params": own}, *inputs)

    return run
