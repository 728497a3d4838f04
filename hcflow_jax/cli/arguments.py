"""What subcommands share of the command line: how values are read."""

import argparse
import math
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from hcflow_jax import box
from hcflow_jax.commands import UsageError, model_name

DTYPES = ("float32", "bfloat16")
NUMBERS = _SEEDS = 2**32  # images of a seed, and seeds

Sigma = float | dict[str, float]


def add_model(parser: argparse.ArgumentParser, default: str = box.NAMES[0]) -> None:
    """--checkpoint."""
    boxed = ", ".join(box.NAMES)
    where = f"a workdir, a step in it, a weights file, or a model in the box ({boxed}); default: {default}"
    parser.add_argument("--checkpoint", metavar="WHERE", type=model_name, help=where)


def add_dtype(parser: argparse.ArgumentParser) -> None:
    """--dtype, for what makes images and need not give any back exactly."""
    text = "of the networks; bfloat16 is faster on accelerators, and its images are a little others; %(default)s"
    parser.add_argument("--dtype", choices=DTYPES, default=DTYPES[0], help=text)


def add_sigma(parser: argparse.ArgumentParser) -> None:
    """--sigma, for what draws latents; 0.7 is the paper's in Figures 4 and 11."""
    text = (
        "std of the latents above 1x1, or by level as 8=0.7,32=0.5 (others 1); default: what hcflow tune-sigma "
        "stored with the model, else 0.7"
    )
    parser.add_argument("--sigma", type=sigma, help=text)


def whole(least: int, what: str, below: float = math.inf) -> Callable[[str], int]:
    """Reads a whole number from `least` on."""

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
    """Reads names of levels, 8,32; whether the model has them is known once it is loaded."""
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
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number, or one a level as 8=0.7,32=0.5")
    return {name.strip(): _std(value, text) for name, _, value in parts}


def _std(value: str, text: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected a number that is not negative, or one a level as 8=0.7,32=0.5"
        )
    return number


def check_levels(option: str, names: Iterable[str], known: tuple[str, ...]) -> None:
    """Refuses levels that the model has not got.

    Raises:
      UsageError: naming the option and the levels that there are.
    """
    for name in names:
        if name not in known:
            raise UsageError(f"{option}: no level {name!r}; this model has {', '.join(known)}")


def check_out(option: str, path: Path, endings: tuple[str, ...] = ()) -> Path:
    """Tries, before anything is computed, whether a file can be written; makes the folders above it.

    Args:
      option: named in errors.
      path: of the file; of a folder where `endings` are empty.
      endings: those that the file may have.

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
        with tempfile.TemporaryFile(dir=folder):  # of a name that nobody has
            pass
    except OSError as error:
        reason = "Not a directory" if isinstance(error, FileExistsError) else error.strerror
        raise UsageError(f"{option} {path}: cannot be written ({reason}); name another") from error
    return path


def check_sheet(option: str, count: int, columns: int, side: int, instead: str = "") -> None:
    """Refuses, before anything is computed, a sheet that is too large for programs to open.

    Args:
      option: named in errors, with the file.
      count: images on the sheet.
      columns: images a row.
      side: pixels of an image's side on the sheet.
      instead: what the message says that one can do instead.

    Raises:
      UsageError: saying about how many images fit.
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
    """The end of a command's last line: how many images were finished before it began."""
    return f"; {count} were finished before and are kept" if count else ""
