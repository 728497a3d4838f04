"""Maps of numbers as colours, and the bar that says which colour is which number."""

from typing import Any

import numpy as np
from jaxtyping import Float

from hcflow_jax.errors import InputError, MissingExtraError
from hcflow_jax.pictures.png import Sheet
from hcflow_jax.pictures.sheets import Images

COLOURS = "inferno"  # from black to pale yellow: its lightness rises evenly, for colour-blind readers and in grey too
BAR = 110  # pixels, the width of the bar with its numbers
_DPI = 100


def coloured(maps: Float[np.ndarray, "n R R"], top: float, colours: str = COLOURS) -> Images:
    """Maps as images, a colour for each number.

    Args:
      maps: numbers from 0 on.
      top: the number that has the last colour; larger ones have it, too.
      colours: a colour map of matplotlib's.

    Returns:
      (n, R, R, 3), uint8.

    Raises:
      InputError: `top` is not positive, or the maps have values that are not finite.
      MissingExtraError: naming the extra, if matplotlib is not installed.
    """
    maps = np.asarray(maps)
    _check_top(top)
    if maps.ndim != 3 or not np.isfinite(maps).all():
        raise InputError(f"maps have shape {maps.shape}: expected (n, R, R), all values finite")
    steps = np.rint(np.clip(maps / top, 0, 1) * 255).astype(np.uint8)
    table = np.rint(255 * _colour_map(colours)(np.arange(256))[:, :3]).astype(np.uint8)
    return table[steps]


def colour_bar(height: int, top: float, label: str, clipped: bool = False, colours: str = COLOURS) -> Sheet:
    """The bar of `coloured`, from 0 at its foot to `top`, with numbers beside it.

    Args:
      height: the height of the picture, pixels, at least 80.
      top: the last colour's number.
      label: what the numbers are, with their unit; written along the bar.
      clipped: a tip at the bar's upper end says that some numbers are larger.
      colours: a colour map of matplotlib's.

    Returns:
      (height, `BAR`, 3), uint8.

    Raises:
      InputError: `top` is not positive, or the bar is too low to be read.
      MissingExtraError: naming the extra, if matplotlib is not installed.
    """
    _check_top(top)
    if height < 80:
        raise InputError(f"height is {height}: a colour bar takes at least 80 pixels")
    map_of_colours = _colour_map(colours)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    # Figure and canvas without pyplot: no global state, so any thread may draw.
    figure = Figure(figsize=(BAR / _DPI, height / _DPI), dpi=_DPI)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((20 / BAR, 12 / height, 20 / BAR, 1 - 24 / height))
    scale = ScalarMappable(Normalize(0, top), map_of_colours)
    bar = figure.colorbar(scale, cax=axes, label=label, extend="max" if clipped else "neither", extendfrac=0.03)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _check_top(top: float) -> None:
    if not (np.isfinite(top) and top > 0):
        raise InputError(f"top is {top}: expected a positive number")


def _colour_map(name: str) -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise MissingExtraError("colours need matplotlib: pip install 'hcflow_jax[pictures]'") from error
    if name not in matplotlib.colormaps:
        raise InputError(f"no colour map {name!r}; matplotlib has inferno, viridis, cividis and others")
    return matplotlib.colormaps[name]
