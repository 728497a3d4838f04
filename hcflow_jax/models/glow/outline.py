"""The description of a Glow model: its levels, the steps of a level, and the networks of a level."""

from typing import Any

import jax

from hcflow_jax import flows
from hcflow_jax.graphs import Arrow, Graph, Group, Node
from hcflow_jax.models.flow_graph import bijector, flow_graph, steps
from hcflow_jax.models.glow.model import Glow
from hcflow_jax.models.glow.nets import LOG_FACTOR, CouplingNetwork, SplitPrior
from hcflow_jax.models.outline import Outline, Shapes, chained, counted, latent_lines, layer_text, sized

_MIXINGS = {flows.Mixing: "free-form", flows.LUMixing: "LU"}


_INDICATOR = "3×3 convolutions have one input channel more: it is 1 in the padding and 0 in the image."


class GlowOutline(Outline):
    """The outline of a Glow model.

    The overview shows, from top to bottom, the image and the levels, fine to coarse. Each level has a squeeze, a flow
    and a latent.
    """

    model: Glow

    def overview(self) -> Graph:
        """The diagram of the whole model: image, squeezes, flows and latents."""
        nodes = [Node("image", "image x", (sized(self.model.image_shape),), "data")]
        arrows = []
        for i, (name, flow) in enumerate(reversed(self.model.levels)):
            row, shape = 1 + 2 * i, self._shape(name)
            own = steps(flow)
            coupling, mixing = bijector(own[0], flows.Coupling), self._mixing(own[0])
            kind = "additive" if coupling.scale == "additive" else "affine"
            leaves = "half leaves as z" if flow.leaving else "all is z; learned prior"
            lines = (
                f"{len(own)} step{'s' * (len(own) != 1)} of actnorm, mixing, coupling",
                f"{kind} couplings, width {coupling.net.hidden}, {mixing} mixing",
                leaves,
            )
            latent = self.model.latent_shapes[name]
            count = counted(self.shapes["flows"][name])
            nodes += [
                Node(f"squeeze {name}", "squeeze", (f"2×2 pixels → channels: {sized(shape)}",), "resample", row),
                Node(f"flow {name}", f"flow {name}", lines, "flow", row + 1, parameters=count),
                Node(f"z_{name}", f"z_{name}", (*latent_lines(latent), "standard normal"), "latent", row + 1, 1),
            ]
            above = "image" if not i else f"flow {self.model.level_names[-i]}"
            down = (above, f"squeeze {name}", f"flow {name}")
            arrows += [*chained(down, "flow", both=True), Arrow(f"flow {name}", f"z_{name}", "flow", both=True)]
        return Graph(self.title, tuple(nodes), tuple(arrows), side="sampling: coarse to fine")

    def _shape(self, level: str) -> tuple[int, ...]:
        """The shape of the input of a level's flow, after the squeeze, without the batch."""
        size, _, channels = self.model.latent_shapes[level]
        leaves = dict(self.model.levels)[level].leaving
        return (size, size, channels * 2 if leaves else channels)

    def _mixing(self, step: flows.Chain) -> str:
        return _MIXINGS[type(bijector(step, tuple(_MIXINGS)))]

    def flow(self, level: str) -> Graph:
        """The diagram of a level's flow: its steps, and where its latent leaves."""
        flow = dict(self.model.levels)[self.check_level(level)]
        shape, shapes = self._shape(level), self.shapes["flows"][level]
        y = Node("y", "h, behind the squeeze", (sized(shape),), "data")
        latent = self.model.latent_shapes[level]
        stays = (f"and {sized(latent)} that goes on to the next level",) if flow.leaving else ()
        z = Node("z", f"z_{level}", (*latent_lines(latent), *stays), "latent")
        title = f"Flow of level {level}: {counted(shapes):,} parameters"
        return flow_graph(title, flow, shapes, (y, z), {}, shape, _lines)

    def networks(self, level: str) -> Graph:
        """The diagram of a level's networks: that of a coupling, and that of the latent's prior."""
        flow = dict(self.model.levels)[self.check_level(level)]
        own, shapes = steps(flow), self.shapes["flows"][level]
        net = bijector(own[0], flows.Coupling).net
        coupling = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), shapes["steps"])
        one = coupling["coupling"]
        made = [Node("seen", "first half of the channels", kind="data")]
        made += [_layer(f"hidden {i}", one[f"hidden_{i}"], i + 1, 0, "actnorm, ReLU") for i in range(2)]
        made.append(_layer("out", one["out"], 3, 0, f"exp({LOG_FACTOR:g} logs), zero at first"))
        gives = ("shift of the second half", "scale and shift of the second half")[net.affine]
        made.append(Node("given", gives, kind="data", row=4))
        chains = [tuple(node.name for node in made)]
        titles = ["network of a coupling"]
        prior = shapes["out"]["conv"] if flow.leaving else shapes["top"]
        if flow.leaving:
            rest = [
                Node("on", "half that stays", kind="data", column=1, lane=1),
                _layer("prior", prior, 1, 1, f"exp({LOG_FACTOR:g} logs), zero at first"),
                Node("says", "mean and log-std of the half that leaves", kind="data", row=2, column=1, lane=1),
            ]
        else:
            learned = Node("prior", "learned vectors", kind="layer", column=1, parameters=counted(prior), lane=1)
            rest = [learned, Node("says", "mean and log-std of all", kind="data", row=1, column=1, lane=1)]
        chains.append(tuple(node.name for node in rest))
        titles.append("prior of the latent")
        return Graph(
            f"Networks of level {level}",
            (*made, *rest),
            tuple(arrow for names in chains for arrow in chained(names, "network")),
            tuple(Group(f"group {i}", titles[i], names) for i, names in enumerate(chains)),
            (
                f"Each of the level's {len(own)} couplings has a network of its own, with "
                f"{counted(one):,} parameters.",
                "A number at the right of a box is its parameters.",
                *([_INDICATOR] if net.indicator else []),
            ),
        )


def _layer(name: str, shapes: Shapes, row: int, column: int, after: str) -> Node:
    return Node(
        name, layer_text(shapes, after), kind="layer", row=row, column=column, parameters=counted(shapes), lane=column
    )


def _lines(net: CouplingNetwork | SplitPrior | Any) -> tuple[str, ...]:
    """Describes a network of a coupling or a prior in lines of text."""
    if isinstance(net, CouplingNetwork):
        what = "scale, shift" if net.affine else "shift"
        return (f"{what} = network(visible)", f"3×3, 1×1, 3×3 convs, width {net.hidden}")
    if isinstance(net, SplitPrior):
        return ("z = (x − mean) / std, of which a 3×3 conv of the half that stays gives both",)
    return ("z = (x − mean) / std, both learned",)
