"""Diagrams as data: boxes with their positions, and arrows. `pictures` draws them."""

import dataclasses

Mask = tuple[tuple[int, ...], ...]  # rows of 0 (visible) and 1 (hidden)

LEFT, RIGHT, TOP, BOTTOM = "left", "right", "top", "bottom"


@dataclasses.dataclass(frozen=True)
class Node:
    """A box in a grid. Rows are counted downwards and columns to the right, both from 0.

    Attributes:
      name: the name of the box. All names of nodes and groups in a graph are different.
      title: the first line of text.
      lines: the other lines of text.
      kind: what the box represents, such as "flow". Each kind is drawn in its own colour.
      row, column: the position of the box.
      rows, columns: the numbers of rows and columns that it covers.
      parameters: its number of parameters, which is also shown; None if it represents no part with parameters.
      masks: masks of couplings, drawn beside the text.
      lane: the number of its lane. Each lane has its own row heights, as if the lanes were diagrams side by side.
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
    """An arrow between two boxes or groups. It has one or two corners if they do not face each other.

    Attributes:
      source, target: the names of nodes or groups.
      kind: what the arrow represents, such as "condition".
      start: the side of the source where it starts.
      end: the side of the target where it ends.
      both: whether it has a head at both ends.
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
      name: the name of the frame.
      title: the text inside the frame, above the boxes.
      members: the names of the boxes.
    """

    name: str
    title: str
    members: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Graph:
    """A diagram.

    Attributes:
      title: the text above the diagram.
      nodes: the boxes.
      arrows: the arrows between boxes or groups.
      groups: the frames. No box is in two frames.
      notes: lines of text below the diagram.
      side: the text of a tall arrow at the right, which points upwards; "" for no arrow.
    """

    title: str
    nodes: tuple[Node, ...]
    arrows: tuple[Arrow, ...] = ()
    groups: tuple[Group, ...] = ()
    notes: tuple[str, ...] = ()
    side: str = ""

    @property
    def parameters(self) -> int:
        """The number of parameters of all boxes."""
        return sum(node.parameters or 0 for node in self.nodes)
