"""Equalised-learning-rate layers, instance norm and style modulation (Section 2 of the appendix's networks).

A layer stores w ~ N(0, 1) / m and uses w m g / sqrt(fan_in), and stores b = 0 and uses b m: m multiplies the
learning rate that Adam's steps amount to, g is the gain of the activation that follows.
"""

import dataclasses
import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from hcflow_jax import parameters
from hcflow_jax.nets.convolution import convolve

SLOPE = 0.1
_LRELU_GAIN = math.sqrt(2 / (1 + SLOPE**2))
_GAIN = {"lrelu": _LRELU_GAIN, "tanh": 5 / 3, "linear": 1.0}
_DENSE_GAIN = {**_GAIN, "tanh": _LRELU_GAIN}


@dataclasses.dataclass(frozen=True)
class Execution:
    """How networks are computed, which does not change what they compute.

    Attributes:
      dtype: of activations and used weights; parameters stay float32.
      conv: an implementation of `convolution.convolve`.
    """

    dtype: Any = jnp.float32
    conv: str = "xla"


def activate(x: Array, activation: str) -> Array:
    """Leaky-ReLU of slope 0.1, tanh, or nothing ("linear")."""
    if activation == "lrelu":
        return jnp.where(x >= 0, x, jnp.asarray(SLOPE, x.dtype) * x)
    return jnp.tanh(x) if activation == "tanh" else x


def stored(multiplier: float = 1.0, zero: bool = False) -> Any:
    """Initialiser of a stored weight: N(0, 1) / m, or 0."""
    return nn.initializers.zeros if zero else partial(parameters.normal, scale=1 / multiplier)


class Conv(nn.Module):
    """Equalised k x k convolution with zero padding, then its activation: (b, h, w, c) -> (b, h, w, features)."""

    features: int
    kernel: int = 3
    activation: str = "lrelu"
    multiplier: float = 1.0
    zero: bool = False
    use_bias: bool = True
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w d"]:
        shape = (self.kernel, self.kernel, x.shape[-1], self.features)
        w = self.param("w", stored(self.multiplier, self.zero), shape)
        factor = self.multiplier * _GAIN[self.activation] / math.sqrt(math.prod(shape[:3]))
        dtype = self.execution.dtype
        # The factor goes on the result, where it joins the bias and the activation in one kernel, not on w.
        y = convolve(x.astype(dtype), w.astype(dtype), self.execution.conv) * jnp.asarray(factor, dtype)
        if self.use_bias:
            b = self.param("b", nn.initializers.zeros, (self.features,))
            y += (b * self.multiplier).astype(dtype)
        return activate(y, self.activation)


class Dense(nn.Module):
    """Equalised dense layer, then its activation: (b, c) -> (b, features). tanh has leaky-ReLU's gain here."""

    features: int
    activation: str = "lrelu"
    multiplier: float = 1.0
    zero: bool = False
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x: Float[Array, "b c"]) -> Float[Array, "b d"]:
        w = self.param("w", stored(self.multiplier, self.zero), (x.shape[-1], self.features))
        b = self.param("b", nn.initializers.zeros, (self.features,))
        factor = self.multiplier * _DENSE_GAIN[self.activation] / math.sqrt(x.shape[-1])
        dtype = self.execution.dtype
        y = x.astype(dtype) @ w.astype(dtype) * jnp.asarray(factor, dtype) + (b * self.multiplier).astype(dtype)
        return activate(y, self.activation)


def instance_norm(x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """(x - mean) / sqrt(var + 1e-6) a sample and channel; var unbiased; statistics in float32.

    Raises:
      ValueError: at 1x1, where a variance does not exist.
    """
    count = x.shape[1] * x.shape[2]
    if count == 1:
        raise ValueError(f"instance_norm: x has shape {x.shape}; it needs more than one position")
    wide = x.astype(jnp.float32)
    centred = wide - jnp.mean(wide, (1, 2), keepdims=True)
    var = jnp.sum(centred * centred, (1, 2), keepdims=True) / (count - 1)
    return (centred * jax.lax.rsqrt(var + 1e-6)).astype(x.dtype)


class Style(nn.Module):
    """Style modulation: instance norm, then times s plus b, (s, b) a linear dense layer of the style vector."""

    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], style: Float[Array, "b g"]) -> Float[Array, "b h w c"]:
        affine = Dense(2 * x.shape[-1], "linear", execution=self.execution, name="dense")(style)
        s, b = jnp.split(affine[:, None, None], 2, -1)
        return instance_norm(x) * s + b


class StyleNetwork(nn.Module):
    """The style vector of y_top: `layers` dense leaky-ReLU layers of `width`, without input normalisation."""

    width: int
    layers: int = 6
    multiplier: float = 0.2
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, y: Float[Array, "b n"]) -> Float[Array, "b g"]:
        for i in range(self.layers):
            y = Dense(self.width, multiplier=self.multiplier, execution=self.execution, name=f"layer_{i}")(y)
        return y
