"""Arrays in, picture files out: sheets of images, curves, and videos. Knows nothing else of this package."""

from hcflow_jax.pictures.curves import curve
from hcflow_jax.pictures.files import save_png
from hcflow_jax.pictures.sheets import Images, Sheet, grid, rows, strip
from hcflow_jax.pictures.videos import check_mp4, save_gif, save_mp4

__all__ = ["Images", "Sheet", "check_mp4", "curve", "grid", "rows", "save_gif", "save_mp4", "save_png", "strip"]
