"""Equalised-learning-rate layers, instance norm and style modulation (Section 2 of the appendix's networks).

A layer stores w ~ N(0, 1) / m and uses w m g / sqrt(fan_in), and stores b = 0 and uses b m: m multiplies the
learning rate that Adam's steps amount to, g is the gain of the activation that follows.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from hcflow_jax import parameters
from hcflow_jax.nets import resample
from hcflow_jax.nets.convolution import convolve

SLOPE = 0.1
_LRELU_GAIN = math.sqrt(2 / (1 + SLOPE**2))
_GAIN = {"lrelu": _LRELU_GAIN, "tanh": 5 / 3, "linear": 1.0}
_DENSE_GAIN = {**_GAIN, "tanh": _LRELU_GAIN}


@dataclasses.dataclass(frozen=True)
class Execution:
    """How networks are computed, which does not change what they compute.

    Attributes:
      dtype: the dtype of activations and used weights; parameters stay float32.
      conv: an implementation of `convolution.convolve`.
      resample: an implementation of `resample.apply`.
      gain: whether a layer's constant factor goes on its "weights", so that bias and activation follow the product
        directly, or on its "result", where it costs no kernel of its own.
      halves: how a layer gives its output in parts: as slices of "one" convolution, or a convolution "each".
    """

    dtype: Any = jnp.float32
    conv: str = "xla"
    resample: str = "taps"
    gain: str = "result"
    halves: str = "one"


def activate(x: Array, activation: str) -> Array:
    """Leaky-ReLU of slope 0.1, tanh, or nothing ("linear")."""
    if activation == "lrelu":
        return _leaky_relu(x)
    return jnp.tanh(x) if activation == "tanh" else x


@jax.custom_vjp
def _leaky_relu(x: Array) -> Array:
    return jnp.maximum(x, jnp.asarray(SLOPE, x.dtype) * x)


def _leaky_relu_forward(x: Array) -> tuple[Array, Array]:
    y = _leaky_relu(x)
    return y, y


def _leaky_relu_backward(y: Array, g: Array) -> tuple[Array]:
    # The sign of the result is that of x, so x itself need not be kept.
    return (jnp.where(y >= 0, g, jnp.asarray(SLOPE, g.dtype) * g),)


_leaky_relu.defvjp(_leaky_relu_forward, _leaky_relu_backward)


def add_bias(y: Float[Array, "b *d c"], b: Float[Array, " c"]) -> Float[Array, "b *d c"]:
    """y + b in y's dtype; the sum over positions that is b's gradient is taken in float32 at least."""
    return _add_bias(y, b.astype(_wide(y)))


def _wide(x: Array) -> Any:
    """The dtype of sums over x: float32 at least."""
    return jnp.promote_types(x.dtype, jnp.float32)


@jax.custom_vjp
def _add_bias(y: Array, b: Array) -> Array:
    return y + b.astype(y.dtype)


def _add_bias_backward(_: None, g: Array) -> tuple[Array, Array]:
    return g, jnp.sum(g.astype(_wide(g)), tuple(range(g.ndim - 1)))


_add_bias.defvjp(lambda y, b: (_add_bias(y, b), None), _add_bias_backward)


def stored(multiplier: float = 1.0, zero: bool = False) -> Any:
    """Initialiser of a stored weight: N(0, 1) / m, or 0."""
    return nn.initializers.zeros if zero else partial(parameters.normal, scale=1 / multiplier)


Between = Callable[[Array], Array]
Part = Float[Array, "b h w _"] | tuple[Array, Between]


class Conv(nn.Module):
    """Equalised k x k convolution with zero padding, then its activation: (b, h, w, c) -> (b, h, w, features).

    It takes an array, or several that stand for their concatenation over channels; each may come as a pair with a
    linear map of images, which is applied to its share of the products, before bias and activation: a map that acts
    on positions alone and commutes with a 1x1 kernel, where it is cheaper on the result.
    """

    features: int
    kernel: int = 3
    activation: str = "lrelu"
    multiplier: float = 1.0
    zero: bool = False
    use_bias: bool = True
    execution: Execution = Execution()

    def __call__(self, *parts: Part) -> Float[Array, "b h w {self.features}"]:
        """The layer's output."""
        return self._run(parts, 1)[0]

    def halves(self, *parts: Part) -> list[Float[Array, "b h w {self.features//2}"]]:
        """Its output as the first and the second half of the channels."""
        if self.execution.halves == "each":
            return self._run(parts, 2)
        return jnp.split(self._run(parts, 1)[0], 2, -1)

    def _run(self, parts: tuple[Any, ...], outputs: int) -> list[Array]:
        pairs = [part if isinstance(part, tuple) else (part, None) for part in parts]
        ends = np.cumsum([x.shape[-1] for x, _ in pairs])
        w, b, factor = self.used(int(ends[-1]))
        weights = jnp.split(w, ends[:-1], 2) if len(pairs) > 1 else [w]
        made = []
        for i in range(outputs):
            own = slice(i * self.features // outputs, (i + 1) * self.features // outputs)
            shares = []
            for (x, between), kernel in zip(pairs, weights, strict=True):
                kernel = kernel[..., own] if outputs > 1 else kernel
                share = _scaled(convolve(x.astype(w.dtype), kernel, self.execution.conv), factor)
                shares.append(share if between is None else between(share))
            y = functools.reduce(jnp.add, shares)
            if b is not None:
                y = add_bias(y, b[own] if outputs > 1 else b)
            made.append(activate(y, self.activation))
        return made

    @nn.compact
    def used(self, channels: int) -> tuple[Float[Array, "k k c d"], Float[Array, " d"] | None, float]:
        """Kernel and bias as used, and the factor that the result is still to be multiplied by."""
        shape = (self.kernel, self.kernel, channels, self.features)
        w = self.param("w", stored(self.multiplier, self.zero), shape)
        b = self.param("b", nn.initializers.zeros, shape[-1:]) if self.use_bias else None
        b = None if b is None else b * self.multiplier
        factor = self.multiplier * _GAIN[self.activation] / math.sqrt(math.prod(shape[:3]))
        if self.execution.gain == "weights":
            return (w * factor).astype(self.execution.dtype), b, 1.0
        return w.astype(self.execution.dtype), b, factor


def _scaled(x: Array, factor: float | np.ndarray) -> Array:
    return x if np.all(factor == 1.0) else x * jnp.asarray(factor, x.dtype)


def joined(x: Float[Array, "b h w c"], *layers: Conv) -> list[Array]:
    """The outputs of several layers of one kernel size and activation, with biases, as one convolution of x."""
    used = [layer.used(x.shape[-1]) for layer in layers]
    w = jnp.concatenate([each[0] for each in used], -1)
    b = jnp.concatenate([each[1] for each in used if each[1] is not None])
    factor = np.concatenate([np.full(layer.features, each[2]) for layer, each in zip(layers, used, strict=True)])
    y = add_bias(_scaled(convolve(x.astype(w.dtype), w, layers[0].execution.conv), factor), b)
    return jnp.split(activate(y, layers[0].activation), np.cumsum([layer.features for layer in layers])[:-1], -1)


class Dense(nn.Module):
    """Equalised dense layer, then its activation: (b, c) -> (b, features). tanh has leaky-ReLU's gain here."""

    features: int
    activation: str = "lrelu"
    multiplier: float = 1.0
    zero: bool = False
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x: Float[Array, "b c"]) -> Float[Array, "b {self.features}"]:
        w = self.param("w", stored(self.multiplier, self.zero), (x.shape[-1], self.features))
        b = self.param("b", nn.initializers.zeros, (self.features,))
        factor = self.multiplier * _DENSE_GAIN[self.activation] / math.sqrt(x.shape[-1])
        dtype = self.execution.dtype
        y = x.astype(dtype) @ w.astype(dtype) * jnp.asarray(factor, dtype)
        return activate(add_bias(y, b * self.multiplier), self.activation)

    def halves(self, x: Float[Array, "b c"]) -> list[Float[Array, "b {self.features//2}"]]:
        """Its output as the first and the second half of the channels."""
        return jnp.split(self(x), 2, -1)


def instance_norm(x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """(x - mean) / sqrt(var + 1e-6) a sample and channel; var unbiased; statistics in float32 at least.

    Raises:
      ValueError: at 1x1, where a variance does not exist.
    """
    count = x.shape[1] * x.shape[2]
    if count == 1:
        raise ValueError(f"instance_norm: x has shape {x.shape}; it needs more than one position")
    wide = x.astype(_wide(x))
    centred = wide - jnp.mean(wide, (1, 2), keepdims=True)
    var = jnp.sum(centred * centred, (1, 2), keepdims=True) / (count - 1)
    return (centred * jax.lax.rsqrt(var + 1e-6)).astype(x.dtype)


def instance_norm_before_doubling(x: Float[Array, "b h w c"], times: int) -> Float[Array, "b h w c"]:
    """What, doubled, is the instance norm of x doubled: doubling keeps constants, so the norm can go first."""
    wide = x.astype(_wide(x))
    mean, squares = resample.doubled_moments(wide, times)
    count = x.shape[1] * x.shape[2] * 4**times
    return ((wide - mean) * jax.lax.rsqrt(squares / (count - 1) + 1e-6)).astype(x.dtype)


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
