"""Curves: lines and points over one axis."""

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from hcflow_jax import paths
from hcflow_jax.errors import MissingExtraError
from hcflow_jax.files import write

_COLOURS = ("#4c8eda", "#e8853d", "#58a868", "#c65a76", "#8a6fc0", "#8c8c8c")


def curve(
    path: str | Path,
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
    title: str,
    x_label: str,
    y_label: str,
    points: Collection[str] = (),
) -> None:
    """Draws series over one axis, as a PNG of 960 x 600 pixels; values that are not finite leave gaps.

    Args:
      path: file to write.
      series: name -> (xs, ys), each of one length.
      title: above the axes.
      x_label: with its unit.
      y_label: with its unit.
      points: the series that are drawn as points; the others are lines.

    Raises:
      MissingExtraError: naming the extra, if matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(f"{path}: curves need matplotlib: pip install 'hcflow_jax[pictures]'") from error
    # Figure and canvas without pyplot: no global state, so any thread may draw.
    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(title=title, xlabel=x_label, ylabel=y_label)
    for i, (name, (xs, ys)) in enumerate(series.items()):
        xs, ys = np.asarray(xs, float), np.asarray(ys, float)
        line, size = ("", 7.0) if name in points else ("-", 3.5)
        marker = "o" if name in points or len(xs) <= 24 else ""
        colour = _COLOURS[i % len(_COLOURS)]
        axes.plot(
            xs, ys, label=name, color=colour, ls=line, lw=1.6, marker=marker, ms=size, zorder=2.5 if line else 3
        )
    axes.grid(color="#e6e6e6", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#9a9a9a")
    axes.tick_params(colors="#555555")
    if len(series) > 1:
        axes.legend(frameon=False)
    write(paths.local(path), lambda file: figure.savefig(file, format="png"))
