"""The words of a model card around its figures."""

from typing import Any

from ml_collections import ConfigDict

ART = {
    "toon-head": 'a remix of "ToonHead" by Johan Melin (https://www.johanmelin.com), licensed CC BY 4.0 '
    "(https://creativecommons.org/licenses/by/4.0/), drawn by dicebear-styles 10.6.0; samples are to be attributed "
    "likewise",
    "landscape": '"Landscape" by DiceBear (https://www.dicebear.com), CC0 1.0, drawn by dicebear-styles 10.6.0',
}


def write(results: dict[str, Any], config: ConfigDict, notes: str) -> str:
    """The card, Markdown.

    Args:
      results: what `box.measure` and `box.draw` gave.
      config: the model's.
      notes: what a person saw in the samples.
    """
    about, name, size = results["metadata"], results["name"], config.data.resolution
    held_out, training = results["held_out"], results["training"]
    levels = [level for level in held_out if level not in ("total", "standard_error")]
    lines = [
        f"# {name}",
        "",
        f"A model of {size} x {size} illustrated pictures, `configs/{name}.py`: {results['parameters']:,} "
        f"parameters, the exponential moving average alone, stored as float16 in {results['bytes'] / 1e6:.1f} MB.",
        "",
        f"- **Data**: {config.data.train_images:,} pictures of the style `{config.data.style}`, seeds `train-0` to "
        f"`train-{config.data.train_images - 1}`; held out: `eval-0` to `eval-{config.data.eval_images - 1}`.",
        f"- **Art**: {ART[config.data.style]}.",
        f"- **Made** on 2 cores ({about['device']}), jax {about['versions']['jax']}, seed {config.seed}, by",
        *(
            f"  - `{run['command']}`: {run['steps']:,} steps of {config.train.batch_size}, "
            f"{run['images']:,} pictures seen, {run['hours']:.2f} hours"
            for run in about["runs"]
        ),
        f"- **Figures and pictures by** `python -m benchmarks.box --name={name}`, on a CPU in float32.",
        "",
        f"Bound, bits/dim, means over {results['pictures']:,} pictures (the noise on them alone costs 2.439):",
        "",
        f"| | all | {' | '.join(f'level {level}' for level in levels)} |",
        f"|---|---{'|---' * len(levels)}|",
        *(
            f"| {label} | {row['total']:.3f} +- {row['standard_error']:.3f} | "
            f"{' | '.join(f'{row[level]:.3f}' for level in levels)} |"
            for label, row in (("held out", held_out), ("training pictures", training))
        ),
        "",
    ]
    if "held_out_float32" in results:
        lines += [f"Before it was stored as float16: {results['held_out_float32']['total']:.3f} held out.", ""]
    near = results["nearest"]
    lines += [
        "## What it makes",
        "",
        notes,
        "",
        f"Median distance to the nearest training picture (or its mirror image), root mean square over 8-bit values: "
        f"{near['samples']:.1f} for 16 samples, {near['held_out']:.1f} for 16 held-out pictures.",
        "",
        f"Pictures: `docs/pictures/{name}_samples.png` ({_sigma(results['sigma'])}), `{name}_nearest.png`, "
        f"`{name}_zeroing.png`.",
        "",
        "## Round trips",
        "",
        "Encoded in float32, then decoded; errors of x, of which an 8-bit level is 1/256.",
        "",
        "| | worst error | median of the images' worst | same 8-bit values | same images |",
        "|---|---|---|---|---|",
        *(
            f"| {label} | {_number(row['worst_error'])} | {_number(row['median_error'])} | "
            f"{row['same_values']:.6f} | {row['same_images']:.3f} |"
            for label, row in results["round_trips"].items()
        ),
        "",
        "## What `hcflow evaluate` says",
        "",
        "`docs/evaluation.md` and `docs/distances.md` explain the numbers. The last digits differ between machines.",
        "",
    ]
    for command, text in results["evaluated"].items():
        lines += [f"    {command}", "", "```", text.rstrip(), "```", ""]
    return "\n".join(lines)


def _sigma(value: Any) -> str:
    return "sigma " + (" ".join(f"{k}={v:g}" for k, v in value.items()) if isinstance(value, dict) else f"{value:g}")


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.1e}"
