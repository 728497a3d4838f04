"""Decodes a file of latents, which `hcflow encode` wrote, to one PNG for each image.

    hcflow decode faces.npz --out decoded/

A PNG is written as soon as its image is decoded. It contains a text that identifies its latents, model and dtype. To
continue a command that was stopped, repeat it: it keeps the PNGs of the same latents, model and dtype.
"""

import argparse
import hashlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcflow_jax import pictures
from hcflow_jax.cli import arguments
from hcflow_jax.cli.progress import bar
from hcflow_jax.commands import UsageError, as_path
from hcflow_jax.errors import InputError

if TYPE_CHECKING:
    from hcflow_jax import api


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    parser.add_argument("latents", metavar="FILE.npz", type=as_path, help="a file that hcflow encode wrote")
    parser.add_argument("--out", metavar="DIR", type=as_path, required=True, help="the folder for the PNGs")
    arguments.add_model(parser, default="the model that encoded the images")
    arguments.add_dtype(parser)


def run(values: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit status."""
    from hcflow_jax.cli import latents_file

    with latents_file.opened(values.latents) as found:
        out = arguments.check_out("--out", values.out)
        from hcflow_jax.cli import use

        values.checkpoint = values.checkpoint or found.checkpoint
        model = use.load(values)
        try:
            kept = _decode(model, found, out, values.dtype)
        except InputError as error:
            raise UsageError(f"{values.latents}: {error}; give another model with --checkpoint") from error
        count = len(found.images)
    print(f"{out}: {count} images of {model.resolution} pixels{arguments.kept(kept)}")
    return 0


def _decode(model: "api.Model", found: Any, out: Path, dtype: str) -> int:
    """Writes the missing PNGs; returns how many were there already."""
    from hcflow_jax.cli import latents_file, use

    names, kept = iter(latents_file.distinct(found.images)), 0
    waiting: deque[list[tuple[Path, str] | None]] = (
        deque()
    )  # for the batches that are being decoded: the file of each image
    with bar(len(found.images), "decoding") as progress:

        def needed() -> Iterator["api.Latents"]:
            nonlocal kept
            for levels in found.batches(model.batch_size):
                files: list[tuple[Path, str] | None] = []
                for i in range(len(next(iter(levels.values())))):
                    path, about = out / f"{next(names)}.png", _about(model, levels, i, dtype)
                    files.append(None if pictures.text_of(path) == about else (path, about))
                kept += files.count(None)
                if any(files):  # decode the whole batch, because a batch of another size could round differently
                    waiting.append(files)
                    yield use.latents(levels)
                else:
                    progress.update(len(files))

        for images in model.decode_batches(needed(), dtype=dtype):
            files = waiting.popleft()
            for file, image in zip(files, images, strict=True):
                if file:
                    pictures.save_png(file[0], image, file[1])
            progress.update(len(files))
    return kept


def _about(model: "api.Model", levels: dict[str, Any], i: int, dtype: str) -> str:
    """A text that identifies what an image is made of: its latents, the model and the dtype."""
    digest = hashlib.sha256(f"{model.fingerprint} {dtype}".encode())
    for name in sorted(levels):
        digest.update(f" {name} {levels[name].shape[1:]} ".encode() + levels[name][i].tobytes())
    return digest.hexdigest()
