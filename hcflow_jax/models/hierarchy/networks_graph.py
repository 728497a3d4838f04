"""A diagram of the encoder and the decoder of one level of the hierarchy (the paper's Figure 12)."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hcflow_jax.graphs import Arrow, Graph, Group, Node
from hcflow_jax.models.outline import Shapes, chained, counted, latent_lines, layer_text, sized
from hcflow_jax.nets.encoder import BASE, COARSEST

if TYPE_CHECKING:
    from hcflow_jax.models.hierarchy.model import Hierarchy

_NORM = "instance norm"


class _Column:
    """A column of boxes, each below the one before, with arrows between them. It may span several grid columns."""

    def __init__(self, prefix: str, column: int, columns: int) -> None:
        self.prefix, self.column, self.columns, self.row = prefix, column, columns, 0
        self.lane = int(column > 0)
        self.nodes: list[Node] = []
        self.arrows: list[Arrow] = []
        self.groups: list[Group] = []
        self.last: str | None = None

    def add(self, title: str, kind: str = "layer", lines: Sequence[str] = (), count: int | None = None) -> None:
        """Adds a box below the last one."""
        name = f"{self.prefix} {self.row}"
        self.nodes.append(
            Node(name, title, tuple(lines), kind, self.row, self.column, 1, self.columns, count, lane=self.lane)
        )
        if self.last:
            self.arrows += chained((self.last, name), "network")
        self.last, self.row = name, self.row + 1

    def layer(self, shapes: Shapes, activation: str = "", before: str = "", after: str = "") -> None:
        """Adds a layer that has parameters."""
        self.add(f"{before}{layer_text(shapes, activation)}{after}", "layer", (), counted(shapes))

    def group(self, title: str, first: int) -> None:
        """Adds a frame around the boxes from number `first` to the last one."""
        self.groups.append(
            Group(f"{self.prefix} group {len(self.groups)}", title, tuple(n.name for n in self.nodes[first:]))
        )

    def fork(self, boxes: Sequence[tuple[str, str, Sequence[str], int | None]]) -> None:
        """Adds boxes side by side, with arrows from the last box. A box is its title, kind, lines and count."""
        above = self.last
        for i, (title, kind, lines, count) in enumerate(boxes):
            name = f"{self.prefix} fork {self.row} {i}"
            wide = self.columns - len(boxes) + 1 if i == len(boxes) - 1 else 1
            at = self.column + i
            self.nodes.append(Node(name, title, tuple(lines), kind, self.row, at, 1, wide, count, lane=self.lane))
            if above:
                self.arrows += chained((above, name), "network")
        self.row += 1


def networks(model: "Hierarchy", shapes: Shapes, level: str) -> Graph:
    """The diagram of a level: its encoder on the left, its decoder on the right, if it has them.

    Args:
      model: the model.
      shapes: the shapes of its parameters.
      level: the name of the level.
    """
    parts = []
    if level != model.level_names[-1]:
        parts.append(_encoder(model, shapes["encoder"], level))
    if level != "prior":
        parts.append(_decoder(model, shapes, level, 2 if parts else 0))
    count = sum(node.parameters or 0 for part in parts for node in part.nodes)
    symbol = "y_top" if level in ("prior", "y1") else f"y_{level}"
    notes = (
        [] if level != model.level_names[-1] else [f"Level {level} has no encoder: y_{level} is 4 times the image."]
    )
    if level == "prior":
        notes.append("The flow of y_prior has no condition, so that there is no decoder.")
    return Graph(
        f"Networks of level {level} ({symbol}): {count:,} parameters",
        tuple(node for part in parts for node in part.nodes),
        tuple(arrow for part in parts for arrow in part.arrows),
        tuple(group for part in parts for group in part.groups),
        (
            *notes,
            "Where no activation is named, a layer is linear. A number at the right of a box is its parameters.",
        ),
    )


def _encoder(model: "Hierarchy", shapes: Shapes, level: str) -> _Column:
    """The encoder stages that lead to a level."""
    names = model.level_names
    top = level in ("prior", "y1")
    start = COARSEST if top else int(names[names.index(level) + 1])
    end = 1 if top else int(level)
    made = _Column("encoder", 0, 2)
    first_width = shapes[f"from_{start}"]["conv_in"]["w"].shape[-2]
    given = (
        f"y_{start}, 4 times the image"
        if str(start) == names[-1]
        else f"features, {sized((start, start, first_width))}"
    )
    made.add(given, "data")
    size = start
    while size > end:
        stage, half, first = shapes[f"from_{size}"], size // 2, len(made.nodes)
        made.layer(stage["conv_in"], "lrelu")
        how = "anti-aliased" if size > COARSEST else "2×2 mean"
        norm = half > 1
        made.add(f"halve ({how})" + (f", {_NORM}" if norm else ""), "resample")
        made.layer(stage["conv_out"], "lrelu", after=f", {_NORM}" if norm else "")
        if "hand_over" in stage:
            made.layer(stage["hand_over"], after=f", {_NORM}")
        elif "target" not in stage:
            made.layer(stage["features"])
        made.group(f"encoder stage {size} → {half}", first)
        size = half
    if top:
        dims = model.level("prior").dims, model.level("y1").dims
        made.add(f"y_top = [y_prior, y_1], {sum(dims)} = {dims[0]} + {dims[1]}", "data")
        return made
    target, features = stage["target"], stage["features"]
    made.fork(
        [
            (f"y_{level}", "data", (layer_text(target) + ",", _NORM), counted(target)),
            ("to the next stage", "data", (layer_text(features),), counted(features)),
        ]
    )
    return made


def _decoder(model: "Hierarchy", shapes: Shapes, level: str, column: int) -> _Column:
    own = shapes["decoder"][level]
    if level == "y1":
        made = _Column("decoder", column, 1)
        made.add("y_prior", "data", latent_lines(model.level("prior").shape))
        made.layer(own)
        made.add("condition of the couplings of y_1", "decoder")
        return made
    decoder: Any = model.level(level).decoder
    made = _Column("decoder", column, 4 if decoder.skip else 3)
    if decoder.from_base:
        size = BASE
        made.add(f"base, {sized((BASE, BASE, own['stage_0']['conv_in']['w'].shape[-2]))}", "style")
    else:
        size = int(model.level_names[model.level_names.index(level) - 1])
        _predict(made, own, decoder, str(size), model.level(str(size)).decoder_noise)
    stages = int(math.log2(decoder.resolution // size))
    for i in range(stages):
        _stage(made, own[f"stage_{i}"], decoder, size, last=i == stages - 1)
        size *= 2
    ends = [_end(own, decoder, name, which) for name, which in (("start", "first"), ("end", "last"))]
    condition = _head(own["to_condition"], "condition", "of the couplings")
    skip = [_head(own["to_skip"], "skip", "to the finer decoder")] if decoder.skip else []
    made.fork([ends[0], condition, *skip, ends[1]])
    return made


def _predict(made: _Column, own: Shapes, decoder: Any, coarser: str, noise: float) -> None:
    """The first part of a decoder: it refines the coarser y with the skip."""
    noisy = f", in training with noise (α′ = {noise:g})" if noise else ""
    unet = own["predict_unet"]
    joined = unet["start"]["w"].shape[-2]
    channels = unet["end_b"]["w"].shape[-1]
    skip = joined - channels
    made.add(f"y = y_{coarser}{noisy}" + (f"; skip, {skip} channels" if skip else ""), "data")
    first = len(made.nodes)
    seen = "[skip, y]" if skip else "y"
    norm = (_NORM,) if decoder.norm else ()
    made.add(
        f"y ← (y + U-Net({seen})) / √2",
        "unet",
        (f"U-Net {joined} → {channels}, widths {_widths(unet)}", *norm),
        counted(unet),
    )
    made.layer(own["predict_0"], "lrelu", before="w ← ")
    made.layer(own["predict_1"], "lrelu", before="w ← (w + ", after=") / √2")
    made.layer(own["predict_2"], before="w ← ")
    if skip:
        made.add("join [skip, w]", "resample")
    made.group(f"prediction from y_{coarser}", first)


def _stage(made: _Column, own: Shapes, decoder: Any, size: int, last: bool) -> None:
    first, norm = len(made.nodes), f", {_NORM}" if decoder.norm else ""
    made.layer(own["conv_in"], "lrelu", after=norm)
    made.layer(own["residual_0"], "lrelu", before="residual, ")
    made.add(f"double to {2 * size}×{2 * size} (anti-aliased)", "resample")
    for i, name in enumerate(("style_in", "style_out"), 1):
        if name in own:
            dense = own[name]["dense"]
            text = layer_text(dense)
            made.add(f"{_NORM}, style: {text}", "style", (), counted(dense))
        elif decoder.norm:
            made.add(_NORM, "resample")
        end = "" if last or i == 1 else norm
        made.layer(own[f"residual_{i}"], "lrelu", before="residual, ", after=end)
    made.group(f"decoder stage {size} → {2 * size}", first)


def _head(shapes: Shapes, title: str, where: str) -> tuple[str, str, Sequence[str], int]:
    return title, "decoder", (where, layer_text(shapes)), counted(shapes)


def _end(own: Shapes, decoder: Any, name: str, which: str) -> tuple[str, str, Sequence[str], int]:
    """The layers that give b and s of the first or the last affine map; b may have a U-Net."""
    shift, hidden, scale = (own[f"{name}_{part}"] for part in ("shift", "scale_hidden", "scale"))
    parts = [shift, hidden, scale]
    lines = [f"b: {layer_text(shift)}"]
    if decoder.end_unets:
        parts.append(own[f"{name}_unet"])
        lines += ["b ← (b + U-Net(b)) / √2,", f"widths {_widths(parts[-1])}"]
    lines += [f"s: {layer_text(hidden, 'lrelu')},", f"{layer_text(scale)},", "clipped to ±3"]
    return f"{which} affine map", "decoder", lines, sum(map(counted, parts))


def _widths(unet: Shapes) -> str:
    """The widths of a U-Net of a decoder, fine to coarse."""
    depth = sum(name.startswith("down_") and name.endswith("_b") for name in unet)
    widths = [unet["start"]["w"].shape[-1], *(unet[f"down_{i}_b"]["w"].shape[-1] for i in range(depth))]
    return ", ".join(map(str, widths))
