"""Makes picture files from arrays: sheets of images, curves, diagrams and videos. It does not depend on models."""

from hcflow_jax.pictures.blocks import Block, beside, blocks, scales
from hcflow_jax.pictures.curves import Panel, Series, curve, panels
from hcflow_jax.pictures.maps import check_colours, colour_bar, coloured
from hcflow_jax.pictures.pdf import ENDINGS, check_pdf, save, save_pdf
from hcflow_jax.pictures.png import Sheet, save_png, stream_png, text_of
from hcflow_jax.pictures.sheet_files import LARGEST, most_in_rows, save_grid, save_rows
from hcflow_jax.pictures.sheets import Images, Rows, grid, rows, strip
from hcflow_jax.pictures.videos import check_mp4, save_gif, save_mp4

__all__ = [
    "ENDINGS",
    "LARGEST",
    "Block",
    "Images",
    "Panel",
    "Rows",
    "Series",
    "Sheet",
    "beside",
    "blocks",
    "check_colours",
    "check_mp4",
    "check_pdf",
    "colour_bar",
    "coloured",
    "curve",
    "grid",
    "most_in_rows",
    "panels",
    "rows",
    "save",
    "save_gif",
    "save_grid",
    "save_mp4",
    "save_pdf",
    "save_png",
    "save_rows",
    "scales",
    "stream_png",
    "strip",
    "text_of",
]
