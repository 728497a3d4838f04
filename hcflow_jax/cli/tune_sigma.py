"""Finds the temperature of each level that brings samples closest to real images, and stores it with the model.

    hcflow tune-sigma --checkpoint runs/mine
    hcflow tune-sigma --checkpoint model.safetensors --extractor toon-head --plot temperatures.png

The samples are compared with training images (--split train), so that later numbers on held-out images stay fair. The
temperatures are stored in sampling.json in a workdir, or in the metadata of a weights file. `hcflow sample` and
`api.Model.sample` use them by default. To continue a search that was stopped, repeat the command.
"""

import argparse
import sys
from pathlib import Path

from hcflow_jax.cli import arguments, features
from hcflow_jax.commands import UsageError, as_path
from hcflow_jax.paths import is_remote


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    arguments.add_model(parser)
    data = "real images: a folder, a prepared set, or an .npz with arr_0; default: the data of the model's config"
    parser.add_argument("--data", metavar="FOLDER|SET|FILE.npz", type=as_path, help=data)
    split = "train, eval or all; default: train, or all of --data"
    parser.add_argument("--split", choices=("train", "eval", "all"), help=split)
    samples = "number of samples in each evaluation, and of real images at most; default %(default)s"
    parser.add_argument("--samples", metavar="N", type=arguments.count, default=2000, help=samples)
    evaluations = "compute the distance at most N times; default %(default)s"
    parser.add_argument("--evaluations", metavar="N", type=arguments.count, default=25, help=evaluations)
    parser.add_argument("--seed", type=arguments.seed, default=0, help="seed of the latents; default %(default)s")
    denoise = "remove some of the training noise from samples; default: the config's eval.denoise"
    parser.add_argument("--denoise", action=argparse.BooleanOptionalAction, default=None, help=denoise)
    plot = (
        "picture of the distances; default: sampling.png in a workdir, or NAME.sampling.png beside NAME.safetensors"
    )
    parser.add_argument("--plot", metavar="FILE.png", type=as_path, help=plot)
    features.add_extractor(parser)


def run(values: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit status."""
    plot = arguments.check_out("--plot", values.plot, (".png",)) if values.plot else None
    from hcflow_jax import box
    from hcflow_jax.api import sampling_file
    from hcflow_jax.api.arguments import known_denoise
    from hcflow_jax.cli import use
    from hcflow_jax.cli.progress import Stages
    from hcflow_jax.data import identity
    from hcflow_jax.evaluation import extractors, measured_set, protocols, real_features, tuning

    where = box.find(values.checkpoint or box.NAMES[0])
    if where in {box.weights(name) for name in box.NAMES}:
        raise UsageError(
            f"--checkpoint {values.checkpoint or box.NAMES[0]}: a bundled model cannot be changed; copy {where} and "
            "give the copy"
        )
    if is_remote(where) and where.suffix == ".safetensors":
        raise UsageError(
            f"--checkpoint {where}: a weights file in a bucket cannot be changed; copy it and give the copy"
        )
    model = use.load(values)
    _check_counts(values, tuning.least_evaluations(model))
    denoise = known_denoise(model.config, model.config.eval.denoise if values.denoise is None else values.denoise)
    reals = measured_set.open_data(model.config, values.data, values.split or (None if values.data else "train"))
    chosen = protocols.Protocol("tuning", min(values.samples, len(reals)), reals="random")
    extractor = extractors.load(values.extractor, values.weights)
    stored_in = where if where.is_file() else sampling_file.path_of(where)
    beside = (stored_in if isinstance(stored_in, Path) else Path(stored_in.name)).with_suffix("")
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
        images = identity.with_pixels(reals, chosen.places(len(reals), values.seed))
        kept = tuning.Kept(beside.with_name(f"{beside.name}.tuning.json"), {**given, "images": images})
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
    print(f"stored in {stored}; sampling from this model now uses it by default")
    name = f"{beside.name}.sampling.png" if where.is_file() else f"{beside.name}.png"
    _plot(plot or beside.with_name(name), found.tried, extractor.metric)
    return 0


def _check_counts(values: argparse.Namespace, least: int) -> None:
    """Raises UsageError if there are too few samples or evaluations. `least` is the least number of evaluations."""
    if values.samples < 2:
        raise UsageError(f"--samples {values.samples}: a distance needs at least 2")
    if values.evaluations < least:
        raise UsageError(f"--evaluations {values.evaluations}: a search with this model needs at least {least}")


def _text(sigma: dict[str, float]) -> str:
    return ",".join(f"{name}={value:g}" for name, value in sigma.items())


def _plot(path: Path, tried: tuple[tuple[dict[str, float], float], ...], metric: str) -> None:
    """Draws the distance at each temperature of each level."""
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
