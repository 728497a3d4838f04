"""The table of `hcflow plan` and its notes, as lines of text."""

import textwrap
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from hcflow_jax.planning.costs import Cost
from hcflow_jax.planning.targets import CHIPS, Target

Missing = tuple[Target, int, str]  # a target, a batch per device, and why there is no result
Row = Cost | Missing


def lines(config: ConfigDict, rows: Sequence[Row]) -> list[str]:
    """The tables and the notes below them.

    Args:
      config: the config of the run.
      rows: at least one `Cost`.
    """
    costs = [row for row in rows if isinstance(row, Cost)]
    told = _grid(_HEAD + (["price"] if _priced(costs) else []), [_cells(row, _priced(costs)) for row in rows])
    told += ["", "memory of a device, GB"]
    told += _grid(_MEMORY, [_memory(cost) for cost in costs])
    notes = _notes(config, costs, [row for row in rows if not isinstance(row, Cost)])
    return [*told, "", *(line for note in notes for line in _wrapped(note))]


_HEAD = ["target", "devices", "per device", "batch", "fits", "ms/image", "step ms", "sending", "images/s", "hours"]
_HEAD += ["device-hours"]
_MEMORY = ["target", "per device", "state", "images", "activations", "free", "of"]
_WIDTH = 110  # characters of a line of the notes


def _priced(costs: Sequence[Cost]) -> bool:
    return any(cost.price is not None for cost in costs)


def _cells(row: Row, priced: bool) -> list[str]:
    if not isinstance(row, Cost):
        target, batch, _ = row
        sizes = [f"{number:,}" for number in (target.size, batch, batch * target.size)]
        return [target.name, *sizes, "no result"] + ["-"] * (6 + priced)
    share = f"{1e3 * row.sending:.1f} ms, {100 * row.sending / row.step:.0f} %" if row.target.size > 1 else "none"
    cells = [
        row.target.name,
        f"{row.target.size:,}",
        f"{row.result.batch_per_device:,}",
        f"{row.batch:,}",
        "yes" if row.fits else "NO",
        f"{row.result.ms_per_image:.3f}",
        f"{1e3 * row.step:.1f}",
        share,
        _round(row.images_per_second),
        _round(row.hours),
        _round(row.device_hours),
    ]
    price = row.total_price
    return cells + (["-" if price is None else f"{price:,.2f}"] if priced else [])


def _memory(cost: Cost) -> list[str]:
    parts = [cost.memory[kind] for kind in ("state", "images", "activations")]
    numbers = [*parts, cost.usable - cost.total, CHIPS[cost.target.chip].memory]
    return [cost.target.name, f"{cost.result.batch_per_device:,}", *(f"{number / 1e9:.2f}" for number in numbers)]


def _round(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:,.1f}" if number >= 1 else f"{number:.2g}"


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]).rstrip()

    return [line(head), *map(line, rows)]


def _wrapped(note: str) -> list[str]:
    how: Any = {"initial_indent": "- ", "subsequent_indent": "  ", "break_on_hyphens": False}
    return textwrap.wrap(note, _WIDTH, break_long_words=False, **how)


def _notes(config: ConfigDict, costs: Sequence[Cost], missing: Sequence[Missing]) -> list[str]:
    images = costs[0].images
    same = " (the length of the config's run)" if images == config.train.num_steps * config.train.batch_size else ""
    told = [
        f"The hours are for {images:,} images{same}. per device, batch: images of a step, of one device and of all.",
        "The times are computed, not measured. Real runs take longer (docs/plan.md).",
    ]
    if any(cost.result.model_of_time == "roofline" for cost in costs):
        told.append(
            "GPU: ms/image is the kernel roofline of the compiled step, a lower bound: the least time in which the "
            "GPU can move the bytes and do the products of every kernel."
        )
    if any(cost.result.model_of_time == "cycles" for cost in costs):
        told.append(
            "TPU: ms/image is XLA's estimate of the cycles of the compiled step, at the clock of the chip. It is no "
            "bound."
        )
    if any(cost.target.size > 1 for cost in costs):
        told.append("A step is computing and then sending: nothing overlaps, and latency is not included.")
    for source in dict.fromkeys(CHIPS[cost.target.chip].source for cost in costs if cost.target.size > 1):
        told.append(f"Link rates: {source}.")
    told += [
        "Not included: reading images, checkpoints, evaluation, samples, compiling.",
        "state: parameters, EMA and optimizer. activations: all other arrays of a step, also gradients. free: "
        + _usable(costs),
    ]
    if config.train.freeze_epoch:
        told.append(
            f"The step is one before epoch {config.train.freeze_epoch}. From then on, a part of the model does not "
            "learn (train.freeze_epoch), and a step takes less time."
        )
    others = dict.fromkeys(f"{cost.batch:,}" for cost in costs if cost.batch != config.train.batch_size)
    if others:
        told.append(
            f"The config trains with a batch of {config.train.batch_size}. With {', '.join(others)}, its learning "
            "rates have to change: docs/scaling.md."
        )
    for cost in costs:
        if cost.result.target != cost.target.name:
            told.append(
                f"{cost.target.name}: compiled for {cost.result.target}; the program of a device is the same, only "
                "the groups of the all-reduces differ."
            )
    told += [
        f"{cost.target.name} with {cost.batch:,} images does not fit: take fewer images a device, "
        "train.accumulate or execution.backward=recompute."
        for cost in costs
        if not cost.fits
    ]
    told += [f"{target.name}, {batch} images a device: {why}" for target, batch, why in missing]
    for command in dict.fromkeys(
        f"compiled with jax {cost.result.jax} on {cost.result.date} by: {cost.result.command}" for cost in costs
    ):
        told.append(command)
    return told


def _usable(costs: Sequence[Cost]) -> str:
    shares = {f"{CHIPS[c.target.chip].usable:g}" for c in costs if c.target.is_gpu}
    if not shares:
        return "what is left of the memory."
    return (
        f"what is left of the share {', '.join(sorted(shares))} of a GPU's memory, which the launchers give to JAX "
        "(XLA_PYTHON_CLIENT_MEM_FRACTION; 0.75 without it)."
    )
