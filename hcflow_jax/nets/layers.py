"""Layers with equalised learning rate (docs/model.md, Eq. H), instance norm (Eq. I) and style modulation.

A layer stores w ~ N(0, 1) / m and uses w m g / sqrt(fan_in). It stores b = 0 at first and uses b m. m multiplies the
effective learning rate, because the size of Adam's steps does not depend on the scale of w and b. g is the gain of
the activation that follows.
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
from hcflow_jax.gradients import together
from hcflow_jax.nets import resample
from hcflow_jax.nets.convolution import convolve

SLOPE = 0.1
_LRELU_GAIN = math.sqrt(2 / (1 + SLOPE**2))
_GAIN = {"lrelu": _LRELU_GAIN, "tanh": 5 / 3, "linear": 1.0}
_DENSE_GAIN = {**_GAIN, "tanh": _LRELU_GAIN}


@dataclasses.dataclass(frozen=True)
class Execution:
    """How networks are computed. Up to rounding, it does not change their outputs.

    Attributes:
      dtype: the dtype of activations and of weights in use; parameters stay float32.
      conv: an implementation of `convolution.convolve`.
      resample: an implementation of `resample.apply`.
      gain: what is multiplied by a layer's constant factor, m g / sqrt(fan_in). "weights": bias and activation then
        follow the product directly. "result": the multiplication then needs no kernel of its own.
      halves: how a layer's output is divided into two halves: slices of "one" convolution, or one convolution for
        "each" half.
    """

    dtype: Any = jnp.float32
    conv: str = "xla"
    resample: str = "taps"
    gain: str = "result"
    halves: str = "one"


def activate(x: Array, activation: str) -> Array:
    """Applies an activation: "lrelu" (leaky ReLU of slope 0.1), "tanh", or "linear" (none)."""
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
    # The result has the sign of x. So x itself need not be kept.
    return (jnp.where(y >= 0, g, jnp.asarray(SLOPE, g.dtype) * g),)


_leaky_relu.defvjp(_leaky_relu_forward, _leaky_relu_backward)


def add_bias(y: Float[Array, "b *d c"], b: Float[Array, " c"]) -> Float[Array, "b *d c"]:
    """y + b in y's dtype. The gradient of b, a sum over samples and positions, is computed at least in float32."""
    return _add_bias(y, b.astype(_wide(y)))


def _wide(x: Array) -> Any:
    """The dtype for sums over x: x's, but at least float32."""
    return jnp.promote_types(x.dtype, jnp.float32)


@jax.custom_vjp
def _add_bias(y: Array, b: Array) -> Array:
    return y + b.astype(y.dtype)


def _add_bias_backward(_: None, g: Array) -> tuple[Array, Array]:
    return g, jnp.sum(g.astype(_wide(g)), tuple(range(g.ndim - 1)))


_add_bias.defvjp(lambda y, b: (_add_bias(y, b), None), _add_bias_backward)


def stored(multiplier: float = 1.0, zero: bool = False) -> Any:
    """The initialiser of a stored weight: N(0, 1) / m, or 0."""
    return nn.initializers.zeros if zero else partial(parameters.normal, scale=1 / multiplier)


Between = Callable[[Array], Array]  # a linear map of images; see `Conv`
Part = Float[Array, "b h w _"] | tuple[Array, Between]


class Conv(nn.Module):
    """An equalised k x k convolution with zero padding, then an activation: (b, h, w, c) -> (b, h, w, features).

    Several inputs are treated as their concatenation over channels. An input may be a pair (x, map), with a linear
    map of images that acts only on positions, such as doubling. The map is then applied to the input's share of the
    product, before bias and activation. With a 1x1 kernel the result is that of the input map(x). It is cheaper,
    because the product is computed at the smaller size.

    Attributes:
      features: the number of output channels.
      kernel: k, pixels; odd.
      activation: "lrelu", "tanh" or "linear".
      multiplier: m.
      zero: whether w starts at zero.
      use_bias: whether there is a bias.
      execution: how it is computed.
    """

    features: int
    kernel: int = 3
    activation: str = "lrelu"
    multiplier: float = 1.0
    zero: bool = False
    use_bias: bool = True
    execution: Execution = Execution()

    def __call__(self, *parts: Part) -> Float[Array, "b h w {self.features}"]:
        """The output of the layer."""
        return self._run(parts, 1)[0]

    def halves(self, *parts: Part) -> list[Float[Array, "b h w {self.features//2}"]]:
        """The output of the layer, as the first and the second half of its channels."""
        if self.execution.halves == "each":
            return self._run(parts, 2)
        return jnp.split(self._run(parts, 1)[0], 2, -1)

    def _run(self, parts: tuple[Any, ...], outputs: int) -> list[Array]:
        pairs = [part if isinstance(part, tuple) else (part, None) for part in parts]
        ends = np.cumsum([x.shape[-1] for x, _ in pairs])
        w, b, factor = self.used(int(ends[-1]))
        arrays = [x for x, _ in pairs]
        if self.execution.conv == "paired" and self.kernel > 1:
            w, b, arrays = together((w, b, arrays))
        weights = jnp.split(w, ends[:-1], 2) if len(pairs) > 1 else [w]
        made = []
        for i in range(outputs):
            own = slice(i * self.features // outputs, (i + 1) * self.features // outputs)
            shares = []
            for x, (_, between), kernel in zip(arrays, pairs, weights, strict=True):
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
        """The kernel and the bias in use, and the factor that the product must still be multiplied by.

        Args:
          channels: c, the number of input channels.
        """
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
    """The outputs of several layers, computed as one convolution of x.

    The layers must have the same kernel size and activation, and biases.
    """
    used = [layer.used(x.shape[-1]) for layer in layers]
    w = jnp.concatenate([each[0] for each in used], -1)
    b = jnp.concatenate([each[1] for each in used if each[1] is not None])
    factor = np.concatenate([np.full(layer.features, each[2]) for layer, each in zip(layers, used, strict=True)])
    y = add_bias(_scaled(convolve(x.astype(w.dtype), w, layers[0].execution.conv), factor), b)
    return jnp.split(activate(y, layers[0].activation), np.cumsum([layer.features for layer in layers])[:-1], -1)


class Dense(nn.Module):
    """An equalised dense layer, then an activation: (b, c) -> (b, features).

    With tanh it has the gain of the leaky ReLU. The attributes are as in `Conv`.
    """

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
        """The output of the layer, as the first and the second half of its channels."""
        return jnp.split(self(x), 2, -1)


def instance_norm(x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """(x - mean) / sqrt(var + 1e-6), with mean and var over the positions of each sample and channel.

    var is the unbiased variance. Both are computed at least in float32.

    Raises:
      ValueError: x has one position: its variance is undefined.
    """
    count = x.shape[1] * x.shape[2]
    if count == 1:
        raise ValueError(f"instance_norm: x has shape {x.shape}; it needs more than one position")
    wide = x.astype(_wide(x))
    centred = wide - jnp.mean(wide, (1, 2), keepdims=True)
    var = jnp.sum(centred * centred, (1, 2), keepdims=True) / (count - 1)
    return (centred * jax.lax.rsqrt(var + 1e-6)).astype(x.dtype)


def instance_norm_before_doubling(x: Float[Array, "b h w c"], times: int) -> Float[Array, "b h w c"]:
    """The array whose doubling is the instance norm of the doubled x.

    Doubling is linear and keeps constants. So the norm can be applied before it, at a quarter of the positions per
    doubling, with the mean and variance of the doubled x.

    Args:
      x: images.
      times: the number of doublings (`resample.coupling_double`).
    """
    wide = x.astype(_wide(x))
    mean, squares = resample.doubled_moments(wide, times)
    count = x.shape[1] * x.shape[2] * 4**times
    return ((wide - mean) * jax.lax.rsqrt(squares / (count - 1) + 1e-6)).astype(x.dtype)


class Style(nn.Module):
    """Style modulation: instance norm, then times s plus b. A linear dense layer of the style vector gives (s, b).

    Attributes:
      execution: how it is computed.
    """

    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], style: Float[Array, "b g"]) -> Float[Array, "b h w c"]:
        affine = Dense(2 * x.shape[-1], "linear", execution=self.execution, name="dense")(style)
        s, b = jnp.split(affine[:, None, None], 2, -1)
        return instance_norm(x) * s + b


class StyleNetwork(nn.Module):
    """The network from y_top to the style vector: dense leaky-ReLU layers. The input is not normalised.

    Attributes:
      width: the number of features of each layer.
      layers: the number of layers.
      multiplier: m of the layers.
      execution: how it is computed.
    """

    width: int
    layers: int = 6
    multiplier: float = 0.2
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, y: Float[Array, "b n"]) -> Float[Array, "b g"]:
        for i in range(self.layers):
            y = Dense(self.width, multiplier=self.multiplier, execution=self.execution, name=f"layer_{i}")(y)
        return y
