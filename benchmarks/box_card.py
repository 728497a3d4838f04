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
      results: what `box.measure` gave.
      config: the model's.
      notes: what a person saw in the samples.
    """
    about, name, size = results["metadata"], results["name"], config.data.resolution
    held_out, training = results["held_out"], results["training"]
    levels = [level for level in held_out if level not in ("total", "standard_error")]
    lines = [
        f"# {name}",
        "",
        f"This model draws illustrated pictures of {size} x {size} pixels. Its config is `configs/{name}.py`. It has "
        f"{results['parameters']:,} parameters. The file ({results['bytes'] / 1e6:.1f} MB) has only their "
        "exponential moving average, as float16.",
        "",
        f"- **Data**: {config.data.train_images:,} pictures of the style `{config.data.style}`, seeds `train-0` to "
        f"`train-{config.data.train_images - 1}`; held out: `eval-0` to `eval-{config.data.eval_images - 1}`.",
        f"- **Art**: {ART[config.data.style]}.",
        f"- **Made** with jax {about['versions']['jax']} on {about['device']}, seed {config.seed}, by",
        *(
            f"  - `{run['command']}`: {run['steps']:,} steps of {config.train.batch_size}, "
            f"{run['images']:,} pictures seen, {run['hours']:.2f} hours"
            for run in about["runs"]
        ),
        f"- **Figures and pictures by** `python -m benchmarks.box --name={name}`, on a CPU in float32.",
        "",
        f"Bits/dim, an upper bound, means over {results['pictures']:,} pictures. The total is the sum of the levels "
        "plus 8, the bits of a value. The noise of training alone costs 2.439 of it.",
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
    lines += [
        "## What it makes",
        "",
        notes,
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
