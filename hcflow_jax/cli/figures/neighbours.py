"""Shows samples with their nearest training images (Figure 9): does a model repeat its training images?

    hcflow figure neighbours --count 8 --seed 3 --sigma 0.7
    hcflow figure neighbours --checkpoint runs/mine --extractor efficientnet-lite0

Images are compared by pixels and, with --extractor, by features. The search reads the whole training set once. The
table compares the distances of samples with those of held-out images.
"""

import argparse

from hcflow_jax import pictures
from hcflow_jax.cli import arguments
from hcflow_jax.cli.features import add_extractor
from hcflow_jax.cli.figures import parts
from hcflow_jax.cli.progress import Stages


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the figure."""
    arguments.add_model(parser)
    parser.add_argument(
        "--count", type=arguments.count, default=8, help="number of samples on the picture; default %(default)s"
    )
    compared = "samples, and held-out images, that the table compares; default %(default)s"
    parser.add_argument("--compared", type=arguments.count, default=200, help=compared)
    parser.add_argument(
        "--neighbours", type=arguments.count, default=5, help="neighbours of each sample; default %(default)s"
    )
    parser.add_argument("--seed", type=arguments.seed, default=0, help="seed of the samples; default %(default)s")
    arguments.add_sigma(parser)
    add_extractor(parser)
    parts.add_out(parser, "neighbours", csv=True)


def run(values: argparse.Namespace) -> int:
    """Makes the figure; returns the exit status."""
    out = parts.check_out(values)
    from hcflow_jax.analysis import neighbours
    from hcflow_jax.cli import use
    from hcflow_jax.evaluation import extractors

    model = use.load(values)
    if isinstance(values.sigma, dict):
        arguments.check_levels("--sigma", values.sigma, model.level_names)
    extractor = extractors.load(values.extractor, values.weights) if values.extractor or values.weights else None
    with Stages() as stages:
        found = neighbours.neighbours(
            model,
            max(values.count, values.compared),
            k=values.neighbours,
            seed=values.seed,
            sigma=values.sigma,
            extractor=extractor,
            batch_size=values.batch_size,
            tell=stages.tell,
        )
    pictures.save(out, found.sheet(values.count))
    print(found.found)
    parts.save_csv(values, found.rows())
    print(f"{out}: {values.count} samples, {values.neighbours} neighbours of each")
    return 0
