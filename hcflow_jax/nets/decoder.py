"""The decoder: a level's conditioning, from the next coarser y, the coarser level's skip and the style vector."""

import math
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from hcflow_jax.nets.encoder import BASE
from hcflow_jax.nets.layers import Conv, Execution, Style, instance_norm, joined, stored
from hcflow_jax.nets.resample import decoder_double, decoder_halve, up

HEAD_LIMIT = 3.0  # |s| of the conditional affine maps
ENDS = ("start", "end")  # the first and the last affine map of a level

_ROOT2 = math.sqrt(2)


class DecoderUNet(nn.Module):
    """A U-Net, (b, r, r, c_in) -> (b, r, r, features), with max(1, min(4, log2(r) - 2)) scales below the finest.

    Attributes:
      features: the number of output channels.
      base: scale i has floor(c_in * base^i) channels.
      norm: whether it has instance norms.
      execution: how it is computed.
    """

    features: int
    base: float
    norm: bool = False
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        conv = partial(Conv, execution=self.execution)
        norm = instance_norm if self.norm else lambda x: x
        width = x.shape[-1]
        depth = max(1, min(4, int(math.log2(x.shape[1])) - 2))
        widths = [math.floor(width * self.base**i) for i in range(depth + 1)]
        x = conv(width, name="start")(x)
        skips = []
        for i in range(depth):
            skips.append(x)
            x = conv(widths[i + 1], name=f"down_{i}_a")(norm(x))
            x = decoder_halve(conv(widths[i + 1], name=f"down_{i}_b")(x))
        x = conv(widths[-1], 1, name="bottom")(x)
        for i, skip in enumerate(reversed(skips)):
            x = norm(decoder_double(x))
            x = conv(skip.shape[-1], name=f"up_{i}_a")(x)
            x = conv(skip.shape[-1], name=f"up_{i}_b")(x)
            x = (x + skip) / _ROOT2
        x = conv(width, name="end_a")(x)
        return conv(self.features, activation="linear", name="end_b")(x)


class DecoderStage(nn.Module):
    """One doubling: (b, r, r, c) -> (b, 2r, 2r, d).

    Attributes:
      width: d.
      multiplier: m of the convolutions.
      style: whether the style vector modulates the features.
      norm: whether there are instance norms.
      norm_end: whether the result is normalised too, if `norm`: so in all stages of a level except the last.
      execution: how it is computed.
    """

    width: int
    multiplier: float
    style: bool
    norm: bool
    norm_end: bool
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x: Array, style: Array) -> Array:
        """(b, r, r, c) and the style vector (b, g) -> (b, 2r, 2r, d)."""
        conv = partial(Conv, self.width, multiplier=self.multiplier, execution=self.execution)

        def modulate(x: Array, name: str) -> Array:
            if self.style:
                return Style(self.execution, name=name)(x, style)
            return instance_norm(x) if self.norm else x

        def residual(x: Array, name: str) -> Array:
            return (x + conv(name=name)(x)) / _ROOT2

        a = conv(name="conv_in")(x)
        a = residual(instance_norm(a) if self.norm else a, "residual_0")
        a = residual(modulate(up(a), "style_in"), "residual_1")
        a = residual(modulate(a, "style_out"), "residual_2")
        return instance_norm(a) if self.norm and self.norm_end else a


class LevelDecoder(nn.Module):
    """The decoder of one level R.

    Attributes:
      resolution: R, pixels.
      channels: c, the number of channels of y_R.
      width: d, the number of channels of the stages.
      condition: e, the number of channels of the couplings' conditioning.
      skip: the number of channels for the next finer level's decoder; 0 for none.
      from_base: whether the input is the 4x4 base instead of a coarser y.
      end_unets: whether U-Nets refine b of the first and the last affine map.
      style: whether the style vector modulates the stages.
      norm: whether stages and U-Nets have instance norms.
      multiplier: m of the decoder's own convolutions.
      execution: how it is computed.
    """

    resolution: int
    channels: int
    width: int
    condition: int
    skip: int
    from_base: bool
    end_unets: bool
    style: bool
    norm: bool
    multiplier: float
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, y: Array, skip: Array | None, style: Array) -> tuple[dict, Array | None]:
        """The conditioning of the level's flow, and the skip.

        Args:
          y: the next coarser y, (b, r, r, c_y), noisy in training; or the base, (b, 4, 4, n).
          skip: from the next coarser level's decoder, (b, r, r, k); None at the coarsest level.
          style: the style vector, (b, g).

        Returns:
          {"start": (b, s), "steps": (b, R, R, e), "end": (b, s)}, where b and s have y_R's shape; and the skip for
          the next finer level, (b, R, R, `self.skip`), or None.
        """
        x = y if self.from_base else self._predict(y, skip)
        for i in range(stages := int(math.log2(self.resolution // x.shape[1]))):
            x = DecoderStage(
                self.width,
                self.multiplier,
                self.style,
                self.norm,
                norm_end=i < stages - 1,
                execution=self.execution,
                name=f"stage_{i}",
            )(x, style)
        # Layers with the same input x are computed together (`joined`). Otherwise each of the six would read x again.
        own = partial(Conv, self.channels, multiplier=self.multiplier, execution=self.execution)
        one = partial(Conv, kernel=1, activation="linear", execution=self.execution)
        layers = [own(kernel=1, activation="linear", name=f"{name}_shift") for name in ENDS]
        layers.append(one(self.condition, name="to_condition"))
        if self.skip:
            layers.append(one(self.skip, multiplier=self.multiplier, name="to_skip"))
        *shifts, steps, handed = joined(x, *layers) if self.skip else (*joined(x, *layers), None)
        scales = joined(x, *(own(name=f"{name}_scale_hidden") for name in ENDS))
        cond: dict[str, Any] = {"steps": steps}
        for name, b, s in zip(ENDS, shifts, scales, strict=True):
            s = own(kernel=1, activation="linear", zero=True, name=f"{name}_scale")(s)
            cond[name] = self._refined(b, f"{name}_unet"), jnp.clip(s, -HEAD_LIMIT, HEAD_LIMIT)
        return cond, handed

    def _predict(self, y: Array, skip: Array | None) -> Array:
        """Refines y with the skip, and joins both: the first part of a decoder (Figure 12)."""
        conv = partial(Conv, multiplier=self.multiplier, execution=self.execution)
        joined = y if skip is None else jnp.concatenate([skip, y.astype(skip.dtype)], -1)
        unet = DecoderUNet(y.shape[-1], 2.0, self.norm, self.execution, name="predict_unet")
        y = (y + unet(joined)) / _ROOT2
        w = conv(self.width, name="predict_0")(y)
        w = (w + conv(self.width, use_bias=False, name="predict_1")(w)) / _ROOT2
        w = conv(y.shape[-1], activation="linear", use_bias=False, name="predict_2")(w)
        return w if skip is None else jnp.concatenate([skip, w], -1)

    def _refined(self, b: Array, name: str) -> Array:
        """A shift b, refined by a U-Net if `end_unets`."""
        if not self.end_unets:
            return b
        return (b + DecoderUNet(self.channels, 1.5, self.norm, self.execution, name=name)(b)) / _ROOT2


class Base(nn.Module):
    """The 4x4 input of the coarsest decoder: a learned constant plus a 1x1 convolution of the masked y_top.

    Attributes:
      masked: channels [a, b) of y_top that are masked. If all are, only the bias of the convolution has an effect.
      execution: how it is computed.
    """

    masked: tuple[int, int]
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, y_top: Float[Array, "b n"]) -> Float[Array, "b 4 4 n"]:
        n = y_top.shape[-1]
        constant = self.param("constant", stored(), (BASE, BASE, n))
        vector = _MaskedLinear(self.masked, self.execution, name="conv")(y_top)
        return vector[:, None, None] + constant.astype(vector.dtype)


class _MaskedLinear(nn.Module):
    """A linear layer n -> n of y with channels [a, b) zeroed. If all are zeroed, it has no weight, only a bias."""

    masked: tuple[int, int]
    execution: Execution

    @nn.compact
    def __call__(self, y: Array) -> Array:
        n = y.shape[-1]
        y = mask_channels(y, self.masked).astype(self.execution.dtype)
        b = self.param("b", nn.initializers.zeros, (n,)).astype(y.dtype)
        if self.masked[0] <= 0 and self.masked[1] >= n:
            return jnp.broadcast_to(b, y.shape)
        w = self.param("w", stored(), (n, n))
        return y @ (w / math.sqrt(n)).astype(y.dtype) + b


def mask_channels(y: Float[Array, "b n"], masked: tuple[int, int]) -> Float[Array, "b n"]:
    """y with channels [a, b) set to zero."""
    at = jnp.arange(y.shape[-1])
    return jnp.where((at >= masked[0]) & (at < masked[1]), 0, y)
