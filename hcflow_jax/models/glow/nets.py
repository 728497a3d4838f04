"""The networks of Glow: of its couplings, and of the priors of its latents.

All are made of one layer, (conv(x, w) + b) exp(m logs). With m = 1 (in OpenAI's code 3) it is a convolution and the
actnorm behind it, and data sets b and logs. With m = 3 and everything zero at first it is Glow's zero convolution.
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
WEIGHT_STD = 0.05  # of the other convolutions' weights at first
NORM_EPSILON = 1e-6

Pair = tuple[Array, Array]


class Layer(nn.Module):
    """(conv(x, w) + b) exp(m logs), zero padding: (b, h, w, c) -> (b, h, w, features).

    Attributes:
      features: channels of the result.
      kernel: side of the kernel, pixels; odd.
      factor: m, what the stored `logs` are multiplied by.
      zero: w starts at zero, and data does not set b and logs. Else w starts as N(0, 0.05^2).
      indicator: the convolution has a channel more of input, behind the others: 1 in the padding, 0 in the image.
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
        """The result; with `first`, b and logs are set so that it has mean 0 and std 1 a channel, over b, h and w."""
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
        # The factor goes on the weights: the result needs no product of its own, and its gradient no sum of its own.
        scale = jnp.exp(self.factor * logs)
        return add_bias(run((w * scale).astype(dtype)), b * scale)


def in_padding(w: Float[Array, "k k d"], shape: tuple[int, ...]) -> Float[Array, "1 h w d"]:
    """The convolution of an image that is 1 in the padding and 0 elsewhere, h x w pixels."""
    k, (height, width) = w.shape[0], shape
    outside = jnp.pad(jnp.zeros((height, width), w.dtype), k // 2, constant_values=1)
    taps = [outside[i : i + height, j : j + width] for i in range(k) for j in range(k)]
    return (jnp.stack(taps, -1) @ w.reshape(k * k, -1))[None]


class CouplingNetwork(nn.Module):
    """The network of a coupling: it sees the first half of the channels and gives the shift of the second.

    Two layers of `hidden` channels with ReLUs, 3x3 and 1x1, then a zero convolution. With `affine` the even channels
    of the result are the shift, the odd ones what scales by sigmoid(scale + 2).

    Attributes:
      hidden: width, channels.
      affine: whether it gives a scale, too.
      factor: m of the hidden layers.
      indicator, execution: of every `Layer`.
    """

    hidden: int
    affine: bool
    factor: float = 1.0
    indicator: bool = False
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, visible: Float[Array, "b h w c"], cond: None = None, first: bool = False) -> Array | Pair:
        """(scale, shift), or the shift alone, of the last half of the channels.

        Args:
          visible: x with zeros in the second half of its channels.
          cond: there is none.
          first: sets the hidden layers' b and logs from `visible`.
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
        """The variables with the hidden layers' b and logs set from data, front to back."""
        return self.apply(variables, visible, cond, True, mutable=["params"])[1]


class SplitPrior(nn.Module):
    """The prior of the half that leaves, from the half that stays: a zero convolution, even mean and odd logs."""

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
    """The prior of the last latent: a zero convolution of zeros, first half mean and second half logs.

    Zeros leave the bias and the scale alone, so the weight is left out: it could not learn. Only its part that sees
    the padding's indicator channel has an effect.

    Attributes:
      indicator: there is such a channel; see `Layer`.
    """

    indicator: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], cond: None = None) -> Pair:
        """(logs, mean), each of x's shape; of x only the shape matters."""
        del cond
        features = 2 * x.shape[-1]
        b, logs = (self.param(name, nn.initializers.zeros, (features,)) for name in ("b", "logs"))
        y = b
        if self.indicator:
            w = self.param("w", nn.initializers.zeros, (3, 3, features))
            y = b + in_padding(w, x.shape[1:3])
        y = jnp.broadcast_to(y * jnp.exp(LOG_FACTOR * logs), (*x.shape[:-1], features)).astype(x.dtype)
        return y[..., x.shape[-1] :], y[..., : x.shape[-1]]
