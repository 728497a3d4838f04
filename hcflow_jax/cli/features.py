"""Computes features of images, which `hcflow distance` compares.

    hcflow features --extractor inception --weights pt_inception.pth --samples samples/ --out samples.npy

The file has one row for each image, (n, d) float32, in the order of the names. NAME.json beside it says how the
features were made.
"""

import argparse
import json

from hcflow_jax.cli import arguments
from hcflow_jax.cli.progress import shown
from hcflow_jax.commands import as_path


def add_extractor(parser: argparse.ArgumentParser) -> None:
    """Adds --extractor, --weights and --batch-size."""
    which = (
        "inception, efficientnet-lite0, or (for illustrations of that style) toon-head or landscape; default: "
        "inception if its weights are given, else efficientnet-lite0"
    )
    parser.add_argument("--extractor", metavar="NAME", help=which)
    weights = "weights of FID's Inception network; default: the file in the environment variable HCFLOW_INCEPTION"
    parser.add_argument("--weights", metavar="FILE", type=as_path, help=weights)
    parser.add_argument(
        "--batch-size", type=arguments.count, default=50, help="images per batch; default %(default)s"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    samples = "a folder of pictures of one size, a prepared set, or an .npz with arr_0, uint8 (n, R, R, 3)"
    parser.add_argument("--samples", metavar="DIR|FILE.npz", type=as_path, required=True, help=samples)
    parser.add_argument("--out", metavar="FEATURES.npy", type=as_path, required=True, help="the file to write")
    add_extractor(parser)


def run(values: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit status."""
    out = arguments.check_out("--out", values.out, (".npy",))
    import numpy as np

    from hcflow_jax import files
    from hcflow_jax.commands import UsageError
    from hcflow_jax.compiling import enable_compilation_cache
    from hcflow_jax.evaluation import comparison, extractors, references, sets

    enable_compilation_cache()
    if values.samples.is_dir():
        images = sets.of_directory(values.samples)
    else:
        array = references.read(values.samples).images
        if array is None:
            raise UsageError(f"--samples {values.samples}: contains no images; expected arr_0, uint8 (n, R, R, 3)")
        images = sets.of_array(str(values.samples), array)
    extractor = extractors.load(values.extractor, values.weights)
    with shown(images.count, "features") as tell:
        made = comparison.extract(images, extractor, values.batch_size, tell)
    about = json.dumps({**extractor.about(), **images.about()}, indent=1, sort_keys=True).encode() + b"\n"
    files.write(references.about_file(out), lambda file: file.write(about))
    files.write(out, lambda file: np.save(file, made))
    print(f"{out}: {images.count} features of {extractor.name}, {extractor.dims} dimensions")
    print(f"weights {extractor.sha256}, resizing {extractor.resizing}")
    return 0
