"""The networks of Glow, for its couplings and for the priors of its latents.

All consist of one kind of layer, (conv(x, w) + b) exp(m logs). With m = 1 (3 in OpenAI's code) it is a convolution
followed by actnorm: b and logs are initialised from data. With m = 3, and all parameters zero at first, it is Glow's
zero convolution.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from hcflow_jax.nets.convolution import convolve
from hcflow_jax.nets.layers import Execution, add_bias, stored

LOG_FACTOR = 3.0  # m of the zero convolutions
WEIGHT_STD = 0.05  # initial std of the weights of the other convolutions
NORM_EPSILON = 1e-6

Pair = tuple[Array, Array]


class Layer(nn.Module):
    """(conv(x, w) + b) exp(m logs), with zero padding: (b, h, w, c) -> (b, h, w, features).

    Attributes:
      features: the number of output channels.
      kernel: the side of the kernel, pixels; odd.
      factor: m, the factor of the stored `logs`.
      zero: whether w starts at zero, and b and logs are not initialised from data. If False, w ~ N(0, 0.05^2) at
        first.
      indicator: whether the convolution has one more input channel, the last: it is 1 in the padding and 0 in the
        image. A 1x1 convolution has no padding, and never has it.
      execution: how it is computed.
    """

    features: int
    kernel: int = 3
    factor: float = 1.0
    zero: bool = False
    indicator: bool = False
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], first: bool = False) -> Float[Array, "b h w {self.features}"]:
        """The output of the layer.

        Args:
          x: the input.
          first: whether to set b and logs so that the output has mean 0 and std 1 in every channel, over b, h and w.
        """
        channels, indicator = x.shape[-1], self.indicator and self.kernel > 1
        shape = (self.kernel, self.kernel, channels + indicator, self.features)
        w = self.param("w", stored(1 / WEIGHT_STD, self.zero), shape)
        b = self.param("b", nn.initializers.zeros, (self.features,))
        logs = self.param("logs", nn.initializers.zeros, (self.features,))

        def run(w: Array) -> Array:
            y = convolve(x.astype(w.dtype), w[:, :, :channels], self.execution.conv)
            return y + in_padding(w[:, :, channels], x.shape[1:3]) if indicator else y

        dtype = self.execution.dtype
        if first and not self.zero:
            y = run(w.astype(dtype)).astype(jnp.promote_types(dtype, jnp.float32))
            b = -jnp.mean(y, (0, 1, 2))
            logs = -jnp.log(jnp.std(y, (0, 1, 2)) + NORM_EPSILON) / self.factor
            self.put_variable("params", "b", b)
            self.put_variable("params", "logs", logs)
        # The weights are scaled, not the result. This saves a product over the result, and a sum in the gradient.
        scale = jnp.exp(self.factor * logs)
        return add_bias(run((w * scale).astype(dtype)), b * scale)


def in_padding(w: Float[Array, "k k d"], shape: tuple[int, ...]) -> Float[Array, "1 h w d"]:
    """The convolution of a channel that is 1 in the padding and 0 in the image.

    Args:
      w: the weights of that channel; k is odd.
      shape: (h, w), the size of the image, pixels.
    """
    k, (height, width) = w.shape[0], shape
    outside = jnp.pad(jnp.zeros((height, width), w.dtype), k // 2, constant_values=1)
    taps = [outside[i : i + height, j : j + width] for i in range(k) for j in range(k)]
    return (jnp.stack(taps, -1) @ w.reshape(k * k, -1))[None]


class CouplingNetwork(nn.Module):
    """The network of a coupling: it sees the first half of the channels and gives shift and scale of the second.

    It has a 3x3 and a 1x1 layer of `hidden` channels with ReLUs, and then a zero convolution. With `affine`, the even
    channels of the zero convolution are the shift, and the odd channels are the scale of sigmoid(scale + 2).

    Attributes:
      hidden: the number of channels of the hidden layers.
      affine: whether it gives a scale and a shift, or only a shift.
      factor: m of the hidden layers.
      indicator, execution: as in `Layer`, for all layers.
    """

    hidden: int
    affine: bool
    factor: float = 1.0
    indicator: bool = False
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, visible: Float[Array, "b h w c"], cond: None = None, first: bool = False) -> Array | Pair:
        """(scale, shift), or only the shift, for the second half of the channels.

        Args:
          visible: x with zeros in the second half of its channels.
          cond: not used.
          first: whether to initialise b and logs of the hidden layers from `visible`.
        """
        del cond
        layer = partial(Layer, indicator=self.indicator, execution=self.execution)
        seen = visible.shape[-1] // 2
        x = visible[..., :seen]
        for i, kernel in enumerate((3, 1)):
            x = jax.nn.relu(layer(self.hidden, kernel, self.factor, name=f"hidden_{i}")(x, first))
        hidden = visible.shape[-1] - seen
        x = layer(hidden * (1 + self.affine), factor=LOG_FACTOR, zero=True, name="out")(x)
        return (x[..., 1::2], x[..., 0::2]) if self.affine else x

    @nn.nowrap
    def calibrate(self, variables: Any, visible: Array, cond: None = None) -> Any:
        """The variables, with b and logs of the hidden layers initialised from data, first layer first."""
        return self.apply(variables, visible, cond, True, mutable=["params"])[1]


class SplitPrior(nn.Module):
    """The prior of the half that leaves, given the half that stays.

    It is a zero convolution: its even channels are the mean, its odd channels are logs.

    Attributes:
      indicator, execution: as in `Layer`.
    """

    indicator: bool = False
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, on: Float[Array, "b h w c"], cond: None = None) -> Pair:
        """(logs, mean), each of the shape of `on`."""
        del cond
        layer = partial(Layer, indicator=self.indicator, execution=self.execution)
        out = layer(2 * on.shape[-1], factor=LOG_FACTOR, zero=True, name="conv")(on).astype(on.dtype)
        return out[..., 1::2], out[..., 0::2]


class TopPrior(nn.Module):
    """The prior of the last latent: a zero convolution of an input of zeros.

    The first half of its channels is the mean, the second half is logs. Only bias and scale act on an input of zeros,
    so there is no weight: it could not learn. The exception is the weight of the indicator channel, which is not zero
    in the padding.

    Attributes:
      indicator: whether there is an indicator channel; see `Layer`.
    """

    indicator: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], cond: None = None) -> Pair:
        """(logs, mean), each of x's shape. Only the shape and dtype of x matter."""
        del cond
        features = 2 * x.shape[-1]
        b, logs = (self.param(name, nn.initializers.zeros, (features,)) for name in ("b", "logs"))
        y = b
        if self.indicator:
            w = self.param("w", nn.initializers.zeros, (3, 3, features))
            y = b + in_padding(w, x.shape[1:3])
        y = jnp.broadcast_to(y * jnp.exp(LOG_FACTOR * logs), (*x.shape[:-1], features)).astype(x.dtype)
        return y[..., x.shape[-1] :], y[..., : x.shape[-1]]
