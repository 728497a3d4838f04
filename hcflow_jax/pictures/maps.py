"""Shows maps of numbers as colours, with a colour bar."""

from typing import Any

import numpy as np
from jaxtyping import Float

from hcflow_jax.errors import InputError, MissingExtraError
from hcflow_jax.pictures.png import Sheet
from hcflow_jax.pictures.sheets import Images

COLOURS = "inferno"  # black to pale yellow; its lightness rises evenly, so it is readable in grey and if colour-blind
BAR = 110  # width of the colour bar with its numbers, pixels
_DPI = 100  # dots per inch


def coloured(maps: Float[np.ndarray, "n R R"], top: float, colours: str = COLOURS) -> Images:
    """Makes images from maps: each number becomes a colour.

    Args:
      maps: numbers, 0 or more.
      top: the number of the last colour. Larger numbers have this colour too.
      colours: the name of a colour map of matplotlib.

    Returns:
      (n, R, R, 3), uint8.

    Raises:
      InputError: `top` is not positive, the maps have another shape or values that are not finite, or the colour map
        does not exist.
      MissingExtraError: matplotlib is not installed; the message names the extra.
    """
    maps = np.asarray(maps)
    _check_top(top)
    if maps.ndim != 3 or not np.isfinite(maps).all():
        raise InputError(f"maps have shape {maps.shape}: expected (n, R, R), all values finite")
    steps = np.rint(np.clip(maps / top, 0, 1) * 255).astype(np.uint8)
    table = np.rint(255 * _colour_map(colours)(np.arange(256))[:, :3]).astype(np.uint8)
    return table[steps]


def colour_bar(height: int, top: float, label: str, clipped: bool = False, colours: str = COLOURS) -> Sheet:
    """Draws the colour bar of `coloured`, from 0 at the bottom to `top`, with numbers at its side.

    Args:
      height: the height of the picture in pixels, at least 80.
      top: the number of the last colour.
      label: the quantity and its unit; it is written along the bar.
      clipped: whether some numbers are larger than `top`. The bar then has a tip at its upper end.
      colours: the name of a colour map of matplotlib.

    Returns:
      (height, `BAR`, 3), uint8.

    Raises:
      InputError: `top` is not positive, `height` is less than 80, or the colour map does not exist.
      MissingExtraError: matplotlib is not installed; the message names the extra.
    """
    _check_top(top)
    if height < 80:
        raise InputError(f"height is {height}: a colour bar takes at least 80 pixels")
    map_of_colours = _colour_map(colours)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    # A figure and a canvas without pyplot have no global state, so any thread may draw.
    figure = Figure(figsize=(BAR / _DPI, height / _DPI), dpi=_DPI)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((20 / BAR, 12 / height, 20 / BAR, 1 - 24 / height))
    scale = ScalarMappable(Normalize(0, top), map_of_colours)
    bar = figure.colorbar(scale, cax=axes, label=label, extend="max" if clipped else "neither", extendfrac=0.03)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def check_colours() -> None:
    """Checks that maps can be shown as colours. Call it before a long computation.

    Raises:
      MissingExtraError: matplotlib is not installed; the message names the extra.
    """
    _colour_map(COLOURS)


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
