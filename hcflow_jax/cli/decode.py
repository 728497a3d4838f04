"""Decodes a file of latents, which `hcflow encode` wrote, to a PNG an image.

    hcflow decode faces.npz --out decoded/

A PNG is written as soon as its image is decoded, and says inside what it was made of. A command that was stopped goes
on when it is repeated: it keeps the PNGs of the same latents, model and dtype.
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
    """What the subcommand takes."""
    parser.add_argument("latents", metavar="FILE.npz", type=as_path, help="from hcflow encode")
    parser.add_argument("--out", metavar="DIR", type=as_path, required=True, help="where the PNGs go")
    arguments.add_model(parser, default="the one that encoded")
    arguments.add_dtype(parser)


def run(values: argparse.Namespace) -> int:
    """Does it; returns the exit status."""
    from hcflow_jax.cli import latents_file

    with latents_file.opened(values.latents) as found:
        out = arguments.check_out("--out", values.out)
        from hcflow_jax.cli import use

        values.checkpoint = values.checkpoint or found.checkpoint
        model = use.load(values)
        try:
            kept = _decode(model, found, out, values.dtype)
        except InputError as error:
            raise UsageError(f"{values.latents}: {error}; --checkpoint names another model") from error
        count = len(found.images)
    print(f"{out}: {count} images of {model.resolution} pixels{arguments.kept(kept)}")
    return 0


def _decode(model: "api.Model", found: Any, out: Path, dtype: str) -> int:
    """Writes the PNGs that are not there; returns how many were."""
    from hcflow_jax.cli import latents_file, use

    names, kept = iter(latents_file.distinct(found.images)), 0
    waiting: deque[list[tuple[Path, str] | None]] = deque()  # of the batches being decoded, what each image becomes
    with bar(len(found.images), "decoding") as progress:

        def needed() -> Iterator["api.Latents"]:
            nonlocal kept
            for levels in found.batches(model.batch_size):
                files: list[tuple[Path, str] | None] = []
                for i in range(len(next(iter(levels.values())))):
                    path, about = out / f"{next(names)}.png", _about(model, levels, i, dtype)
                    files.append(None if pictures.text_of(path) == about else (path, about))
                kept += files.count(None)
                if any(files):  # the whole batch: a batch of another size could round differently
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
    """What an image is made of: its latents, the model, the arithmetic."""
    digest = hashlib.sha256(f"{model.fingerprint} {dtype}".encode())
    for name in sorted(levels):
        digest.update(f" {name} {levels[name].shape[1:]} ".encode() + levels[name][i].tobytes())
    return digest.hexdigest()
