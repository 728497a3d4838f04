"""Makes sheets of samples, of one model or of several models with the same seeds (Figures 1, 4, 10 and 11).

    hcflow figure samples --count 16                                  # the first 16 of a seed, without selection
    hcflow figure samples --seeds 3,8,11 --sigma 8=0.7,32=0.5         # chosen seeds, sigma by level
    hcflow figure samples --checkpoint runs/ours runs/glow --names ours Glow --sigma 0.7 0.8

To make image i of the sheet again, use its number: `hcflow sample --seed SEED --first i --count 1`.
"""

import argparse

from hcflow_jax import pictures
from hcflow_jax.cli import arguments
from hcflow_jax.cli.figures import parts
from hcflow_jax.cli.progress import Stages
from hcflow_jax.commands import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the figure."""
    parts.add_models(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--count", type=arguments.count, default=16, help="images sampled from --seed; default %(default)s"
    )
    which.add_argument("--seeds", type=arguments.seeds, help="one image for each of these seeds, as 3,8,11")
    parser.add_argument("--seed", type=arguments.seed, default=0, help="seed of these images; default %(default)s")
    sigma = (
        "std of the latents above 1x1, or by level as 8=0.7,32=0.5 (others 1): one for all models, or one for each; "
        "default: the tuned sigma of the model, else sample.sigma of its config"
    )
    parser.add_argument("--sigma", type=arguments.sigma, nargs="+", help=sigma)
    denoise = "one step against the noise of training (data.noise_std), before rounding"
    parser.add_argument("--denoise", action="store_true", help=denoise)
    parser.add_argument("--columns", type=arguments.count, default=8, help="images in a row; default %(default)s")
    parts.add_out(parser, "samples")


def run(values: argparse.Namespace) -> int:
    """Makes the figure; returns the exit status."""
    out = parts.check_out(values)
    from hcflow_jax.analysis import samples

    models = parts.models(values)
    sigmas = values.sigma or [None]
    if len(sigmas) not in (1, len(models)):
        raise UsageError(f"--sigma: {len(sigmas)} values for {len(models)} models; give one, or one for each")
    by_model = dict(zip(models, sigmas * len(models) if len(sigmas) == 1 else sigmas, strict=False))
    for name, sigma in by_model.items():
        if isinstance(sigma, dict):
            arguments.check_levels("--sigma", sigma, models[name].level_names)
    given = {name: sigma for name, sigma in by_model.items() if sigma is not None}
    seeds = {"seeds": values.seeds} if values.seeds else {"count": values.count, "seed": values.seed}
    with Stages() as stages:
        found = samples.draw(models, **seeds, sigmas=given, denoise=values.denoise, tell=stages.tell)
    pictures.save(out, samples.sheet(found, values.columns))
    print(f"{out}: {len(found.labels)} images of {', '.join(models)}")
    return 0
