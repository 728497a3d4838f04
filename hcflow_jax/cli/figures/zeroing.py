"""Shows what each level adds (Figures 6 and 8): images are decoded with more and more levels at zero.

    hcflow figure zeroing a.jpg b.jpg --out zeroing.png
    hcflow figure zeroing --checkpoint runs/a runs/b runs/d --names A B D --csv zeroing.csv

The first row shows the images. In the second row the finest level is zero, and so on until all levels are zero.
"""

import argparse

from hcflow_jax import pictures
from hcflow_jax.cli.figures import parts
from hcflow_jax.cli.progress import Stages


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the figure."""
    parts.add_images(parser, 8)
    parts.add_models(parser)
    parts.add_out(parser, "zeroing", csv=True)


def run(values: argparse.Namespace) -> int:
    """Makes the figure; returns the exit status."""
    out = parts.check_out(values)
    from hcflow_jax.analysis import zeroing

    models = parts.models(values)
    images = parts.images(values, next(iter(models.values())))
    with Stages() as stages:
        found = zeroing.of_models(models, images, stages.tell)
    pictures.save(out, zeroing.sheet(images, found))
    rows = []
    for name, each in found.items():
        print(f"{name}: root mean square change, 8-bit levels, {len(images)} images")
        for label, change in zeroing.changes(images, each).items():
            print(f"  {label:<16}{change}")
            rows.append(
                {"model": name, "row": label, "rms_change": change.value, "standard_error": change.standard_error}
            )
    parts.save_csv(values, rows)
    print(f"{out}: {len(images)} images, {', '.join(models)}")
    return 0
