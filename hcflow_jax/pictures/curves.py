"""Draws curves: lines, bands and points, in one panel or several."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hcflow_jax import paths
from hcflow_jax.errors import MissingExtraError
from hcflow_jax.files import write

# The colours of Okabe and Ito: people with any kind of colour vision can tell them apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
DPI = 120  # dots per inch
SIZE = (8.0, 5.0)  # size of a panel, inches
_LEGEND = 90  # characters of a legend that fit above a panel
_GLYPHS = 0x250  # matplotlib's font has glyphs for the (Latin) characters below this code
_LINES = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"))  # line and marker; the next pair when no colour is left
_MARKED = 24  # a line with at most this many points has a marker on each point


@dataclasses.dataclass(frozen=True)
class Series:
    """A line or a set of points. Values that are not finite leave gaps.

    Attributes:
      name: the name in the legend. In all panels of a picture, series with the same name share a colour and an entry.
      xs: n numbers.
      ys: n numbers.
      low: n numbers: the lower edge of a band; None: no band. A line has a shaded band, and points have bars.
      high: n numbers: the upper edge of the band.
      points: True: points. False: a line.
      like: the name of another series whose colour is used; empty: the series has its own colour.
    """

    name: str
    xs: ArrayLike
    ys: ArrayLike
    low: ArrayLike | None = None
    high: ArrayLike | None = None
    points: bool = False
    like: str = ""


@dataclasses.dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
      series: the series. Later ones are drawn on top.
      x_label: the label of the x axis, with its unit.
      y_label: the label of the y axis, with its unit.
      title: the title above the axes.
      top: the upper limit of the y axis, used if a value is larger; None: the axis shows all values.
    """

    series: Sequence[Series]
    x_label: str
    y_label: str
    title: str = ""
    top: float | None = None


def curve(
    path: str | Path,
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
    title: str,
    x_label: str,
    y_label: str,
    points: Collection[str] = (),
) -> None:
    """Draws series in one panel of 960 x 600 pixels. Values that are not finite leave gaps.

    Args:
      path: the file to write: a PDF if it ends in .pdf, else a PNG.
      series: name -> (xs, ys), of the same length.
      title: the title above the axes.
      x_label: the label of the x axis, with its unit.
      y_label: the label of the y axis, with its unit.
      points: the names of the series that are drawn as points. The others are lines.

    Raises:
      MissingExtraError: matplotlib is not installed; the message names the extra.
      OSError: the file cannot be written.
    """
    drawn = [Series(name, xs, ys, points=name in points) for name, (xs, ys) in series.items()]
    panels(path, [[Panel(drawn, x_label, y_label, title)]])


def panels(path: str | Path, rows: Sequence[Sequence[Panel]], title: str = "") -> None:
    """Draws panels in rows, 960 x 600 pixels each. Two or more panels share one legend above them.

    Args:
      path: the file to write: a PDF if it ends in .pdf, else a PNG.
      rows: rows of panels, from top to bottom; all of the same length.
      title: the title above all panels.

    Raises:
      MissingExtraError: matplotlib is not installed; the message names the extra.
      OSError: the file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(f"{path}: curves need matplotlib: pip install 'hcflow_jax[pictures]'") from error
    # A figure and a canvas without pyplot have no global state, so any thread may draw.
    size = (SIZE[0] * len(rows[0]), SIZE[1] * len(rows))
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    flat = [panel for row in rows for panel in row]
    names = dict.fromkeys(series.like or series.name for panel in flat for series in panel.series)
    looks = {
        name: (COLOURS[i % len(COLOURS)], *_LINES[i // len(COLOURS) % len(_LINES)]) for i, name in enumerate(names)
    }
    shown: dict[str, Any] = {}
    all_axes = figure.subplots(len(rows), len(rows[0]), squeeze=False).flat
    for axes, panel in zip(all_axes, flat, strict=True):
        _draw(axes, panel, looks)
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            shown.setdefault(label, handle)
    if title:
        figure.suptitle(title)
    if len(flat) > 1:
        fit = int(_LEGEND * len(rows[0]) / (max(map(len, shown), default=0) + 8))
        where = {"loc": "outside upper center", "ncols": max(1, min(fit, len(shown)))}
        figure.legend(shown.values(), shown.keys(), frameon=False, **where)
    elif len(shown) > 1:
        all_axes[0].legend(shown.values(), shown.keys(), frameon=False)
    if Path(path).suffix.lower() == ".pdf":
        how: dict[str, Any] = {"format": "pdf", "metadata": {"CreationDate": None}}
    else:
        how = {"format": "png"}
    write(paths.local(path), lambda file: figure.savefig(file, **how))


def _label(name: str) -> str:
    """Makes a name safe for matplotlib: no formulas, no characters without a glyph, no hidden legend entries."""
    shown = "".join(c if c.isprintable() and ord(c) < _GLYPHS else ascii(c)[1:-1] for c in name)
    return f"{' ' * shown.startswith('_')}{shown}".replace("$", r"\$")


def _draw(axes: Any, panel: Panel, looks: Mapping[str, tuple[str, str, str]]) -> None:
    axes.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)
    for series in panel.series:
        xs, ys = np.asarray(series.xs, float), np.asarray(series.ys, float)
        colour, line, dot = looks[series.like or series.name]
        if series.low is not None and series.high is not None:
            band = axes.vlines if series.points else axes.fill_between
            band(xs, series.low, series.high, color=colour, alpha=0.25, lw=5 if series.points else 0)
        line, size = ("", 7.0) if series.points else (line, 3.5)
        marker = dot if series.points or len(xs) <= _MARKED else ""
        if series.points and series.low is not None:
            marker, size = "_", 12.0  # a flat marker does not hide the bar
        order = 2.5 if line else 3
        label = _label(series.name)
        axes.plot(xs, ys, label=label, color=colour, ls=line, lw=1.6, marker=marker, ms=size, zorder=order)
    drawn = np.concatenate([np.ravel(np.asarray(series.ys, float)) for series in panel.series])
    if panel.top is not None and np.max(drawn, initial=-np.inf, where=np.isfinite(drawn)) > panel.top:
        bottom = np.min(drawn, where=np.isfinite(drawn), initial=panel.top)
        axes.set_ylim(bottom - 0.05 * (panel.top - bottom), panel.top)
    axes.grid(color="#e6e6e6", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#9a9a9a")
    axes.tick_params(colors="#555555")
