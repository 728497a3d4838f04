"""The encoder: maps an image to the features y_R of every level and to the 1x1 vector y_top."""

from functools import partial

from flax import linen as nn
from jaxtyping import Array, Float

from hcflow_jax.nets.layers import Conv, Execution, instance_norm
from hcflow_jax.nets.resample import down, mean_halve

BASE = 4  # pixels: the resolution below the coarsest level, that of the decoder's learned constant
COARSEST = 8  # pixels: the resolution of the coarsest level


class EncoderStage(nn.Module):
    """One halving of the resolution, with h channels.

    Attributes:
      width: h.
      target: c, the number of channels of the level's y, if a level ends with this stage; otherwise None.
      features: the number of channels of `features`, a linear 1x1 layer that gives the input of the next stage. None:
        the layer `hand_over` gives it, with instance norm.
      multiplier: m of the layers.
      execution: how it is computed.
    """

    width: int
    target: int | None
    features: int | None
    multiplier: float
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array | None, Array]:
        """(b, r, r, c) -> (y or None, input of the next stage), both (b, r/2, r/2, ...)."""
        conv = partial(Conv, multiplier=self.multiplier, execution=self.execution)
        resolution = x.shape[1]
        kernel = 3 if resolution >= BASE else 1
        x = conv(self.width, kernel, name="conv_in")(x)
        x = down(x) if resolution > COARSEST else mean_halve(x)
        norm = instance_norm if x.shape[1] > 1 else lambda x: x
        x = norm(conv(self.width, kernel, name="conv_out")(norm(x)))
        y = None if self.target is None else norm(conv(self.target, 1, "linear", name="target")(x))
        if self.features is not None:
            return y, conv(self.features, 1, "linear", name="features")(x)
        return None, norm(conv(self.width, 1, "linear", name="hand_over")(x))


class Encoder(nn.Module):
    """The stages of all levels, finest first, and then the stages 4 -> 2 -> 1.

    Attributes:
      resolutions: the resolutions of the levels, finest first, down to 8.
      channels: the number of channels of y of each level.
      widths: h of the stages that start at each level.
      top: the length of y_top, and the number of channels of the last two stages.
      multiplier: m of the layers.
      execution: how it is computed.
    """

    resolutions: tuple[int, ...]
    channels: tuple[int, ...]
    widths: tuple[int, ...]
    top: int
    multiplier: float
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, y: Float[Array, "b r r c"]) -> tuple[dict[int, Array], Float[Array, "b n"]]:
        """4 * image -> {R: y_R} for every level except the finest, and y_top, (b, n)."""
        targets: dict[int, Array] = {}
        ends = dict(zip(self.resolutions, self.channels, strict=True))
        stage = partial(EncoderStage, multiplier=self.multiplier, execution=self.execution)
        x = y
        for start, width in zip(self.resolutions, self.widths, strict=True):
            resolution = start
            while resolution == start or (resolution not in ends and resolution > BASE):
                half = resolution // 2
                is_level = half in ends or half == BASE
                made, x = stage(width, ends.get(half), width if is_level else None, name=f"from_{resolution}")(x)
                if made is not None:
                    targets[half] = made
                resolution = half
        _, x = stage(self.top, None, None, name="from_4")(x)
        _, x = stage(self.top, None, self.top, name="from_2")(x)
        return targets, x[:, 0, 0]
