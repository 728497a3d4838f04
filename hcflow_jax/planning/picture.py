"""The picture of `hcflow plan`: memory, time of a step and hours of each target, as bars."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hcflow_jax import files
from hcflow_jax.errors import MissingExtraError
from hcflow_jax.pictures.curves import COLOURS, DPI
from hcflow_jax.planning.costs import Cost

_KINDS = {"state": "parameters, EMA, optimizer", "images": "images", "activations": "activations and temporaries"}


def draw(path: Path, costs: Sequence[Cost], title: str) -> None:
    """Draws three panels with one bar for each cost.

    Args:
      path: the PNG to write.
      costs: at least one.
      title: the title.

    Raises:
      MissingExtraError: matplotlib is not installed; the message names the extra.
      OSError: the file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(f"{path}: pictures need matplotlib: pip install 'hcflow_jax[pictures]'") from error
    figure = Figure(figsize=(14.0, 2.2 + 0.45 * len(costs)), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    memory, step, hours = figure.subplots(1, 3, sharey=True)
    names = [f"{cost.target.name}, {cost.result.batch_per_device} a device" for cost in costs]
    parts = {shown: [cost.memory[kind] / 1e9 for cost in costs] for kind, shown in _KINDS.items()}
    totals = [
        f"{cost.total / 1e9:.1f} of {cost.usable / 1e9:.0f}{'' if cost.fits else ': DOES NOT FIT'}" for cost in costs
    ]
    _bars(memory, parts, totals, COLOURS[:3], "memory of a device [GB]")
    times = {
        "computing": [1e3 * cost.computing for cost in costs],
        "sending": [1e3 * cost.sending for cost in costs],
    }
    rates = [f"{1e3 * cost.step:.0f} ms, {cost.images_per_second:,.0f} images/s" for cost in costs]
    _bars(step, times, rates, COLOURS[3:5], "a step, modelled [ms]")
    run = [f"{cost.hours:,.3g} h, {cost.device_hours:,.3g} device-hours" for cost in costs]
    _bars(hours, {"": [cost.hours for cost in costs]}, run, COLOURS[5:6], f"{costs[0].images:,} images, modelled [h]")
    memory.set_yticks(range(len(costs)), names)
    memory.set_ylim(len(costs) - 0.4, -0.6)  # the first cost is on top
    figure.suptitle(title.replace("$", r"\$"))
    files.write(path, lambda file: figure.savefig(file, format="png"))


def _bars(axes: Any, parts: dict[str, list[float]], said: Sequence[str], colours: Sequence[str], label: str) -> None:
    """Stacked bars from left to right, each with a text at its end."""
    ends = [0.0] * len(said)
    for (name, widths), colour in zip(parts.items(), colours, strict=True):
        axes.barh(range(len(said)), widths, 0.6, ends, color=colour, label=name)
        ends = [end + width for end, width in zip(ends, widths, strict=True)]
    for row, (end, text) in enumerate(zip(ends, said, strict=True)):
        axes.annotate(text, (end, row), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_xlim(0, 1.75 * max(ends))
    axes.set_xlabel(label)
    if len(parts) > 1:
        axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(parts))
    axes.grid(axis="x", color="#e6e6e6", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
