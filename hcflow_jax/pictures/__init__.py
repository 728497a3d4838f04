"""Arrays in, picture files out: sheets of images, curves, and videos. Knows no models."""

from hcflow_jax.pictures.curves import curve
from hcflow_jax.pictures.sheets import Images, Sheet, grid, rows, save_png, strip
from hcflow_jax.pictures.videos import check_mp4, save_gif, save_mp4

__all__ = ["Images", "Sheet", "check_mp4", "curve", "grid", "rows", "save_gif", "save_mp4", "save_png", "strip"]
