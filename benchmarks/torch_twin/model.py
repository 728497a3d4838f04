"""The hierarchy: encode -> y's -> z's, conditioned coarse to fine, and back."""
# pyright: reportMissingImports=false

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from ml_collections import ConfigDict
from torch import Tensor, nn

from benchmarks.torch_twin.decoder import LevelDecoder
from benchmarks.torch_twin.encoder import BASE, Encoder
from benchmarks.torch_twin.flows import Kernels, level_flow, top_flow
from benchmarks.torch_twin.layers import Dense, StyleNetwork
from hcflow_jax.models.hierarchy.build import level_rows

IMAGE_SCALE = 4.0

ByLevel = dict[str, Tensor]


class Numbers(NamedTuple):
    """Of a level: noise on its flow's and on the next decoder's input, weight of its bits, std of its latents."""

    flow_noise: float
    decoder_noise: float
    weight: float
    prior_std: float


class Base(nn.Module):
    """The 4x4 map that the coarsest decoder starts from: a constant plus a linear map of the masked y_top."""

    seen: Tensor

    def __init__(self, dims: int, masked: tuple[int, int]):
        super().__init__()
        self.constant = nn.Parameter(torch.randn(dims, BASE, BASE))
        self.conv = nn.ParameterDict({"b": torch.zeros(dims)})
        self.register_buffer("seen", mask(dims, masked), persistent=False)
        self.blind = masked[0] <= 0 and masked[1] >= dims
        if not self.blind:
            self.conv["w"] = torch.randn(dims, dims)

    def forward(self, y_top: Tensor) -> Tensor:
        vector = self.conv["b"].expand_as(y_top)
        if not self.blind:
            vector = vector + nn.functional.linear(self.seen * y_top, self.conv["w"] / math.sqrt(y_top.shape[1]))
        return vector[:, :, None, None] + self.constant


class Twin(nn.Module):
    """The model of a config. Level names run coarse to fine: "prior", "y1", "8", ..., the finest.

    Images are (b, 3, R, R) in about [-0.5, 0.5]; y and z of a level (b, c, r, r), at the top (b, c).
    """

    style_seen: Tensor

    def __init__(self, config: ConfigDict):
        super().__init__()
        model, top, rows = config.model, config.model.top, level_rows(config)
        self.split, self.group, self.bits = top.prior.dims, model.statistics_group, config.data.bits
        self.names = ("prior", "y1", *(str(r) for r in sorted(rows)))
        self.shapes = {"prior": (self.split,), "y1": (top.dims - self.split,)}
        self.shapes |= {str(r): (row.channels, r, r) for r, row in rows.items()}
        self.numbers = {
            name: Numbers(part.flow_noise, part.decoder_noise, part.weight, 1.0)
            for name, part in (("prior", top.prior), ("y1", top.y1))
        } | {
            str(r): Numbers(row.flow_noise, row.decoder_noise, row.weight / (r**2 * row.channels), row.prior_std)
            for r, row in rows.items()
        }
        self.encoder = Encoder(rows, top.dims, model.encoder_multiplier)
        self.style = StyleNetwork(top.dims, top.style_width, top.style_layers, top.style_multiplier)
        self.register_buffer("style_seen", mask(top.dims, top.style_masked), persistent=False)
        self.decoder = nn.ModuleDict(
            {"base": Base(top.dims, top.base_masked), "y1": Dense(self.split, top.y1.condition, "linear")}
        )
        self.flows = nn.ModuleDict(
            {
                "prior": top_flow(top, top.prior, self.split, None),
                "y1": top_flow(top, top.y1, top.dims - self.split, top.y1.condition),
            }
        )
        below, skip = (BASE, top.dims), 0
        for resolution in sorted(rows):
            row = rows[resolution]
            skip_out = 0 if resolution == max(rows) else row.skip
            sizes = (below, skip, skip_out, top.style_width, model.decoder_multiplier)
            self.decoder[str(resolution)] = LevelDecoder(resolution, row, *sizes)
            self.flows[str(resolution)] = level_flow(resolution, row)
            below, skip = (resolution, row.channels), skip_out

    def kernels(self, inverse: bool = False) -> dict[str, Kernels]:
        """Every mixing's kernel: once a step, or once for as long as parameters stay."""
        return {name: self.flows[name].kernels(inverse) for name in self.names}  # pyright: ignore

    def features(self, x: Tensor) -> ByLevel:
        """y by level, coarse to fine, noiseless."""
        finest = IMAGE_SCALE * x
        targets, top = self.encoder(finest)
        y = {"prior": top[:, : self.split], "y1": top[:, self.split :]}
        y |= {name: targets[int(name)] for name in self.names[2:-1]} | {self.names[-1]: finest}
        return {name: value.float() for name, value in y.items()}

    def conditions(self, y: ByLevel, seen: ByLevel) -> dict[str, Any]:
        """Conditioning of every level's flow; `seen`: y as the decoders see them."""
        conditions = {}

        def visit(name: str, cond: Any) -> tuple[Tensor, Tensor]:
            conditions[name] = cond
            return y[name], seen[name]

        self._walk(visit)
        return conditions

    def encode(self, x: Tensor, kernels: dict[str, Kernels] | None = None) -> tuple[ByLevel, ByLevel]:
        """Images to latents, no noise: z by level, and log|det dz/dy| of each flow, (b,), nats."""
        kernels = self.kernels() if kernels is None else kernels
        y = self.features(x)
        cond = self.conditions(y, y)
        made = {name: self.flows[name](y[name], cond[name], kernels[name]) for name in self.names}
        return {name: z for name, (z, _) in made.items()}, {name: log_det for name, (_, log_det) in made.items()}

    def generate(self, z: ByLevel, kernels: dict[str, Kernels] | None = None) -> ByLevel:
        """Latents to the y's of every level, coarse to fine; `kernels` with their inverses."""
        ready = self.kernels(inverse=True) if kernels is None else kernels
        y: ByLevel = {}

        def visit(name: str, cond: Any) -> tuple[Tensor, Tensor]:
            y[name] = self.flows[name].inverse(z[name], cond, ready[name])  # pyright: ignore[reportCallIssue]
            return y[name], y[name]

        self._walk(visit)
        return y

    def decode(self, z: ByLevel, kernels: dict[str, Kernels] | None = None) -> Tensor:
        """Latents to images."""
        return self.generate(z, kernels)[self.names[-1]] / IMAGE_SCALE

    def draw(self, count: int, sigma: float = 1.0) -> ByLevel:
        """Latents from the prior: N(0, (sigma prior_std)^2), at the top N(0, 1)."""
        device = self.style_seen.device
        z = {name: torch.randn(count, *shape, device=device) for name, shape in self.shapes.items()}
        return {n: v if v.dim() == 2 else sigma * self.numbers[n].prior_std * v for n, v in z.items()}

    def sample(self, count: int, sigma: float = 1.0) -> Tensor:
        """Images of the model's own making."""
        return self.decode(self.draw(count, sigma))

    def _walk(self, visit: Callable[[str, Any], tuple[Tensor, Tensor]]) -> None:
        """Coarse to fine: each level's conditioning, from the y that `visit` gave before it, clean and as seen."""
        prior, prior_seen = visit("prior", None)
        _, y1_seen = visit("y1", self.decoder["y1"](prior).float())
        top = torch.cat([prior_seen, y1_seen], 1)
        style, below, skip = self.style(self.style_seen * top), self.decoder["base"](top), None
        for name in self.names[2:]:
            (start, own, end), skip = self.decoder[name](below, skip, style)
            start, end = (tuple(value.float() for value in head) for head in (start, end))
            _, below = visit(name, (start, own, end))


def mask(dims: int, hidden: tuple[int, int]) -> Tensor:
    """(dims,), 0 on channels [a, b) and 1 elsewhere."""
    at = torch.arange(dims)
    return 1 - ((at >= hidden[0]) & (at < hidden[1])).float()
