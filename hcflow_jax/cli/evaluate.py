"""Measures a model: bits/dim, FID and other distances, nearest training images, exactness.

    hcflow evaluate --checkpoint runs/mine
    hcflow evaluate --checkpoint runs/mine --metrics bits,fid,kid,prc --samples 10000 --json runs/mine/measured.json
    hcflow evaluate --checkpoint runs/mine --data photographs/ --draws 8

By default the images are the held-out images of the model's config; --split and --data choose others. A distance is
called FID only if its features are those of FID's Inception network (--weights). The numbers are printed with
everything that they depend on. `python -m hcflow_jax.main --mode=eval` does the same for a run.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from hcflow_jax.cli import arguments, features
from hcflow_jax.commands import UsageError, as_path

METRICS = ("bits", "fid", "kid", "prc", "nearest", "exactness")
PROTOCOLS = ("plain", "paper", "figure7")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    arguments.add_model(parser)
    data = "images to measure on: a folder, a prepared set, or an .npz with arr_0; default: the data of the config"
    parser.add_argument("--data", metavar="FOLDER|SET|FILE.npz", type=as_path, help=data)
    split = "train, eval (held out) or all; default: eval, or all of --data; for distances, the split of the protocol"
    parser.add_argument("--split", choices=("train", "eval", "all"), help=split)
    metrics = f"any of {', '.join(METRICS)}; default bits"
    parser.add_argument("--metrics", metavar="LIST", type=_metrics, default=("bits",), help=metrics)
    images = "use at most N images for bits/dim; default: all"
    parser.add_argument("--images", metavar="N", type=arguments.count, help=images)
    draws = "how often to draw the noise for each image; default: the config's eval.draws"
    parser.add_argument("--draws", metavar="N", type=arguments.count, help=draws)
    protocol = "protocol of the distances (see docs/evaluation.md); default %(default)s"
    parser.add_argument("--protocol", choices=PROTOCOLS, default="plain", help=protocol)
    samples = "number of samples for the distances; default: that of the protocol"
    parser.add_argument("--samples", metavar="N", type=arguments.count, help=samples)
    sigma = (
        "standard deviation of the latents, or one per level, as 8=0.7,32=0.5; default: that of the protocol, else "
        "what hcflow tune-sigma stored with the model, else the config's"
    )
    parser.add_argument("--sigma", type=arguments.sigma, help=sigma)
    seed = "seed of the samples, of KID's subsets and of the protocol's draws; default %(default)s"
    parser.add_argument("--seed", type=arguments.seed, default=0, help=seed)
    denoise = "remove some of the training noise from samples; default: the config's eval.denoise"
    parser.add_argument("--denoise", action=argparse.BooleanOptionalAction, default=None, help=denoise)
    arguments.add_dtype(parser)
    features.add_extractor(parser)
    dims = "`exactness` computes the Jacobians of levels with at most D dimensions; default %(default)s"
    parser.add_argument("--jacobian-dims", metavar="D", type=arguments.count, default=4096, help=dims)
    sheets = "folder for the sheet of `nearest`: samples beside their nearest training images"
    parser.add_argument("--sheets", metavar="DIR", type=as_path, help=sheets)
    parser.add_argument("--json", metavar="FILE", type=as_path, help="write the numbers and what they depend on")


def _metrics(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in METRICS:
            raise argparse.ArgumentTypeError(f"{name!r}: expected any of {', '.join(METRICS)}")
    return names


def _check_held_out(values: argparse.Namespace) -> None:
    """Raises UsageError if `nearest` would compare training images with themselves, as if they were held out."""
    if "nearest" in values.metrics and values.data is None and values.split in ("train", "all"):
        raise UsageError(
            f"--split {values.split}: `nearest` needs images that were not used in training; leave out --split, or "
            "measure nearest in a command of its own"
        )


def _show(metric: str, outcome: Any, sheets: Path | None) -> None:
    """Prints the results of a metric, and saves its sheet in the folder `sheets`."""
    print("\n".join(outcome.lines), flush=True)  # a later metric may take hours, or fail
    if sheets and outcome.sheet is not None:
        from hcflow_jax import pictures

        path = sheets / f"{metric}.png"
        pictures.save_png(path, outcome.sheet)
        print(f"{path}: samples beside their nearest training images", flush=True)


def run(values: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit status."""
    _check_held_out(values)
    out = arguments.check_out("--json", values.json, (".json",)) if values.json else None
    sheets = arguments.check_out("--sheets", values.sheets) if values.sheets else None
    from hcflow_jax import files
    from hcflow_jax.cli import use
    from hcflow_jax.cli.progress import Stages
    from hcflow_jax.evaluation import extractors, measure, measured_set, protocols

    model = use.load(values)
    if isinstance(values.sigma, dict):
        arguments.check_levels("--sigma", values.sigma, model.level_names)
    protocol = protocols.with_samples(protocols.PRESETS[values.protocol], values.samples)
    options = measure.Options(
        protocol=protocol,
        sigma=values.sigma,
        seed=values.seed,
        images=values.images,
        draws=values.draws,
        batch_size=values.batch_size,
        jacobian_dims=values.jacobian_dims,
        denoise=values.denoise,
    )
    images = measured_set.open_data(model.config, values.data, values.split)
    reals = images
    if values.data is None and values.split is None and protocol.split != "eval":
        reals = measured_set.open_data(model.config, None, protocol.split)
    name = use.checkpoint_name(values.checkpoint)
    print(f"{name} on {images.name}, {len(images):,} images")
    with Stages() as stages:

        def finished(metric: str, outcome: Any) -> None:
            stages.close()
            _show(metric, outcome, sheets)

        found = measure.measure(
            model,
            images,
            values.metrics,
            options,
            extractor=lambda: extractors.load(values.extractor, values.weights),
            reals=lambda: reals,
            tell=stages.tell,
            finished=finished,
        )
    if out:
        whole: dict[str, Any] = {"checkpoint": name, "fingerprint": model.fingerprint, **found.values}
        whole["seconds"] = found.seconds
        text = json.dumps(whole, indent=1, allow_nan=False) + "\n"
        files.write(out, lambda file: file.write(text.encode()))
        print(f"{out}: the numbers and what they depend on")
    return 0
