"""The description of a hierarchy: the diagrams of the model (the paper's Figure 2), its flows and its networks."""

import math
import textwrap
from typing import Any

from hcflow_jax import flows
from hcflow_jax.graphs import BOTTOM, LEFT, RIGHT, TOP, Arrow, Graph, Node
from hcflow_jax.models.flow_graph import KEPT, affine_note, bijector, flow_graph, steps, summary
from hcflow_jax.models.hierarchy import networks_graph
from hcflow_jax.models.hierarchy.level import IMAGE_SCALE, Level
from hcflow_jax.models.hierarchy.model import Hierarchy
from hcflow_jax.models.outline import Outline, counted, latent_lines, sized
from hcflow_jax.nets.coupling_nets import ConvConditioner, UNetConditioner
from hcflow_jax.nets.encoder import BASE

_WRAP = 36  # the number of characters in a line of a flow's box
NOISE = "In training, y gets noise: α for its flow, α′ for the next finer decoder, in units of σ(y)."
STOPPED = "No gradient passes from a flow into its y: the encoder learns through the conditions alone."
FREE = "Given all y, the levels do not depend on one another: training computes them side by side."


class HierarchyOutline(Outline):
    """The outline of a hierarchy.

    The columns of the overview are the encoder, y, the decoder, the flows and z. Its rows are the levels, fine to
    coarse.

    Attributes:
      model: the model.
    """

    model: Hierarchy

    def level_of(self, path: tuple[str, ...]) -> str:
        """The level that a parameter belongs to; "" if none.

        An encoder stage belongs to the level that it leads to. The stages that lead to y_top belong to none.
        """
        if path[0] != "encoder":
            return super().level_of(path)
        half = int(path[1].removeprefix("from_")) // 2
        found = [name for name in self.model.level_names[2:] if int(name) <= half]
        return found[-1] if found else ""

    def overview(self) -> Graph:
        """The diagram of the whole model: image, encoder, y, flows, z, and the decoders that condition the flows."""
        names = self.model.level_names[:1:-1]  # the resolutions, fine to coarse
        nodes, arrows = [self._image()], [Arrow("image", f"y_{names[0]}", "encode")]
        for i, name in enumerate(names):
            nodes += self._level(self.model.level(name), 2 * i)
            nodes.append(self._decoder(name, 2 * i + 1))
            nodes.append(self._encoder(names[i : i + 2], 2 * i + 1))
            arrows += [*_level_arrows(name), Arrow(f"decoder {name}", f"flow {name}", "condition", RIGHT, BOTTOM)]
            above = f"encoder {names[i - 1]}" if i else "image"
            arrows.append(Arrow(above, f"encoder {name}", "encode", BOTTOM, TOP))
            if i + 1 < len(names):
                coarser = names[i + 1]
                arrows += [
                    Arrow(f"encoder {name}", f"y_{coarser}", "encode"),
                    Arrow(f"y_{coarser}", f"decoder {name}", "condition", TOP, LEFT),
                ]
                if getattr(self.model.level(coarser).decoder, "skip", 0):
                    arrows.append(Arrow(f"decoder {coarser}", f"decoder {name}", "skip", TOP, BOTTOM))
        return self._with_top(nodes, arrows, names[-1], 2 * len(names))

    def _image(self) -> Node:
        finest = self.model.level_names[-1]
        return Node(
            "image", "image x", (sized(self.model.image_shape), f"y_{finest} = {IMAGE_SCALE:g} x"), "data", 0, 0
        )

    def _level(self, level: Level, row: int) -> list[Node]:
        """The boxes of y, flow and z of a level."""
        symbol, spatial = _symbol(level.name), len(level.shape) > 1
        noisy = level.flow_noise or level.decoder_noise
        noise = (f"α = {level.flow_noise:g}, α′ = {level.decoder_noise:g}" if noisy else "no noise",)
        size = latent_lines(level.shape)
        finest = level.name == self.model.level_names[-1]
        prior = "standard normal" if level.prior_std == 1 else f"normal, std {level.prior_std:g}"
        split = [line.replace(KEPT, " ") for line in textwrap.wrap(summary(level.flow), _WRAP)]
        lines = (*split, *self._flow_lines(level), *(["conditional affine, first and last"] if spatial else []))
        count = counted(self.shapes["flows"][level.name])
        return [
            Node(f"y_{level.name}", f"y_{symbol}", (size[0], *(() if finest else noise)), "data", row, 1),
            Node(f"flow {level.name}", f"flow {symbol}", lines, "flow", row, 3, parameters=count),
            Node(f"z_{level.name}", f"z_{symbol}", (*size, prior), "latent", row, 4),
        ]

    def _flow_lines(self, level: Level) -> list[str]:
        own = steps(level.flow)
        net = bijector(own[0], flows.Coupling).net
        nets = [bijector(step, flows.Coupling).net for step in own]
        unets = dict.fromkeys(_widths(each) for each in nets if isinstance(each, UNetConditioner))
        mixing = bijector(own[0], (flows.Mixing, flows.OrthogonalMixing))
        kind = "orthogonal" if isinstance(mixing, flows.OrthogonalMixing) else "free-form"
        widths = [f"U-Nets at checkers, widths {each}" for each in unets]
        return [f"coupling width {net.hidden}, {kind} mixing", *widths]

    def _decoder(self, name: str, row: int) -> Node:
        decoder: Any = self.model.level(name).decoder
        start = BASE if decoder.from_base else int(self._coarser(name))
        doublings = int(math.log2(decoder.resolution // start))
        path = " → ".join(str(start * 2**i) for i in range(doublings + 1))
        gives = f"gives condition {decoder.condition}" + (f", skip {decoder.skip}" if decoder.skip else "")
        extra = [
            text
            for text, there in (
                ("style modulation", decoder.style),
                ("instance norm", decoder.norm),
                ("U-Nets at both ends", decoder.end_unets),
            )
            if there
        ]
        lines = (f"{path} pixels, width {decoder.width}", gives, *([", ".join(extra)] if extra else []))
        count = counted(self.shapes["decoder"][name])
        return Node(f"decoder {name}", f"decoder {name}", lines, "decoder", row, 2, parameters=count)

    def _coarser(self, name: str) -> str:
        names = self.model.level_names
        return names[names.index(name) - 1]

    def _encoder(self, names: tuple[str, ...], row: int) -> Node:
        """The box of the encoder stages from a level to the next coarser one, or from the coarsest to y_top.

        Args:
          names: the level, and the next coarser one if there is one.
          row: the row of the box.
        """
        size, end = int(names[0]), int(names[1]) if names[1:] else 1
        widths, path, count = [], [size], 0
        while size > end:
            stage = self.shapes["encoder"][f"from_{size}"]
            widths.append(stage["conv_in"]["w"].shape[-1])
            count += counted(stage)
            path.append(size := size // 2)
        width = f"width {', '.join(map(str, dict.fromkeys(widths)))}"
        lines = (f"{' → '.join(map(str, path))} pixels", width)
        return Node(f"encoder {names[0]}", "encoder", lines, "encoder", row, 0, parameters=count)

    def _with_top(self, nodes: list[Node], arrows: list[Arrow], coarsest: str, row: int) -> Graph:
        """The diagram, after adding the style network, the base and the 1x1 levels.

        Args:
          nodes: the boxes so far.
          arrows: the arrows so far.
          coarsest: the coarsest level above 1x1.
          row: the first free row.
        """
        model, shapes = self.model, self.shapes
        prior, y1 = model.level("prior"), model.level("y1")
        top = prior.dims + y1.dims
        layers = shapes["style"]
        style = (
            "sees y_top" + _without(model.style_masked, top),
            f"{len(layers)} dense layers, width {layers['layer_0']['w'].shape[-1]}",
        )
        base: Any = model.base
        seen = "learned constant" + ("" if base.masked[0] <= 0 and base.masked[1] >= top else " + 1×1 conv")
        from_top = () if seen == "learned constant" else (f"of y_top{_without(base.masked, top)}",)
        to_condition = shapes["decoder"]["y1"]
        count = counted(to_condition)
        width = to_condition["w"].shape[-1]
        nodes += [
            Node(
                "base",
                "base",
                (f"{BASE}×{BASE}×{top}", seen, *from_top),
                "style",
                row - 1,
                1,
                parameters=counted(shapes["decoder"]["base"]),
            ),
            Node("style", "style network", style, "style", row, 2, parameters=counted(layers)),
            *self._level(y1, row + 1),
            Node("y_top", "y_top", (f"1×1×{top}", "= [y_prior, y_1]"), "data", row + 2, 0),
            Node(
                "decoder y1",
                "dense layer",
                (f"{prior.dims} → {width}",),
                "decoder",
                row + 2,
                2,
                parameters=count,
            ),
            *self._level(prior, row + 3),
        ]
        arrows += [
            Arrow(f"encoder {coarsest}", "y_top", "encode", BOTTOM, TOP),
            Arrow("y_top", "y_y1", "encode"),
            Arrow("y_top", "y_prior", "encode"),
            Arrow("y_y1", "style", "style", TOP, LEFT),
            Arrow("base", f"decoder {coarsest}", "condition"),
            *_level_arrows("y1"),
            *_level_arrows("prior"),
            Arrow("y_prior", "decoder y1", "condition", TOP, LEFT),
            Arrow("decoder y1", "flow y1", "condition", RIGHT, BOTTOM),
        ]
        if getattr(model.level(coarsest).decoder, "style", False):
            arrows.append(Arrow("style", f"decoder {coarsest}", "style", TOP, BOTTOM))
        return Graph(self.title, tuple(nodes), tuple(arrows), (), self._notes(), "sampling: coarse to fine, z to y")

    def _notes(self) -> tuple[str, ...]:
        noisy = any(level.flow_noise or level.decoder_noise for level in self.model.levels)
        return (*([NOISE] if noisy else []), *([STOPPED] if self.model.stop_gradient else []), FREE)

    def flow(self, level: str) -> Graph:
        """The diagram of a level's flow: its steps (Figure 3)."""
        own = self.model.level(self.check_level(level))
        symbol = _symbol(level)
        noisy = ("in training with noise, " + f"α = {own.flow_noise:g}",) if own.flow_noise else ()
        y = Node("y", f"y_{symbol}", (latent_lines(own.shape)[0], *noisy), "data")
        z = Node("z", f"z_{symbol}", latent_lines(own.shape), "latent")
        title = f"Flow of level {level}: {counted(self.shapes['flows'][level]):,} parameters"
        shapes = self.shapes["flows"][level]
        return flow_graph(title, own.flow, shapes, (y, z), self._given(own), own.shape, conditioner_lines)

    def _given(self, level: Level) -> dict[str | None, Node]:
        """The boxes of the conditioning of a level's flow, by part."""
        decoder: Any = level.decoder
        if decoder is None:
            return {}
        if len(level.shape) == 1:
            return {None: Node("given", "condition", ("of y_prior,", f"{decoder.features} values"), "decoder")}
        ends = {
            part: Node(f"given {part}", f"{which} map", (affine_note(level.shape),), "decoder")
            for part, which in (("start", "first"), ("end", "last"))
        }
        shape = sized((*level.shape[:2], decoder.condition))
        steps = Node("given steps", "condition", (shape, f"from decoder {level.name}"), "decoder")
        return {**ends, "steps": steps}

    def networks(self, level: str) -> Graph:
        """The diagram of the encoder and the decoder of a level (Figure 12)."""
        return networks_graph.networks(self.model, self.shapes, self.check_level(level))


def conditioner_lines(net: ConvConditioner | UNetConditioner) -> tuple[str, ...]:
    """Describes the network of a coupling in lines of text."""
    if isinstance(net, ConvConditioner):
        return ("s, b = network(√2 visible,", "condition)", f"plain, width {net.hidden}")
    scale = f"{2**net.halvings}× smaller at each"
    return ("s, b = network(√2 visible,", "condition)", f"U-Net, widths {_widths(net)},", scale)


def _widths(net: UNetConditioner) -> str:
    """The widths of the U-Net of a coupling, fine to coarse."""
    return ", ".join(str(math.floor(net.hidden * net.growth**i)) for i in range(net.scales + 1))


def _level_arrows(name: str) -> list[Arrow]:
    return [
        Arrow(f"y_{name}", f"flow {name}", "flow", both=True),
        Arrow(f"flow {name}", f"z_{name}", "flow", both=True),
    ]


def _symbol(name: str) -> str:
    return "1" if name == "y1" else name


def _without(masked: tuple[int, int], top: int) -> str:
    """Text that says which channels of y_top are masked; "" if none.

    Args:
      masked: the masked channels, [a, b).
      top: the number of channels of y_top.
    """
    first, end = max(0, masked[0]), min(top, masked[1])
    if first >= end:
        return ""
    return f" without channels {first} to {end - 1}"
