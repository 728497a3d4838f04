"""Encodes images to a file of latents, which `hcflow decode` reads.

    hcflow encode faces/*.jpg --out faces.npz

The file contains one array for each level, (n, ...), under the name of the level; `images`, the names of the image
files; and `checkpoint`, the model. To continue a command that was stopped, repeat it: finished latents are kept in a
hidden folder beside the file until the file is complete.

With `--noise-seed 1` the encoder has its noise, as in training. Each seed gives other latents of the same images, and
all of them decode to the images.
"""

import argparse
import hashlib
from pathlib import Path

from hcflow_jax.cli import arguments, inputs
from hcflow_jax.cli.progress import bar
from hcflow_jax.commands import as_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    parser.add_argument("images", metavar="IMAGE", nargs="+", type=as_path, help="PNG, JPEG, WebP, GIF or BMP files")
    parser.add_argument(
        "--noise-seed",
        metavar="N",
        type=int,
        help="encode with the noise of the stochastic encoder (Eq. 6), drawn with this seed; default: no noise",
    )
    parser.add_argument("--out", metavar="FILE.npz", type=as_path, required=True, help="the file to write")
    arguments.add_model(parser)


def run(values: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit status."""
    out, paths = arguments.check_out("--out", values.out, (".npz",)), values.images
    from hcflow_jax.cli import latents_file, parts, use

    model = use.load(values)
    where, names = use.checkpoint_name(values.checkpoint), [Path(path).name for path in paths]
    items, seed = [inputs.identity(path) for path in paths], values.noise_seed
    source = model.fingerprint if seed is None else f"{model.fingerprint} noise seed {seed}"
    about = hashlib.sha256("\n".join([source, where, *items]).encode(errors="surrogatepass")).hexdigest()
    levels, size = ", ".join(model.level_names), model.batch_size
    if latents_file.about_of(out) == about:
        print(f"{out}: {len(paths)} images, levels {levels}{arguments.kept(len(paths))}")
        return 0
    columns = {name: parts.Column(model.latent_shapes[name], "<f4") for name in model.level_names}
    with parts.opened(out, source, columns, items, size) as kept:
        with bar(len(paths), "encoding") as progress:
            progress.update(kept.done)
            images = inputs.batches(paths[kept.done :], model.resolution, size)
            for latents in model.encode_batches(images, seed, first=kept.done):
                kept.append(latents.as_dict())
                progress.update(len(latents))
        arrays = {name: ((len(paths), *c.shape), kept.rows(name, size)) for name, c in columns.items()}
        latents_file.write(out, arrays, names, where, about)
    print(f"{out}: {len(paths)} images, levels {levels}{arguments.kept(kept.found)}")
    return 0
