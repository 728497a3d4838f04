"""Computes the positions of the boxes, frames and arrows of a diagram from the sizes of their texts.

A column of the grid is as wide as its widest box, and a row as high as its highest, so boxes do not touch. All
lengths are in points. y increases downwards.
"""

import dataclasses
from collections.abc import Callable, Sequence

from hcflow_jax.errors import InputError
from hcflow_jax.graphs import BOTTOM, LEFT, RIGHT, TOP, Arrow, Graph, Node

Measure = Callable[[str, float, bool], float]  # text, font size, bold -> width
Point = tuple[float, float]

TITLE, TEXT, HEAD = 9.0, 8.0, 12.0  # font sizes
LINE = 1.35  # height of a line relative to the font size
PAD, GAP_X, GAP_Y = 6.0, 28.0, 18.0  # space inside a box, between columns, between rows
MASK = 34.0  # side of a mask
FRAME, FRAME_TITLE = 7.0, TITLE * LINE + 3  # space between a frame and its boxes; height of the frame's title
_APART = 12.0  # space between a title and the number of parameters on the same line


@dataclasses.dataclass(frozen=True)
class Rect:
    """A rectangle. (x, y) is its upper left corner."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """x of the right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """y of the lower edge."""
        return self.y + self.height

    @property
    def centre(self) -> Point:
        """(x, y) of the centre."""
        return self.x + self.width / 2, self.y + self.height / 2


@dataclasses.dataclass(frozen=True)
class Layout:
    """The positions of all parts of a diagram.

    Attributes:
      rects: name of a node or group -> its rectangle.
      paths: the corners of each arrow, in the order of the graph's arrows.
      width, height: the size of the diagram.
    """

    rects: dict[str, Rect]
    paths: tuple[tuple[Point, ...], ...]
    width: float
    height: float


def is_compact(node: Node) -> bool:
    """Whether the box has only one line: its title, and perhaps its number of parameters."""
    return not node.lines and not node.masks


def texts(node: Node) -> list[tuple[str, float, bool]]:
    """The lines of a box: (text, font size, bold).

    The number of parameters is the last line. A compact box has it on the title's line, so it is not in the list.
    """
    if is_compact(node):
        return [(node.title, TEXT, False)]
    count = [] if node.parameters is None else [counted(node)]
    return [(node.title, TITLE, True), *((line, TEXT, False) for line in (*node.lines, *count))]


def counted(node: Node) -> str:
    """The text for the number of parameters of a box; empty if the box has none."""
    if node.parameters is None:
        return ""
    return f"{node.parameters:,}" if is_compact(node) else f"{node.parameters:,} parameters"


def size(node: Node, measure: Measure) -> Point:
    """The minimal width and height of a box."""
    lines = texts(node)
    width = max(measure(*line) for line in lines)
    height = sum(points * LINE for _, points, _ in lines)
    if is_compact(node) and node.parameters is not None:
        width += _APART + measure(counted(node), TEXT, False)
    if node.masks:
        width += len(node.masks) * (MASK + PAD)
        height = max(height, MASK)
    return width + 2 * PAD, height + 2 * PAD


def lay_out(graph: Graph, measure: Measure) -> Layout:
    """Computes the positions of all parts of a graph.

    Args:
      graph: the diagram.
      measure: returns the width of a text.

    Raises:
      InputError: there are no boxes, two boxes have the same place or name, or an arrow or a group names a box that
        does not exist.
    """
    _check(graph)
    sizes = {node.name: size(node, measure) for node in graph.nodes}
    named = {node.name: node for node in graph.nodes}
    frames = [(group, [named[name] for name in group.members]) for group in graph.groups]
    # A frame is at least twice as wide as its title, so an arrow that enters at the middle of its top misses it.
    titles = {group.name: 2 * (measure(group.title, TITLE, True) + FRAME) for group in graph.groups}

    columns = [(node.column, node.columns, sizes[node.name][0]) for node in graph.nodes] + [
        _columns(members, titles[group.name]) for group, members in frames
    ]
    sides = [_columns(members, 0)[:2] for _, members in frames]
    left, wide = _axis(columns, GAP_X, [(at, n, FRAME, FRAME) for at, n in sides])
    lanes = {}
    for lane in {node.lane for node in graph.nodes}:
        rows = [(node.row, node.rows, sizes[node.name][1]) for node in graph.nodes if node.lane == lane]
        ends = [_rows(members) for _, members in frames if members[0].lane == lane]
        lanes[lane] = _axis(rows, GAP_Y, [(at, n, FRAME + FRAME_TITLE, FRAME) for at, n in ends])

    rects = {}
    for node in graph.nodes:
        top, high = lanes[node.lane]
        last = node.column + node.columns - 1
        x, width = left[node.column], left[last] + wide[last] - left[node.column]
        last = node.row + node.rows - 1
        y, height = top[node.row], top[last] + high[last] - top[node.row]
        if node.rows == 1:  # the box keeps its own height and is centred in the row
            own = sizes[node.name][1]
            y, height = y + (height - own) / 2, own
        rects[node.name] = Rect(x, y, width, height)
    for group, members in frames:
        (column, n, _), (row, m), (top, high) = _columns(members, 0), _rows(members), lanes[members[0].lane]
        x, y = left[column] - FRAME, top[row] - FRAME - FRAME_TITLE
        right, bottom = left[column + n - 1] + wide[column + n - 1], top[row + m - 1] + high[row + m - 1]
        rects[group.name] = Rect(x, y, right + FRAME - x, bottom + FRAME - y)
    paths = tuple(
        route(arrow, rects[arrow.source], rects[arrow.target], _outer(arrow, graph, rects)) for arrow in graph.arrows
    )
    return Layout(rects, paths, max(r.right for r in rects.values()), max(r.bottom for r in rects.values()))


def _check(graph: Graph) -> None:
    names = [node.name for node in graph.nodes] + [group.name for group in graph.groups]
    if not graph.nodes:
        raise InputError("diagram: it has no boxes")
    if len(set(names)) < len(names):
        raise InputError("diagram: two boxes or groups have one name")
    taken: dict[tuple[int, int], str] = {}
    for node in graph.nodes:
        for row in range(node.row, node.row + node.rows):
            for column in range(node.column, node.column + node.columns):
                other = taken.setdefault((row, column), node.name)
                if other != node.name:
                    raise InputError(f"diagram: {other!r} and {node.name!r} are both at row {row}, column {column}")
    nodes = {node.name for node in graph.nodes}
    for group in graph.groups:
        if not group.members or not nodes.issuperset(group.members):
            raise InputError(f"diagram: the group {group.name!r} must have members, all of them boxes")
    for arrow in graph.arrows:
        for end in (arrow.source, arrow.target):
            if end not in names:
                raise InputError(f"diagram: an arrow names {end!r}, which is no box and no group")


def _columns(members: Sequence[Node], width: float) -> tuple[int, int, float]:
    first, end = min(n.column for n in members), max(n.column + n.columns for n in members)
    return first, end - first, width


def _rows(members: Sequence[Node]) -> tuple[int, int]:
    first, end = min(n.row for n in members), max(n.row + n.rows for n in members)
    return first, end - first


def _axis(
    needs: Sequence[tuple[int, int, float]],
    gap: float,
    frames: Sequence[tuple[int, int, float, float]],
) -> tuple[list[float], list[float]]:
    """Computes where each column begins and how wide it is. It does the same for rows.

    Args:
      needs: for each box or frame, (first column, number of columns, least width).
      gap: the space between two columns.
      frames: (first column, number of columns, before, after): space for the edges of a frame.
    """
    count = max(first + n for first, n, _ in needs)
    before, after = [0.0] * count, [0.0] * count
    for first, n, ahead, behind in frames:
        before[first] = max(before[first], ahead)
        after[first + n - 1] = max(after[first + n - 1], behind)
    sizes = [0.0] * count
    for first, n, width in sorted(needs, key=lambda need: need[1]):
        between = sum(after[i] + gap + before[i + 1] for i in range(first, first + n - 1))
        lacking = width - between - sum(sizes[first : first + n])
        for i in range(first, first + n):
            sizes[i] += max(0.0, lacking) / n
    starts, at = [], 0.0
    for i in range(count):
        at += before[i]
        starts.append(at)
        at += sizes[i] + after[i] + gap
    return starts, sizes


def _outer(arrow: Arrow, graph: Graph, rects: dict[str, Rect]) -> Rect:
    """The rectangle in front of which an arrow turns: the target, or the frame that the arrow enters."""
    for group in graph.groups:
        if arrow.target in group.members and arrow.source not in group.members:
            return rects[group.name]
    return rects[arrow.target]


def route(arrow: Arrow, source: Rect, target: Rect, outer: Rect) -> tuple[Point, ...]:
    """The corners of an arrow: a straight line if the two boxes face each other, else with one or two right angles.

    Args:
      arrow: the arrow; its sides are used.
      source, target: the rectangles of the boxes.
      outer: the target or the frame around it. A line with two right angles turns in the gap in front of it.
    """
    along = (LEFT, RIGHT)
    flat, flat_end = arrow.start in along, arrow.end in along
    (x, y), (u, v) = source.centre, target.centre
    if flat == flat_end:  # both ends are parallel: the line is straight if one centre lies within both sides
        if flat:
            y, v = _common((source.y, source.bottom, y), (target.y, target.bottom, v))
        else:
            x, u = _common((source.x, source.right, x), (target.x, target.right, u))
    begin, end = _anchor(source, arrow.start, x, y), _anchor(target, arrow.end, u, v)
    if flat != flat_end:
        return (begin, (end[0], begin[1]) if flat else (begin[0], end[1]), end)
    if flat:
        middle = outer.x - GAP_X / 2 if arrow.end == LEFT else outer.right + GAP_X / 2
        corners = ((middle, begin[1]), (middle, end[1]))
    else:
        middle = outer.y - GAP_Y / 2 if arrow.end == TOP else outer.bottom + GAP_Y / 2
        corners = ((begin[0], middle), (end[0], middle))
    straight = begin[1] == end[1] if flat else begin[0] == end[0]
    return (begin, end) if straight else (begin, *corners, end)


def _common(one: tuple[float, float, float], other: tuple[float, float, float]) -> tuple[float, float]:
    """The positions where a line leaves one side and enters the other. A side is (low, high, centre).

    The positions are equal if the centre of one side lies within both.
    """
    (low, high, centre), (other_low, other_high, other_centre) = one, other
    narrow_first = high - low <= other_high - other_low
    for wanted in (centre, other_centre) if narrow_first else (other_centre, centre):
        if low <= wanted <= high and other_low <= wanted <= other_high:
            return wanted, wanted
    return centre, other_centre


def _anchor(rect: Rect, side: str, x: float, y: float) -> Point:
    return {LEFT: (rect.x, y), RIGHT: (rect.right, y), TOP: (x, rect.y), BOTTOM: (x, rect.bottom)}[side]
