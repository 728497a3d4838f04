"""Draws diagrams: boxes, arrows and frames (`hcflow_jax.graphs`), as a PNG or a PDF. All lengths are in points."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hcflow_jax import paths
from hcflow_jax.errors import InputError, MissingExtraError
from hcflow_jax.files import write
from hcflow_jax.graphs import Graph, Mask, Node
from hcflow_jax.pictures import diagram_layout as layout
from hcflow_jax.pictures.diagram_layout import FRAME, HEAD, LINE, MASK, PAD, TEXT, TITLE, Rect
from hcflow_jax.pictures.pdf import ENDINGS

DPI = 120  # dots per inch of a PNG
_MARGIN = 14.0  # margin of the page
_GAP = 12.0  # space between the diagram and the texts around it
_SWATCH, _APART = 22.0, 16.0  # width of a sample in the legend; space between two entries
_LEAST = 340.0  # least width of a page
_INK, _GREY, _FRAME = "#1a1a1a", "#555555", "#8a8a8a"
_POINTS_PER_INCH = 72
_PALETTE = 128  # number of colours of a PNG


@dataclasses.dataclass(frozen=True)
class Style:
    """The look of one kind of box or arrow.

    Attributes:
      colour: the colour of the line, "#rrggbb". A box is filled with a light tint of it.
      label: the label in the legend; empty: no entry.
      dashed: whether the line is dashed.
      strength: the strength of the tint, 0 to 1.
    """

    colour: str
    label: str = ""
    dashed: bool = False
    strength: float = 0.16

    @property
    def tint(self) -> tuple[float, ...]:
        """The fill colour of a box: red, green and blue in [0, 1]."""
        return tuple(1 - self.strength * (1 - int(self.colour[i : i + 2], 16) / 255) for i in (1, 3, 5))


_PLAIN = Style("#777777")


def diagram(path: str | Path, graph: Graph, styles: Mapping[str, Style]) -> None:
    """Draws a diagram. The page is as large as the texts need, which are 8 to 12 points high.

    Args:
      path: the file to write; it ends in .png (120 dots per inch) or .pdf.
      graph: the diagram.
      styles: kind of node or arrow -> style. Other kinds are grey.

    Raises:
      InputError: the file has another ending, or the boxes and arrows of the graph do not fit together.
      MissingExtraError: matplotlib is not installed; the message names the extra.
      OSError: the file cannot be written.
    """
    file = paths.local(path)
    ending = file.suffix.lower()
    if ending not in ENDINGS:
        raise InputError(f"{path}: a diagram's file must end in {' or '.join(ENDINGS)}")
    try:
        figure = drawn(graph, styles)
    except ImportError as error:
        raise MissingExtraError(f"{path}: diagrams need matplotlib: pip install 'hcflow_jax[pictures]'") from error
    save = _save_png if ending == ".png" else _save_pdf
    write(file, lambda opened: save(figure, opened))


def _save_pdf(figure: Any, file: BinaryIO) -> None:
    # Without a date, the same diagram gives the same file.
    figure.savefig(file, format="pdf", metadata={"CreationDate": None})


def _save_png(figure: Any, file: BinaryIO) -> None:
    """Writes a PNG with a palette. A diagram has few colours, so this makes the file about a third as large."""
    from PIL import Image

    figure.canvas.draw()
    image = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())
    image.quantize(_PALETTE, dither=Image.Dither.NONE).save(file, format="PNG", optimize=True)


def drawn(graph: Graph, styles: Mapping[str, Style]) -> Any:
    """The diagram as a matplotlib figure. The texts of a box have the name of the box as group id (`get_gid`)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # A figure and a canvas without pyplot have no global state, so any thread may draw.
    figure = Figure(dpi=DPI)
    return _Page(figure, FigureCanvasAgg(figure), graph, styles).draw()


class _Page:
    """A figure while it is drawn."""

    def __init__(self, figure: Any, canvas: Any, graph: Graph, styles: Mapping[str, Style]) -> None:
        self.figure, self.renderer, self.graph, self.styles = figure, canvas.get_renderer(), graph, styles
        self.layout = layout.lay_out(graph, self.measure)

    def measure(self, text: str, points: float, bold: bool) -> float:
        """The width of a text, in points."""
        from matplotlib.font_manager import FontProperties

        font = FontProperties(size=points, weight="bold" if bold else "normal")
        width, _, _ = self.renderer.get_text_width_height_descent(text, font, ismath=False)
        # 2 % more, because letters are rounded to pixels here, but not in a PDF.
        return 1.02 * width * _POINTS_PER_INCH / DPI

    def draw(self) -> Any:
        """Draws everything; returns the figure."""
        width = max(self.layout.width, _LEAST)
        beside = TEXT * LINE + _GAP + 6 if self.graph.side else 0.0
        title = self._wrapped(self.graph.title, width + beside, HEAD, True)
        notes = [line for note in self.graph.notes for line in self._wrapped(note, width + beside, TEXT, False)]
        legend = self._legend_rows(width + beside)
        x, y = _MARGIN + (width - self.layout.width) / 2, _MARGIN + len(title) * HEAD * LINE + _GAP
        below = y + self.layout.height + _GAP
        high = below + (len(notes) + len(legend)) * TEXT * LINE * 1.15 + (8 if notes and legend else 0) + _MARGIN
        wide = width + beside + 2 * _MARGIN
        self.figure.set_size_inches(wide / _POINTS_PER_INCH, high / _POINTS_PER_INCH)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, wide), ylim=(high, 0))
        self.axes.axis("off")
        for i, line in enumerate(title):
            self._text(_MARGIN, _MARGIN + i * HEAD * LINE, line, HEAD, bold=True)
        self._groups(x, y)
        self._arrows(x, y)
        for node in self.graph.nodes:
            self._node(node, _moved(self.layout.rects[node.name], x, y))
        if self.graph.side:
            self._side(_MARGIN + width + _GAP, y)
        for i, line in enumerate(notes):
            self._text(_MARGIN, below + i * TEXT * LINE * 1.15, line, TEXT, colour=_GREY)
        self._legend(legend, below + len(notes) * TEXT * LINE * 1.15 + (8 if notes else 0))
        return self.figure

    def _text(self, x: float, y: float, text: str, points: float, **options: Any) -> None:
        """Draws a line of text with its upper left corner, or with right=True its upper right corner, at (x, y)."""
        gid = options.get("name", "")
        self.axes.text(
            x,
            y + points * LINE / 2,
            text,
            fontsize=points,
            weight="bold" if options.get("bold") else "normal",
            color=options.get("colour", _INK),
            ha="right" if options.get("right") else "left",
            va="center",
            parse_math=False,
            gid=gid,
            zorder=5,
        )

    def _wrapped(self, text: str, width: float, points: float, bold: bool) -> list[str]:
        lines: list[str] = []
        for word in text.split():
            longer = f"{lines[-1]} {word}" if lines else word
            if lines and self.measure(longer, points, bold) <= width:
                lines[-1] = longer
            else:
                lines.append(word)
        return lines

    def _groups(self, x: float, y: float) -> None:
        for group in self.graph.groups:
            rect = _moved(self.layout.rects[group.name], x, y)
            self._box(rect, "#f7f7f7", _FRAME, 0.8, 0)
            self._text(rect.right - FRAME, rect.y + 4, group.title, TITLE, bold=True, right=True, name=group.name)

    def _arrows(self, x: float, y: float) -> None:
        from matplotlib.patches import FancyArrowPatch
        from matplotlib.path import Path as Corners

        for arrow, path in zip(self.graph.arrows, self.layout.paths, strict=True):
            style = self.styles.get(arrow.kind, _PLAIN)
            drawn = FancyArrowPatch(
                path=Corners([(x + u, y + v) for u, v in path]),
                arrowstyle="<|-|>" if arrow.both else "-|>",
                mutation_scale=8,
                color=style.colour,
                lw=1.3,
                ls=(0, (4, 2)) if style.dashed else "-",
                joinstyle="miter",
                capstyle="butt",
                zorder=2,
            )
            self.axes.add_patch(drawn)

    def _node(self, node: Node, rect: Rect) -> None:
        style = self.styles.get(node.kind, _PLAIN)
        self._box(rect, style.tint, style.colour, 1.1, 3)
        lines = layout.texts(node)
        at = rect.y + (rect.height - sum(points * LINE for _, points, _ in lines)) / 2
        for text, points, bold in lines:
            self._text(rect.x + PAD, at, text, points, bold=bold, name=node.name)
            at += points * LINE
        if layout.is_compact(node) and node.parameters is not None:
            top = rect.y + (rect.height - TEXT * LINE) / 2
            self._text(rect.right - PAD, top, layout.counted(node), TEXT, right=True, colour=_GREY, name=node.name)
        for i, mask in enumerate(reversed(node.masks)):
            left = rect.right - (i + 1) * (MASK + PAD)
            self._mask(mask, left, rect.y + (rect.height - MASK) / 2, style.colour)

    def _box(self, rect: Rect, inside: Any, edge: str, line: float, above: int) -> None:
        from matplotlib.patches import FancyBboxPatch

        shape = "round,pad=0,rounding_size=3"
        place = rect.x, rect.y
        look: Any = dict(facecolor=inside, edgecolor=edge, lw=line)
        self.axes.add_patch(FancyBboxPatch(place, rect.width, rect.height, boxstyle=shape, zorder=above, **look))

    def _mask(self, mask: Mask, x: float, y: float, colour: str) -> None:
        from matplotlib.patches import Rectangle

        high, wide = MASK / len(mask), MASK / len(mask[0])
        for i, row in enumerate(mask):
            for j, hidden in enumerate(row):
                look: Any = dict(facecolor=colour if hidden else "white", edgecolor=colour, lw=0.3, zorder=4)
                self.axes.add_patch(Rectangle((x + j * wide, y + i * high), wide, high, **look))

    def _side(self, x: float, y: float) -> None:
        """Draws the tall arrow at the right, and its text."""
        from matplotlib.patches import FancyArrowPatch

        look: Any = dict(arrowstyle="-|>", mutation_scale=12, color=_GREY, lw=1.6)
        self.axes.add_patch(FancyArrowPatch((x, y + self.layout.height), (x, y), shrinkA=0, shrinkB=0, **look))
        self.axes.text(
            x + 6 + TEXT * LINE / 2,
            y + self.layout.height / 2,
            self.graph.side,
            fontsize=TEXT,
            color=_GREY,
            rotation=90,
            ha="center",
            va="center",
            parse_math=False,
        )

    def _legend_rows(self, width: float) -> list[list[tuple[float, Style, bool]]]:
        """The entries of the legend in rows: (x position, style, whether it is a box)."""
        kinds = [(kind, True) for kind in dict.fromkeys(node.kind for node in self.graph.nodes)]
        kinds += [(kind, False) for kind in dict.fromkeys(arrow.kind for arrow in self.graph.arrows)]
        made: list[list[tuple[float, Style, bool]]] = []
        at, labels = width, set()
        for kind, is_box in kinds:
            style = self.styles.get(kind, _PLAIN)
            if not style.label or style.label in labels:
                continue
            labels.add(style.label)
            wide = _SWATCH + 5 + self.measure(style.label, TEXT, False)
            if not made or at + wide > width:
                made.append([])
                at = 0.0
            made[-1].append((at, style, is_box))
            at += wide + _APART
        return made

    def _legend(self, rows: list[list[tuple[float, Style, bool]]], y: float) -> None:
        for i, row in enumerate(rows):
            top = y + i * TEXT * LINE * 1.15
            middle = top + TEXT * LINE / 2
            for at, style, is_box in row:
                x = _MARGIN + at
                if is_box:
                    self._box(Rect(x + 4, middle - 4, _SWATCH - 8, 8), style.tint, style.colour, 1.1, 3)
                else:
                    look = "--" if style.dashed else "-"
                    self.axes.plot([x, x + _SWATCH], [middle, middle], color=style.colour, lw=1.3, ls=look)
                self._text(x + _SWATCH + 5, top, style.label, TEXT)


def _moved(rect: Rect, x: float, y: float) -> Rect:
    return Rect(rect.x + x, rect.y + y, rect.width, rect.height)
