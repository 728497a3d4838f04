"""What the figure commands share: options for models, images and output files."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcflow_jax import box, pictures
from hcflow_jax.cli import arguments
from hcflow_jax.commands import UsageError, as_path, model_name

if TYPE_CHECKING:
    from hcflow_jax import api
    from hcflow_jax.pictures import Images

VIDEOS = (".mp4", ".gif")
_SEED, _HELD_OUT = "seed:", "held-out:"
_LONGEST = 24  # characters of a model's name on a sheet; only the end of a longer name is shown
_PIXELS = 256  # approximate height of a video, pixels

Where = Path | tuple[str, int]  # a picture file, or ("seed:" or "held-out:", a number)


def add_models(parser: argparse.ArgumentParser) -> None:
    """Adds --checkpoint and --names, for one model or several."""
    boxed = ", ".join(box.NAMES)
    where = (
        f"workdirs, steps in them, weights files, or bundled pretrained models ({boxed}); default: {box.NAMES[0]}. "
        "Several models are shown side by side"
    )
    parser.add_argument("--checkpoint", metavar="WHERE", type=model_name, nargs="+", help=where)
    names = "what the models are called on the picture, in the same order; default: how --checkpoint names them"
    parser.add_argument("--names", metavar="NAME", nargs="+", help=names)


def models(values: argparse.Namespace) -> "dict[str, api.Model]":
    """Loads the models.

    Returns:
      The name of each model on the picture -> the model.

    Raises:
      UsageError: a model cannot be read, or the names do not fit (see `named`).
    """
    from hcflow_jax.cli import use

    given = values.checkpoint or [box.NAMES[0]]
    return {
        name: use.load(argparse.Namespace(checkpoint=where))
        for name, where in zip(named(given, values.names, "--checkpoint"), given, strict=True)
    }


def named(given: Sequence[str], names: Sequence[str] | None, option: str) -> list[str]:
    """The names of models or curves on a picture: those of `--names`, else the given texts, shortened.

    Args:
      given: the texts that the user gave, for example the values of --checkpoint.
      names: the values of --names, or None.
      option: what `given` is, for messages.

    Raises:
      UsageError: the number of names is wrong, or two names are equal.
    """
    if names and len(names) != len(given):
        raise UsageError(f"--names: {len(names)} names for {len(given)} of {option}; give one for each")
    found = list(names) if names else [_short(each) for each in given]
    if twice := [name for name in found if found.count(name) > 1]:
        raise UsageError(f"--names: two are called {twice[0]!r}; give each a name of its own")
    return found


def _short(where: str) -> str:
    return where if len(where) <= _LONGEST else f"...{where[3 - _LONGEST :]}"


def add_images(parser: argparse.ArgumentParser, count: int) -> None:
    """Adds IMAGE..., and --count, which is used if no image is given."""
    what = (
        "a picture file, seed:N (the first image of `hcflow sample --seed N`), or held-out:N (image N of the "
        f"held-out data); default: the first held-out images of the model's data, {count} or --count"
    )
    parser.add_argument("images", metavar="IMAGE", nargs="*", type=image, help=what)
    parser.add_argument("--count", type=arguments.count, help=f"number of held-out images; default {count}")
    parser.set_defaults(usual_count=count)


def image(text: str) -> Where:
    """Parses the name of an image on the command line. It is a `type` of argparse."""
    if text.startswith(_SEED):
        return _SEED, arguments.seed(text.removeprefix(_SEED))
    if text.startswith(_HELD_OUT):
        return _HELD_OUT, arguments.number(text.removeprefix(_HELD_OUT))
    return as_path(text)


def images(values: argparse.Namespace, model: "api.Model") -> "Images":
    """Reads the named images, or else the first held-out images, at the model's resolution.

    Returns:
      (n, R, R, 3), uint8.

    Raises:
      UsageError: images are named and --count is given, or a held-out image does not exist.
      DataError: a file or the held-out data cannot be read; the message names it.
    """
    import numpy as np

    if values.images and values.count:
        raise UsageError(f"--count {values.count}: images are named, so there is nothing to count")
    named: list[Where] = values.images or held_out(0, values.count or values.usual_count)
    sigma = getattr(values, "sigma", None)
    return np.stack([_pixels(each, model, sigma) for each in named])


def latents(named: Sequence[Where], model: "api.Model", sigma: Any = None) -> "api.Latents":
    """Latents of images that are named on the command line. A seed gives the latents that it draws.

    Raises:
      UsageError: a held-out image does not exist.
      DataError: a file or the held-out data cannot be read; the message names it.
    """
    from hcflow_jax.api.latents import concatenate

    return concatenate(
        [
            model.draw(1, each[1], sigma)
            if isinstance(each, tuple) and each[0] == _SEED
            else model.encode(_pixels(each, model, sigma)[None])
            for each in named
        ]
    )


def held_out(first: int, count: int) -> list[Where]:
    """`count` held-out images, from number `first` on, as `image` parses them."""
    return [(_HELD_OUT, i) for i in range(first, first + count)]


def labels(named: Iterable[Where]) -> list[str]:
    """The labels of images on a picture."""
    return [each.stem[:_LONGEST] if isinstance(each, Path) else "".join(map(str, each)) for each in named]


def _pixels(each: Where, model: "api.Model", sigma: Any) -> Any:
    from hcflow_jax import data
    from hcflow_jax.cli import inputs

    if isinstance(each, Path):
        return inputs.read([each], model.resolution)[0]
    kind, number = each
    if kind == _SEED:
        return model.sample(1, seed=number, sigma=sigma)[0]
    source = data.open_source(model.config, "eval")
    if number >= len(source):
        raise UsageError(f"held-out:{number}: there are {len(source):,} held-out images, from 0 on")
    return source[number]


def add_out(parser: argparse.ArgumentParser, name: str, video: bool = False, csv: bool = False) -> None:
    """Adds --out, with `csv` also --csv, and with `video` also --fps."""
    endings = (*pictures.ENDINGS, *VIDEOS) if video else pictures.ENDINGS
    kinds = f"{', '.join(endings[:-1])} or {endings[-1]}"
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=as_path,
        default=Path(f"{name}.png"),
        help=f"ends in {kinds}; default %(default)s",
    )
    parser.set_defaults(endings=endings)
    if csv:
        parser.add_argument("--csv", metavar="FILE.csv", type=as_path, help="writes the numbers behind the picture")
    if video:
        add_fps(parser)


def add_fps(parser: argparse.ArgumentParser, usual: int = 20) -> None:
    """Adds --fps."""
    frames = arguments.whole(1, "frames a second", below=101)
    parser.add_argument("--fps", type=frames, default=usual, help="frames a second of a video; default %(default)s")


def check_out(values: argparse.Namespace) -> Path:
    """Checks that the files of --out and --csv can be written. Call it before a long computation.

    Returns:
      The path of the picture.

    Raises:
      UsageError: a file cannot be written, or has another ending.
      MissingExtraError: a PDF or an mp4 needs a package that is not installed.
    """
    if getattr(values, "csv", None):
        arguments.check_out("--csv", values.csv, (".csv",))
    out = arguments.check_out("--out", values.out, values.endings)
    if out.suffix.lower() in VIDEOS:
        check_video("--out", out)
    if out.suffix.lower() == ".pdf":
        pictures.check_pdf(out)
    return out


def check_video(option: str, path: Path) -> Path:
    """Checks that a video can be written; returns its path.

    Raises:
      UsageError, MissingExtraError: as in `check_out`.
    """
    arguments.check_out(option, path, VIDEOS)
    if path.suffix.lower() == ".mp4":
        pictures.check_mp4(path)
    return path


def save_csv(values: argparse.Namespace, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes the rows to the file of --csv, if it is given."""
    from hcflow_jax.analysis import measured

    if values.csv:
        measured.save_csv(values.csv, rows)
        print(f"{values.csv}: {len(rows)} rows")


def save_video(out: Path, frames: Any, fps: float) -> None:
    """Writes frames (n, H, W, 3) uint8 to an mp4 or a gif. Small frames are enlarged by an integer factor."""
    times = max(1, _PIXELS // frames.shape[1])
    larger = frames.repeat(times, 1).repeat(times, 2)
    (pictures.save_mp4 if out.suffix.lower() == ".mp4" else pictures.save_gif)(out, larger, fps=fps)
