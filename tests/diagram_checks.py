"""What is wrong with a drawn diagram, from matplotlib's own extents."""

import itertools
from typing import Any

from matplotlib.text import Text

from hcflow_jax.graphs import Graph
from hcflow_jax.pictures import diagrams


def faults(graph: Graph, styles) -> list[str]:
    """Texts that overlap, are small or leave page or box; boxes that overlap; arrows through boxes or texts."""
    figure = diagrams.drawn(graph, styles)
    figure.canvas.draw()
    page, scale = figure.bbox, figure.dpi / 72
    texts = [text for text in figure.findobj(Text) if text.get_text()]
    extents = [text.get_window_extent() for text in texts]
    found = [f"{text.get_text()!r} is {text.get_fontsize()} pt" for text in texts if text.get_fontsize() < 8]
    for (a, one), (b, other) in itertools.combinations(zip(texts, extents, strict=True), 2):
        if _overlap(one, other):
            found.append(f"{a.get_text()!r} overlaps {b.get_text()!r}")
    boxes, paths = _places(graph, figure)
    for text, extent in zip(texts, extents, strict=True):
        x0, y0, x1, y1 = extent.extents
        if x0 < 0 or y0 < 0 or x1 > page.width or y1 > page.height:
            found.append(f"{text.get_text()!r} leaves the page")
        own = (x0 / scale, (page.height - y1) / scale, x1 / scale, (page.height - y0) / scale)
        if (box := boxes.get(text.get_gid())) and not _inside(own, box):
            found.append(f"{text.get_text()!r} leaves its box")
        for path in paths:
            if any(_crosses(a, b, own) for a, b in itertools.pairwise(path)):
                found.append(f"an arrow crosses {text.get_text()!r}")
    nodes = {node.name: boxes[node.name] for node in graph.nodes}
    for a, b in itertools.combinations(nodes, 2):
        if _meet(nodes[a], nodes[b]):
            found.append(f"the boxes {a!r} and {b!r} overlap")
    for arrow, path in zip(graph.arrows, paths, strict=True):
        for name, box in nodes.items():
            if any(_crosses(a, b, box, 0.5) for a, b in itertools.pairwise(path)):
                found.append(f"the arrow from {arrow.source!r} to {arrow.target!r} goes through {name!r}")
    return found


def _places(graph, figure):
    """Boxes (left, top, right, bottom) and the corners of arrows, in points from the upper left."""
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    axes = figure.axes[0]
    arrows: list[Any] = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)][: len(graph.arrows)]
    paths = [[tuple(corner) for corner in patch._path_original.vertices] for patch in arrows]
    patches = [patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
    names = [group.name for group in graph.groups] + [node.name for node in graph.nodes]
    rects = [(p.get_x(), p.get_y(), p.get_x() + p.get_width(), p.get_y() + p.get_height()) for p in patches]
    return dict(zip(names, rects, strict=False)), paths


def _overlap(one, other, slack=1.0):
    a, b = one.extents, other.extents
    return all(min(a[i + 2], b[i + 2]) - max(a[i], b[i]) > slack for i in (0, 1))


def _meet(a, b):
    return all(min(a[i + 2], b[i + 2]) > max(a[i], b[i]) for i in (0, 1))


def _inside(inner, outer):
    return inner[0] >= outer[0] and inner[1] >= outer[1] and inner[2] <= outer[2] and inner[3] <= outer[3]


def _crosses(a, b, box, inset=0.0):
    """Whether a horizontal or vertical line goes through the inside of a box."""
    low, high = (min(a[0], b[0]), min(a[1], b[1])), (max(a[0], b[0]), max(a[1], b[1]))
    return all(low[i] < box[i + 2] - inset and high[i] > box[i] + inset for i in (0, 1))
