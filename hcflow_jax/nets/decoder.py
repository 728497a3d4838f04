"""The decoder: a level's conditioning from the next coarser y, the coarser level's skip and the style vector."""

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
ENDS = ("start", "end")  # a level's first and last affine map

_ROOT2 = math.sqrt(2)


class DecoderUNet(nn.Module):
    """U-Net of width floor(c_in * base^i) at scale i: (b, r, r, c_in) -> (b, r, r, features)."""

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
    """One doubling at width d: (b, r, r, c) -> (b, 2r, 2r, d).

    Attributes:
      norm_end: normalise the result too: the first of a 4x level's two stages, where the level is normalised.
    """

    width: int
    multiplier: float
    style: bool
    norm: bool
    norm_end: bool
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x: Array, style: Array) -> Array:
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
      channels: c of the level.
      width: d.
      condition: e, width of what the couplings get.
      skip: channels for the next finer level's decoder; 0 for none.
      from_base: the input is the 4x4 base, not a coarser y.
      multiplier: m of the decoder's own convolutions.
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
        """Conditioning of the level's flow, and the skip.

        Args:
          y: the next coarser y, (b, r, r, c_y), noisy in training; or the base, (b, 4, 4, n).
          skip: from the next coarser level's decoder, (b, r, r, k); None at the coarsest.
          style: style vector, (b, g).

        Returns:
          {"start": (b, s), "steps": (b, R, R, e), "end": (b, s)} with b, s of y_R's shape, and the skip or None.
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
        # What leaves the level is read off x at once; one by one, six layers would each read all of it.
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
        """Step 2 of Section 4: y refined with the skip, joined with the skip."""
        conv = partial(Conv, multiplier=self.multiplier, execution=self.execution)
        joined = y if skip is None else jnp.concatenate([skip, y.astype(skip.dtype)], -1)
        unet = DecoderUNet(y.shape[-1], 2.0, self.norm, self.execution, name="predict_unet")
        y = (y + unet(joined)) / _ROOT2
        w = conv(self.width, name="predict_0")(y)
        w = (w + conv(self.width, use_bias=False, name="predict_1")(w)) / _ROOT2
        w = conv(y.shape[-1], activation="linear", use_bias=False, name="predict_2")(w)
        return w if skip is None else jnp.concatenate([skip, w], -1)

    def _refined(self, b: Array, name: str) -> Array:
        """A shift with its U-Net, where the level has them."""
        if not self.end_unets:
            return b
        return (b + DecoderUNet(self.channels, 1.5, self.norm, self.execution, name=name)(b)) / _ROOT2


class Base(nn.Module):
    """The 4x4 map that the coarsest decoder starts from: a learned constant plus a 1x1 conv of the masked y_top.

    Attributes:
      masked: channels [a, b) of y_top that it does not see; where none are left only the conv's bias acts.
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
    """Linear n -> n of the channels outside [a, b); no weight where that is all of them."""

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
    """y with its channels [a, b) zeroed."""
    at = jnp.arange(y.shape[-1])
    return jnp.where((at >= masked[0]) & (at < masked[1]), 0, y)
