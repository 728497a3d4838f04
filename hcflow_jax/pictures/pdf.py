"""PDF files of sheets: every pixel as it is."""

import importlib.util
from pathlib import Path

import numpy as np

from hcflow_jax import paths
from hcflow_jax.errors import InputError, MissingExtraError
from hcflow_jax.files import write
from hcflow_jax.pictures.png import Sheet, save_png

ENDINGS = (".png", ".pdf")  # of the files that `save` writes
_DPI = 72  # points an inch: at this resolution matplotlib puts an image into a PDF without resampling it


def save_pdf(path: str | Path, array: Sheet) -> None:
    """Writes a page that is one image, without loss, at 72 pixels an inch. Makes the folders above it.

    Args:
      path: file to write.
      array: (H, W, 3) uint8.

    Raises:
      InputError: for anything but uint8 values.
      MissingExtraError: naming the extra, if matplotlib is not installed.
      OSError: the file cannot be written.
    """
    array = np.asarray(array)
    if array.dtype != np.uint8 or array.ndim != 3:
        raise InputError(f"{path}: expected uint8 values (H, W, 3), got {array.dtype} {array.shape}")
    check_pdf(path)
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.figure import Figure

    # Figure and canvas without pyplot: no global state, so any thread may draw.
    figure = Figure(figsize=(array.shape[1] / _DPI, array.shape[0] / _DPI), dpi=_DPI)
    FigureCanvasPdf(figure)
    figure.figimage(array)
    whole = {"format": "pdf", "dpi": _DPI, "metadata": {"CreationDate": None}}  # without it, the same file each time
    write(paths.local(path), lambda file: figure.savefig(file, **whole))


def save(path: str | Path, array: Sheet) -> None:
    """Writes a sheet as a PNG or a PDF, by the file's ending.

    Raises:
      InputError: the ending is neither, or as `save_png` and `save_pdf`.
    """
    ending = Path(path).suffix.lower()
    if ending not in ENDINGS:
        raise InputError(f"{path}: must end in {' or '.join(ENDINGS)}")
    (save_pdf if ending == ".pdf" else save_png)(path, array)


def check_pdf(path: str | Path) -> None:
    """Checks, before anything is computed, that a PDF can be written.

    Raises:
      MissingExtraError: naming the extra, if matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError(f"{path}: a PDF needs matplotlib: pip install 'hcflow_jax[pictures]'")
