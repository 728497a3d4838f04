"""The encoder: an image becomes the features y_R of every level and the 1x1 vector y_top."""
# pyright: reportMissingImports=false

from collections.abc import Mapping

from ml_collections import ConfigDict
from torch import Tensor, nn

from benchmarks.torch_twin.layers import Conv, instance_norm
from benchmarks.torch_twin.resample import Down

BASE = 4  # pixels below the coarsest level's 8


class EncoderStage(nn.Module):
    """One halving, (b, c, r, r) -> (y or None, what the next stage takes).

    `target`: channels of the level that ends here; `features`: whether the next stage gets plain 1x1 features
    (else the normalised hand-over).
    """

    def __init__(
        self, resolution: int, inputs: int, width: int, target: int | None, features: bool, multiplier: float
    ):
        super().__init__()
        kernel = 3 if resolution >= BASE else 1
        self.conv_in = Conv(inputs, width, kernel, multiplier=multiplier)
        self.conv_out = Conv(width, width, kernel, multiplier=multiplier)
        self.halving = Down() if resolution > 8 else nn.AvgPool2d(2)
        self.normed = resolution > 2
        if target is not None:
            self.target = Conv(width, target, 1, "linear", multiplier)
        if features:
            self.features = Conv(width, width, 1, "linear", multiplier)
        else:
            self.hand_over = Conv(width, width, 1, "linear", multiplier)
        self.has_target, self.has_features = target is not None, features

    def forward(self, x: Tensor) -> tuple[Tensor | None, Tensor]:
        x = self._norm(self.halving(self.conv_in(x)))
        x = self._norm(self.conv_out(x))
        y = self._norm(self.target(x)) if self.has_target else None
        return y, self.features(x) if self.has_features else self._norm(self.hand_over(x))

    def _norm(self, x: Tensor) -> Tensor:
        return instance_norm(x) if self.normed else x


class Encoder(nn.Module):
    """All stages, finest first, then 4 -> 2 -> 1."""

    def __init__(self, rows: Mapping[int, ConfigDict], top: int, multiplier: float):
        super().__init__()
        channels = {r: row.channels for r, row in rows.items()}
        inputs = channels[max(rows)]
        resolution = max(rows)
        while resolution > BASE:
            width = rows[min(r for r in rows if r >= resolution)].encoder
            half = resolution // 2
            ends = half in channels or half == BASE
            stage = EncoderStage(resolution, inputs, width, channels.get(half), ends, multiplier)
            self.add_module(f"from_{resolution}", stage)
            inputs, resolution = width, half
        self.add_module("from_4", EncoderStage(4, inputs, top, None, False, multiplier))
        self.add_module("from_2", EncoderStage(2, top, top, None, True, multiplier))

    def forward(self, y: Tensor) -> tuple[dict[int, Tensor], Tensor]:
        """4 * image -> {R: y_R for every level but the finest} and y_top, (b, n)."""
        targets = {}
        for stage in self.children():
            made, y = stage(y)
            if made is not None:
                targets[made.shape[-1]] = made
        return targets, y.flatten(1)
