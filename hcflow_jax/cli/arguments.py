"""Command-line options that several subcommands share, and how their values are read."""

import argparse
import math
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from hcflow_jax import box
from hcflow_jax.commands import UsageError, model_name

DTYPES = ("float32", "bfloat16")
NUMBERS = _SEEDS = 2**32  # how many images a seed has, and how many seeds there are

Sigma = float | dict[str, float]


def add_model(parser: argparse.ArgumentParser, default: str = box.NAMES[0]) -> None:
    """Adds --checkpoint."""
    bundled = ", ".join(box.NAMES)
    where = (
        f"a bundled pretrained model ({bundled}), a workdir, one of its steps, or a weights file; default: {default}"
    )
    parser.add_argument("--checkpoint", metavar="WHERE", type=model_name, help=where)


def add_dtype(parser: argparse.ArgumentParser) -> None:
    """Adds --dtype, for subcommands that make images and need not recover any exactly."""
    text = (
        "dtype of the networks; bfloat16 is faster on accelerators and changes images slightly; default %(default)s"
    )
    parser.add_argument("--dtype", choices=DTYPES, default=DTYPES[0], help=text)


def add_sigma(parser: argparse.ArgumentParser) -> None:
    """Adds --sigma, for subcommands that draw latents; the paper uses 0.7 in Figures 4 and 11."""
    text = (
        "standard deviation of the latents finer than 1x1, or one for each level, such as 8=0.7,32=0.5 (1 for all "
        "others); default: the values that hcflow tune-sigma stored with the model, or sample.sigma of its config"
    )
    parser.add_argument("--sigma", type=sigma, help=text)


def whole(least: int, what: str, below: float = math.inf) -> Callable[[str], int]:
    """A reader of whole numbers that are at least `least`, for argparse."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number < below:
            top = "" if below == math.inf else f" to {int(below) - 1}"
            raise argparse.ArgumentTypeError(f"{text!r}: expected {what}, a whole number from {least}{top or ' on'}")
        return number

    return read


seed = whole(0, "a seed", below=_SEEDS)
number = whole(0, "the number of an image", below=NUMBERS)
count = whole(1, "a count")


def positive(text: str) -> float:
    """Reads a number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number above 0")
    return number


def seeds(text: str) -> tuple[int, ...]:
    """Reads 0,1,2."""
    return tuple(seed(part) for part in text.split(","))


def levels(text: str) -> tuple[str, ...]:
    """Reads names of levels, such as 8,32. `check_levels` checks them when the model is loaded."""
    names = tuple(part.strip() for part in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r}: expected levels such as 8,32")
    return names


def sigma(text: str) -> Sigma:
    """Reads 0.7, or 8=0.7,32=0.5."""
    if "=" not in text:
        return _std(text, text)
    parts = [part.partition("=") for part in text.split(",")]
    if not all(name.strip() for name, _, _ in parts) or len({name.strip() for name, _, _ in parts}) < len(parts):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number, or one for each level, such as 8=0.7,32=0.5")
    return {name.strip(): _std(value, text) for name, _, value in parts}


def _std(value: str, text: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected a number that is not negative, or one for each level, such as 8=0.7,32=0.5"
        )
    return number


def check_levels(option: str, names: Iterable[str], known: tuple[str, ...]) -> None:
    """Refuses levels that the model does not have.

    Raises:
      UsageError: a level does not exist; the message names the option and the existing levels.
    """
    for name in names:
        if name not in known:
            raise UsageError(f"{option}: no level {name!r}; this model has {', '.join(known)}")


def check_out(option: str, path: Path, endings: tuple[str, ...] = ()) -> Path:
    """Checks, before anything is computed, that a file can be written; makes the folders above it.

    Args:
      option: the option, for error messages.
      path: the path of the file, or of a folder if `endings` is empty.
      endings: the endings that the file may have.

    Returns:
      The path.

    Raises:
      UsageError: it has another ending, or cannot be written.
    """
    if endings and path.suffix.lower() not in endings:
        raise UsageError(f"{option} {path}: must end in {' or '.join(endings)}")
    if endings and path.is_dir():
        raise UsageError(f"{option} {path}: is a folder; name a file")
    folder = path.parent if endings else path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):  # its name is not used by any other file
            pass
    except OSError as error:
        reason = "Not a directory" if isinstance(error, FileExistsError) else error.strerror
        raise UsageError(f"{option} {path}: cannot be written ({reason}); name another") from error
    return path


def check_sheet(option: str, count: int, columns: int, side: int, instead: str = "") -> None:
    """Refuses, before anything is computed, a sheet that is too large for other programs to open.

    Args:
      option: the option and the file, for error messages.
      count: the number of images on the sheet.
      columns: the number of images in a row.
      side: the side of an image on the sheet, in pixels.
      instead: the end of the message: what the user can do instead.

    Raises:
      UsageError: the sheet is too large; the message says about how many images fit.
    """
    from hcflow_jax import pictures

    width, height = columns * side, -(-count // columns) * side
    if width * height > pictures.LARGEST:
        fit = pictures.LARGEST // side**2
        raise UsageError(
            f"{option}: a sheet of {width} x {height} pixels is too large; about {fit} images of {side} pixels fit"
            f"{instead}"
        )


def kept(count: int) -> str:
    """The end of a command's last line: how many images an earlier, stopped command had finished."""
    return f"; {count} images were finished before and are kept" if count else ""
