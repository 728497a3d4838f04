"""The encoder: an image becomes the features y_R of every level and the 1x1 vector y_top."""

from functools import partial

from flax import linen as nn
from jaxtyping import Array, Float

from hcflow_jax.nets.layers import Conv, Execution, instance_norm
from hcflow_jax.nets.resample import down, mean_halve

BASE = 4  # pixels below the coarsest level's 8: where the decoder's constant stands
COARSEST = 8  # pixels of the coarsest level


class EncoderStage(nn.Module):
    """One halving: res -> res/2 at width h.

    Attributes:
      width: h.
      target: channels c of the level that ends here; None where none does.
      features: width of what the next stage gets as 1x1 features; None: it gets the normalised hand-over.
    """

    width: int
    target: int | None
    features: int | None
    multiplier: float
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array | None, Array]:
        """(b, r, r, c) -> (y or None, what the next stage takes), both (b, r/2, r/2, ...)."""
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
    """All stages, finest first, then 4 -> 2 -> 1.

    Attributes:
      resolutions: the resolutions of the levels, finest first, down to 8.
      channels: the channels of the levels.
      widths: h of the stages that start at each level.
      top: length of y_top and width of the last two stages.
    """

    resolutions: tuple[int, ...]
    channels: tuple[int, ...]
    widths: tuple[int, ...]
    top: int
    multiplier: float
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, y: Float[Array, "b r r c"]) -> tuple[dict[int, Array], Float[Array, "b n"]]:
        """4 * image -> {R: y_R for every level but the finest} and y_top."""
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
