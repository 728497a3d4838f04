"""A diagram of a flow: its steps, the bijectors of each step, and their conditioning."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hcflow_jax import flows
from hcflow_jax.graphs import BOTTOM, TOP, Arrow, Graph, Group, Mask, Node
from hcflow_jax.models.outline import Shapes, counted, sized

Describe = Callable[[Any], tuple[str, ...]]  # a network -> lines of text that describe it
Box = tuple[str, tuple[str, ...], int | None, tuple[Mask, ...]]  # title, lines, number of parameters, masks
Section = tuple[str, str | None, list[Box]]  # title, the part of the conditioning that it gets, its boxes

KEPT = "\u00a0"  # a no-break space
_COLUMNS = 3  # the bijectors of a step; their conditioning is to the left of them
_PATCH = 16  # pixels: the side of the part of the image that a checkerboard mask shows
_MOST_CHANNELS = 16  # a mask of more channels shows only two: the visible half and the hidden half
MASKS = (
    "In the masks, what is filled is hidden: the coupling transforms it. What is white is visible: it stays, and the "
    "network sees it. A channel mask shows the channels side by side."
)
COUNTS = "Parameters are those of all the steps of a frame together."
PATCH = f"A checkerboard mask shows {_PATCH}×{_PATCH} pixels or all, and how it alternates from step to step."


def flow_graph(
    title: str,
    flow: flows.Bijector,
    shapes: Shapes,
    ends: tuple[Node, Node],
    given: Mapping[str | None, Node],
    shape: tuple[int, ...],
    describe: Describe,
) -> Graph:
    """The diagram of a flow.

    Args:
      title: the title of the diagram.
      flow: a `Chain` or a `Repeat`.
      shapes: the shapes of its parameters.
      ends: the boxes of y and z; this function sets their positions.
      given: the boxes of the conditioning, by part (None: there are no parts); this function sets their positions.
      shape: the shape of the input of the steps, without the batch.
      describe: describes a network of a coupling or a prior in lines of text.
    """
    sections = list(_sections(flow, shapes, shape, describe))
    left = 1 if any(part in given for _, part, _ in sections) else 0
    nodes, groups, arrows = [_at(ends[0], 0, left)], [], []
    before, taken = ends[0].name, {}
    for row, (name, part, boxes) in enumerate(sections, 1):
        names = [f"{row} {i}" for i in range(len(boxes))]
        if len(boxes) == 1:
            text, lines, count, masks = boxes[0]
            nodes.append(Node(names[0], text, lines, "flow", row, left, 1, _COLUMNS, count, masks))
        else:
            for i, (text, lines, count, masks) in enumerate(boxes):
                kind = "coupling" if masks else "flow"
                nodes.append(Node(names[i], text, lines, kind, row, left + i, parameters=count, masks=masks))
            groups.append(Group(f"group {row}", name, tuple(names)))
        arrows.append(Arrow(before, names[0], "flow", BOTTOM, TOP, both=True))
        arrows += [Arrow(a, b, "flow", both=True) for a, b in itertools.pairwise(names)]
        before = names[-1]
        if part in given:
            first, _ = taken.get(part, (row, row))
            taken[part] = first, row
            target = names[0] if len(boxes) == 1 else f"group {row}"
            arrows.append(Arrow(given[part].name, target, "condition"))
    last = len(sections) + 1
    nodes.append(_at(ends[1], last, left))
    arrows.append(Arrow(before, ends[1].name, "flow", BOTTOM, TOP, both=True))
    for part, (first, end) in taken.items():
        own = given[part]
        nodes.append(
            Node(own.name, own.title, own.lines, own.kind, first, 0, end - first + 1, parameters=own.parameters)
        )
    split = [box[3] for _, _, boxes in sections for box in boxes if box[3]]
    checker = any(len(mask) > 1 for masks in split for mask in masks)
    notes = (*([MASKS, COUNTS] if split else []), *([PATCH] if checker else []))
    return Graph(title, tuple(nodes), tuple(arrows), tuple(groups), notes, "sampling: from z to y")


def _at(node: Node, row: int, column: int) -> Node:
    return Node(node.name, node.title, node.lines, node.kind, row, column, 1, _COLUMNS, node.parameters)


def summary(flow: flows.Bijector) -> str:
    """The steps of a flow in one line, in `forward` order: "4 steps: 2 channel, 2 checker 2×2"."""
    splits = [_split_name(step) for step in steps(flow)]
    runs = [f"{len(list(run))} {name}".replace(" ", KEPT) for name, run in itertools.groupby(splits)]
    return f"{len(splits)} step{'s' * (len(splits) != 1)}: {', '.join(runs)}"


def steps(flow: Any) -> tuple[flows.Chain, ...]:
    """The repeated steps of a flow, in `forward` order."""
    if isinstance(flow, flows.Repeat):
        return tuple(flow.steps)
    if isinstance(flow, flows.Conditioned):
        return steps(flow.inner)
    return tuple(step for each in getattr(flow, "bijectors", ()) for step in steps(each))


def bijector(step: flows.Chain, kind: Any) -> Any:
    """The first bijector of a step that is an instance of the class `kind`."""
    return next(each for each in step.bijectors if isinstance(each, kind))


def _split_name(step: flows.Chain) -> str:
    split = bijector(step, flows.Coupling).split
    return "channel" if isinstance(split, flows.ChannelSplit) else f"checker {split.square}×{split.square}"


def _sections(
    flow: Any, shapes: Shapes, shape: tuple[int, ...], describe: Describe, part: str | None = None
) -> Iterator[Section]:
    if isinstance(flow, flows.Conditioned):
        yield from _sections(flow.inner, shapes, shape, describe, flow.part)
    elif isinstance(flow, flows.Chain):
        for name, each in zip(flow.names, flow.bijectors, strict=True):
            yield from _sections(each, shapes[name], shape, describe, part)
    elif isinstance(flow, flows.Repeat):
        for name, run in itertools.groupby(flow.steps, _split_name):
            same = list(run)
            share = len(same) / len(flow.steps)
            boxes = [
                _box(each, int(counted(shapes[key]) * share), shape, describe, same, key)
                for key, each in zip(same[0].names, same[0].bijectors, strict=True)
            ]
            yield f"{len(same)} step{'s' * (len(same) != 1)}, split: {name}", part, boxes
    else:
        yield "", part, [_box(flow, counted(shapes), shape, describe, [], "")]


def _box(each: Any, count: int, shape: tuple[int, ...], describe: Describe, same: list[flows.Chain], key: str) -> Box:
    if isinstance(each, flows.Actnorm):
        return "actnorm", ("(x − b) exp(−s),", "b and s a channel"), count, ()
    if isinstance(each, flows.Coupling):
        splits = [step.bijectors[step.names.index(key)].split for step in same]  # pyright: ignore
        return f"{_MAPS[each.scale]} coupling", describe(each.net), count, masks(splits, shape)
    if isinstance(each, flows.Injector):
        return "conditional affine", ("(x − b) exp(−s), with b and s from the decoder alone",), None, ()
    if isinstance(each, flows.FactorOut):
        return "half of the channels leaves as z", describe(each.net), count, ()
    if isinstance(each, flows.Prior):
        return "prior", describe(each.net), count, ()
    kind = {"Mixing": "free-form", "OrthogonalMixing": "orthogonal", "LUMixing": "LU of a"}[type(each).__name__]
    return "mixing", (f"{kind} {shape[-1]}×{shape[-1]}", "matrix"), count, ()


_MAPS = {"exp": "affine", "sigmoid": "affine", "additive": "additive"}


def masks(splits: list[Any], shape: tuple[int, ...]) -> tuple[Mask, ...]:
    """The masks of the splits of some steps, without duplicates; 1 is hidden.

    Args:
      splits: the splits, one per step.
      shape: the shape of the input of the steps, without the batch.
    """
    made = {}
    for split in splits:
        if isinstance(split, flows.ChannelSplit):
            c = shape[-1] if shape[-1] <= _MOST_CHANNELS else 2
            mask = (tuple(int(i >= c - -(-c // 2)) for i in range(c)),)
        else:
            n = min(_PATCH, shape[0]) // split.square
            mask = tuple(tuple((i + j + split.index + 1) % 2 for j in range(n)) for i in range(n))
        made[mask] = True
    return tuple(made)


def affine_note(shape: tuple[int, ...]) -> str:
    """A line with the shape of b and s, the conditioning of the first and the last map of a flow."""
    return f"b, s: {sized(shape)} each"
