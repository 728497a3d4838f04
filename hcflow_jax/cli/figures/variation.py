"""Shows which pixels each level controls (Figure 5): each level is resampled 32 times at sigma 1.

    hcflow figure variation --out variation.png --csv variation.csv
    hcflow figure variation a.jpg b.jpg --checkpoint runs/ours runs/glow --names ours Glow
    hcflow figure variation --video resamplings.mp4

The other levels stay the same. A map shows the standard deviation of each pixel over the resamplings, in 8-bit
values. All maps have the same colour scale.
"""

import argparse

from hcflow_jax import pictures
from hcflow_jax.cli import arguments
from hcflow_jax.cli.figures import parts
from hcflow_jax.cli.progress import Stages
from hcflow_jax.commands import as_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the figure."""
    parts.add_images(parser, 6)
    parts.add_models(parser)
    times = "resamplings of a level; default %(default)s"
    parser.add_argument("--resamplings", type=arguments.whole(2, "a count"), default=32, help=times)
    parser.add_argument("--seed", type=arguments.seed, default=0, help="seed of the resamplings; default %(default)s")
    top = "std with the last colour, in 8-bit levels; default: the largest of all maps"
    parser.add_argument("--top", type=arguments.positive, help=top)
    parts.add_out(parser, "variation", csv=True)
    video = "also writes the resamplings as a video: every level of every image at once (of the first model)"
    parser.add_argument("--video", metavar="FILE.mp4|FILE.gif", type=as_path, help=video)
    parts.add_fps(parser, 8)


def run(values: argparse.Namespace) -> int:
    """Makes the figure; returns the exit status."""
    out = parts.check_out(values)
    pictures.check_colours()
    video = parts.check_video("--video", values.video) if values.video else None
    import numpy as np

    from hcflow_jax.analysis import variation

    models, found = parts.models(values), {}
    with Stages() as stages:
        for name, model in models.items():
            latents = model.encode(parts.images(values, model))
            found[name] = variation.variation(model, latents, values.resamplings, values.seed, stages.tell)
        pictures.save(out, variation.sheet(found, values.top))
        if video:
            model = next(iter(models.values()))
            latents = model.encode(parts.images(values, model))
            drawn = variation.resamplings(model, latents, values.resamplings, values.seed, stages.tell)
            parts.save_video(video, np.stack(list(variation.frames(model.decode(latents), drawn))), values.fps)
    for name, each in found.items():
        print(f"{name}: {each.table()[0]}", *each.table()[1:], sep="\n")
    parts.save_csv(values, [{"model": name, **row} for name, each in found.items() for row in each.rows()])
    print(f"{out}: {len(next(iter(found.values())).images)} images")
    if video:
        print(f"{video}: {values.resamplings} frames")
    return 0
