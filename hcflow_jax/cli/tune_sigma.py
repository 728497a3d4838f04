"""Finds the temperature of each level at which samples are nearest to real images, and stores it with the model.

    hcflow tune-sigma --checkpoint runs/mine
    hcflow tune-sigma --checkpoint model.safetensors --extractor toon-head --plot temperatures.png

Distances are measured to the training images (--split train), so that numbers on held-out images stay honest. A run's
workdir gets sampling.json; a weights file gets the temperatures in its metadata. `hcflow sample` and
`api.Model.sample` take them as their default. A search that was stopped goes on when it is repeated.
"""

import argparse
import sys
from pathlib import Path

from hcflow_jax.cli import arguments, features
from hcflow_jax.commands import UsageError, as_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the subcommand takes."""
    arguments.add_model(parser)
    data = "real images: a folder, a prepared set, or an .npz with arr_0; default: the data of the model's config"
    parser.add_argument("--data", metavar="FOLDER|SET|FILE.npz", type=as_path, help=data)
    split = "train, eval or all; default: train, or all of --data"
    parser.add_argument("--split", choices=("train", "eval", "all"), help=split)
    samples = "samples at each evaluation, and real images at most; default %(default)s"
    parser.add_argument("--samples", metavar="N", type=arguments.count, default=2000, help=samples)
    evaluations = "of the distance, at most; default %(default)s"
    parser.add_argument("--evaluations", metavar="N", type=arguments.count, default=25, help=evaluations)
    parser.add_argument("--seed", type=arguments.seed, default=0, help="of the latents; default %(default)s")
    denoise = "denoise the samples: one step against the noise of training; default: the config's eval.denoise"
    parser.add_argument("--denoise", action=argparse.BooleanOptionalAction, default=None, help=denoise)
    plot = "draws the distance over the evaluations; default: sampling.png beside what stores the temperatures"
    parser.add_argument("--plot", metavar="FILE.png", type=as_path, help=plot)
    features.add_extractor(parser)


def run(values: argparse.Namespace) -> int:
    """Does it; returns the exit status."""
    plot = arguments.check_out("--plot", values.plot, (".png",)) if values.plot else None
    from hcflow_jax import box
    from hcflow_jax.api import sampling_file
    from hcflow_jax.api.arguments import known_denoise
    from hcflow_jax.cli import use
    from hcflow_jax.cli.progress import Stages
    from hcflow_jax.evaluation import extractors, measured_set, protocols, real_features, tuning

    where = box.find(values.checkpoint or box.NAMES[0])
    if where in {box.weights(name) for name in box.NAMES}:
        raise UsageError(
            f"--checkpoint {values.checkpoint or box.NAMES[0]}: a bundled model is not changed; copy {where} and "
            "name the copy"
        )
    model = use.load(values)
    denoise = known_denoise(model.config, model.config.eval.denoise if values.denoise is None else values.denoise)
    reals = measured_set.open_data(model.config, values.data, values.split or (None if values.data else "train"))
    chosen = protocols.Protocol("tuning", min(values.samples, len(reals)), reals="random")
    extractor = extractors.load(values.extractor, values.weights)
    beside = (where if where.is_file() else sampling_file.path_of(where)).with_suffix("")
    with Stages() as stages:
        real = real_features.real_side(
            reals,
            chosen,
            model.config,
            extractor,
            values.seed,
            values.batch_size,
            lambda *n: stages.tell("features of reals", *n),
        )
        given = {"samples": values.samples, "seed": values.seed, "model": model.fingerprint, "real": real.about}
        given |= {"denoised": denoise}
        kept = tuning.Kept(beside.with_name(f"{beside.name}.tuning.json"), {**given, "images": reals.identity})
        found = tuning.tune(
            model,
            real,
            extractor,
            kept,
            samples=values.samples,
            seed=values.seed,
            evaluations=values.evaluations,
            denoise=denoise,
            tell=stages.tell,
        )
    for sigma, distance in found.tried:
        print(f"  {_text(sigma)}  {extractor.metric} {distance:.4f}")
    about = {"metric": extractor.metric, "distance": found.distance, "before": found.start_distance, **given}
    stored = sampling_file.write(where, found.sigma, about)
    before = f"at {_text(found.start)}: {found.start_distance:.4f}"
    print(f"best: {_text(found.sigma)}  {extractor.metric} {found.distance:.4f} ({before})")
    print(f"stored in {stored}; it is the default of sampling from this model")
    _plot(plot or beside.with_name(f"{beside.name}.png"), found.tried, extractor.metric)
    return 0


def _text(sigma: dict[str, float]) -> str:
    return ",".join(f"{name}={value:g}" for name, value in sigma.items())


def _plot(path: Path, tried: tuple[tuple[dict[str, float], float], ...], metric: str) -> None:
    """Each level's temperatures, and the distance there."""
    from hcflow_jax import pictures
    from hcflow_jax.errors import MissingExtraError

    distances = [distance for _, distance in tried]
    series = {f"level {name}": ([sigma[name] for sigma, _ in tried], distances) for name in tried[0][0]}
    try:
        pictures.curve(
            path, series, "Temperatures that were tried", "std of the latents", metric, points=tuple(series)
        )
        print(f"picture: {path}")
    except MissingExtraError as error:
        print(f"note: no picture: {error}", file=sys.stderr)
