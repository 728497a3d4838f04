"""Writes sheets to PDF files without loss."""

import importlib.util
from pathlib import Path

import numpy as np

from hcflow_jax import paths
from hcflow_jax.errors import InputError, MissingExtraError
from hcflow_jax.files import write
from hcflow_jax.pictures.png import Sheet, save_png

ENDINGS = (".png", ".pdf")  # endings of the files that `save` writes
_DPI = 72  # points per inch: at this resolution matplotlib does not resample an image in a PDF


def save_pdf(path: str | Path, array: Sheet) -> None:
    """Writes a PDF of one page that is one image, without loss, at 72 pixels per inch. Missing folders are made.

    Args:
      path: the file to write.
      array: (H, W, 3) uint8.

    Raises:
      InputError: the array is not uint8 with three axes.
      MissingExtraError: matplotlib is not installed; the message names the extra.
      OSError: the file cannot be written.
    """
    array = np.asarray(array)
    if array.dtype != np.uint8 or array.ndim != 3:
        raise InputError(f"{path}: expected uint8 values (H, W, 3), got {array.dtype} {array.shape}")
    check_pdf(path)
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.figure import Figure

    # A figure and a canvas without pyplot have no global state, so any thread may draw.
    figure = Figure(figsize=(array.shape[1] / _DPI, array.shape[0] / _DPI), dpi=_DPI)
    FigureCanvasPdf(figure)
    figure.figimage(array)
    # Without a date, the same sheet gives the same file.
    whole = {"format": "pdf", "dpi": _DPI, "metadata": {"CreationDate": None}}
    write(paths.local(path), lambda file: figure.savefig(file, **whole))


def save(path: str | Path, array: Sheet) -> None:
    """Writes a sheet as a PNG or a PDF. The ending of the file decides.

    Args:
      path: the file to write; it ends in .png or .pdf.
      array: (H, W, 3) uint8.

    Raises:
      InputError: the file has another ending, or as in `save_png` and `save_pdf`.
      MissingExtraError: as in `save_pdf`.
      OSError: the file cannot be written.
    """
    ending = Path(path).suffix.lower()
    if ending not in ENDINGS:
        raise InputError(f"{path}: must end in {' or '.join(ENDINGS)}")
    (save_pdf if ending == ".pdf" else save_png)(path, array)


def check_pdf(path: str | Path) -> None:
    """Checks that a PDF can be written. Call it before a long computation.

    Raises:
      MissingExtraError: matplotlib is not installed; the message names the extra.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError(f"{path}: a PDF needs matplotlib: pip install 'hcflow_jax[pictures]'")
