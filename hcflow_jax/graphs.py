"""Boxes and arrows as data: what a diagram shows and where each box stands, without how it is drawn."""

import dataclasses

Mask = tuple[tuple[int, ...], ...]  # rows of 0 (visible) and 1 (hidden)

LEFT, RIGHT, TOP, BOTTOM = "left", "right", "top", "bottom"


@dataclasses.dataclass(frozen=True)
class Node:
    """One box, at a place of a grid. Rows run downwards and columns to the right, both from 0.

    Attributes:
      name: of the box; no other node or group of the graph has it.
      title: its first line.
      lines: the lines below.
      kind: what it stands for, such as "flow"; who draws it has a colour for each.
      row, column: where it stands.
      rows, columns: how many it covers.
      parameters: how many it has, shown too; None: the box is no part with parameters.
      masks: small pictures beside the text.
      lane: the rows of each lane have heights of their own, as if the lanes were diagrams side by side.
    """

    name: str
    title: str
    lines: tuple[str, ...] = ()
    kind: str = ""
    row: int = 0
    column: int = 0
    rows: int = 1
    columns: int = 1
    parameters: int | None = None
    masks: tuple[Mask, ...] = ()
    lane: int = 0


@dataclasses.dataclass(frozen=True)
class Arrow:
    """A line between two boxes or groups; it has a corner or two where they do not face each other.

    Attributes:
      source, target: names of nodes or groups.
      kind: what it stands for, such as "condition".
      start: the side where it leaves the source.
      end: the side where it enters the target.
      both: it has a head at both ends.
    """

    source: str
    target: str
    kind: str = ""
    start: str = RIGHT
    end: str = LEFT
    both: bool = False


@dataclasses.dataclass(frozen=True)
class Group:
    """A frame around boxes.

    Attributes:
      name: of the frame.
      title: inside, above the boxes.
      members: the names of the boxes.
    """

    name: str
    title: str
    members: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Graph:
    """A diagram.

    Attributes:
      title: above it.
      nodes: the boxes.
      arrows: between them.
      groups: frames; each has boxes of its own.
      notes: lines of text below.
      side: what a tall arrow at the right says, which points from the bottom to the top; empty: there is none.
    """

    title: str
    nodes: tuple[Node, ...]
    arrows: tuple[Arrow, ...] = ()
    groups: tuple[Group, ...] = ()
    notes: tuple[str, ...] = ()
    side: str = ""

    @property
    def parameters(self) -> int:
        """The parameters of all boxes."""
        return sum(node.parameters or 0 for node in self.nodes)
