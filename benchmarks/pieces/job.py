"""The job: what a step does, how large it is, and the weights that every library gets.

From data to latent a step is
  actnorm   x <- (x - bias) exp(-log_scale), by channel;
  coupling  x_hidden <- (x_hidden - b) exp(-s) on the last half of the channels, s clipped to [-3, 3], b to [-5, 5],
            (s, b) = conditioner(sqrt(2) times the first half, cond);
  mixing    x <- x K^T over channels, K = lower upper.
The conditioner is a 3x3, a 1x1 and a 3x3 convolution with biases and leaky ReLUs of slope 0.1 between them, in
float32. Its output's first half is s.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from hcflow_jax.flows.affine import SCALE_LIMIT, SHIFT_LIMIT
from hcflow_jax.nets.convolution import convolve
from hcflow_jax.nets.layers import activate

ROOT2 = math.sqrt(2)

Image = Float[Array, "b h w c"]


@dataclasses.dataclass(frozen=True)
class Job:
    """Sizes.

    Attributes:
      length: steps in the chain.
      resolution: pixels a side.
      channels: c, even.
      batch: images.
      condition: e, channels of the conditioning.
      hidden: width of the conditioner.
    """

    length: int = 16
    resolution: int = 32
    channels: int = 8
    batch: int = 16
    condition: int = 8
    hidden: int = 32

    def layers(self) -> dict[str, tuple[int, int, int]]:
        """The conditioner's convolutions by name, first to last: (kernel, channels in, channels out)."""
        half = self.channels // 2
        return {
            "join": (3, half + self.condition, self.hidden),
            "hidden": (1, self.hidden, self.hidden),
            "out": (3, self.hidden, 2 * half),
        }

    def shape(self) -> tuple[int, int, int]:
        """Of one image: (h, w, c)."""
        return self.resolution, self.resolution, self.channels

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Random x, (b, h, w, c), and cond, (b, h, w, e)."""
        rng = np.random.default_rng(1)
        square = (self.batch, self.resolution, self.resolution)
        x = rng.standard_normal((*square, self.channels), np.float32)
        return x, rng.standard_normal((*square, self.condition), np.float32)


class Work(NamedTuple):
    """The job done by one library.

    Attributes:
      params: its parameters, a pytree of float arrays.
      forward: (params, x, cond) -> z, log_det: (b, h, w, c) and (b,), nats.
      inverse: (params, z, cond) -> x, log_det.
      shared: takes from a tree like params (a gradient) the parts that every library stores alike, named and
        shaped as `weights` has them: "bias", "log_scale" and the convolutions.
    """

    params: Any
    forward: Callable[[Any, Array, Array], tuple[Array, Array]]
    inverse: Callable[[Any, Array, Array], tuple[Array, Array]]
    shared: Callable[[Any], dict[str, Any]]


def weights(job: Job) -> dict[str, Any]:
    """Float32 weights, the steps stacked along the first axis, nothing zero, well conditioned in chains of tens.

    Returns:
      "bias", "log_scale": (length, c); "lower": unit lower triangular, "upper": upper triangular with a positive
      diagonal, (length, c, c); "net": {layer: {"w": (length, k, k, in, out), "b": (length, out)}}.
    """
    rng = np.random.default_rng(0)
    n, c = job.length, job.channels

    def draw(scale: float, *shape: int) -> np.ndarray:
        return (scale * rng.standard_normal((n, *shape))).astype(np.float32)

    diagonal = np.exp(draw(0.05, c))[:, None] * np.eye(c, dtype=np.float32)
    net = {
        name: {"w": draw((0.1 if name == "out" else 1) / math.sqrt(k * k * a), k, k, a, b), "b": draw(0.02, b)}
        for name, (k, a, b) in job.layers().items()
    }
    return {
        "bias": draw(0.1, c),
        "log_scale": draw(0.1, c),
        "lower": np.tril(draw(0.1, c, c), -1) + np.eye(c, dtype=np.float32),
        "upper": np.triu(draw(0.1, c, c), 1) + diagonal,
        "net": net,
    }


class Conditioner(nn.Module):
    """The conditioner as a Flax module: (b, h, w, c/2), already scaled, and (b, h, w, e) -> s, b, unclipped."""

    job: Job
    conv: str = "xla"

    @nn.compact
    def __call__(self, visible: Image, cond: Image) -> tuple[Array, Array]:
        x = jnp.concatenate([visible, cond], -1)
        for name, (k, a, b) in self.job.layers().items():
            w = self.param(f"{name}_w", nn.initializers.zeros, (k, k, a, b))
            x = convolve(x, w, self.conv) + self.param(f"{name}_b", nn.initializers.zeros, (b,))
            x = x if name == "out" else activate(x, "lrelu")
        s, b = jnp.split(x, 2, -1)
        return s, b


def flat_net(net: dict[str, Any]) -> dict[str, Any]:
    """The parameters of `Conditioner` from the entry "net" of `weights`."""
    return {f"{name}_{leaf}": value for name, layer in net.items() for leaf, value in layer.items()}


def clip(s: Array, b: Array) -> tuple[Array, Array]:
    """The limits of a step's s and b."""
    return jnp.clip(s, -SCALE_LIMIT, SCALE_LIMIT), jnp.clip(b, -SHIFT_LIMIT, SHIFT_LIMIT)


def log_likelihood(work: Work, params: Any, x: Array, cond: Array) -> Array:
    """Mean over images of log p(x), nats, under a standard normal z."""
    z, log_det = work.forward(params, x, cond)
    normal = -0.5 * jnp.sum(z * z, (1, 2, 3)) - 0.5 * math.log(2 * math.pi) * math.prod(x.shape[1:])
    return jnp.mean(normal + log_det)
