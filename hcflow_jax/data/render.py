"""Draws illustrated portraits: (style, seed, size) to pixels, the same everywhere.

Avatar systems by designers (dicebear-styles) are resolved by dicebear-core to SVG and drawn by resvg. Only
light imports here: this module is what the drawing processes load.
"""

import colorsys
import hashlib
import io
import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt8
from PIL import Image

from hcflow_jax.config import ConfigError
from hcflow_jax.data import shards
from hcflow_jax.data.workers import Report

RECIPE = 1  # to be raised when the same seed would give other pixels: caches are drawn again
_PACKAGES = ("dicebear-core", "dicebear-styles", "resvg-py")
_REPORT = 25  # images between two reports of progress


def _style_file(style: str) -> Path:
    try:
        import dicebear  # noqa: F401
        import dicebear_styles
        import resvg_py  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"data.source = 'portraits' needs the package of {error.name}: pip install 'hcflow_jax[demo]'"
        ) from error
    folder = Path(next(iter(dicebear_styles.__path__)))
    names = sorted(path.stem for path in folder.glob("*.json"))
    if style not in names:
        raise ConfigError(f"data.style is {style!r}: expected one of {', '.join(names)}")
    return folder / f"{style}.json"


def describe(style: str, resolution: int, seeds: str) -> dict[str, Any]:
    """Everything that decides the pixels, as JSON.

    Raises:
      ConfigError: naming `data.style` for a style that is not there, or the missing packages.
    """
    return {
        "kind": "portraits",
        "recipe": RECIPE,
        "style": style,
        "style_sha256": hashlib.sha256(_style_file(style).read_bytes()).hexdigest(),
        "resolution": resolution,
        "seeds": seeds,
        "packages": {name: version(name) for name in _PACKAGES},
    }


def gradient(seed: str, resolution: int) -> Float64[np.ndarray, "R R 3"]:
    """A soft blend of two pale colours in some direction, drawn from the seed; values in [0, 1].

    A flat background would have no entropy, and its likelihood no bound.
    """
    digest = hashlib.sha256(f"background of {seed}".encode()).digest()
    u = [int.from_bytes(digest[2 * i : 2 * i + 2], "big") / 65536 for i in range(7)]
    near = colorsys.hsv_to_rgb(u[0], 0.15 + 0.35 * u[1], 0.75 + 0.23 * u[2])
    far = colorsys.hsv_to_rgb((u[0] + 0.1 + 0.25 * u[3]) % 1, 0.15 + 0.35 * u[4], 0.6 + 0.38 * u[5])
    axis = (np.arange(resolution) + 0.5) / resolution - 0.5
    angle = 2 * np.pi * u[6]
    along = np.cos(angle) * axis[None, :] + np.sin(angle) * axis[:, None]
    t = (along / (abs(np.cos(angle)) + abs(np.sin(angle))) + 0.5)[..., None]
    return (1 - t) * np.array(near) + t * np.array(far)


def portraits(style: str, seeds: list[str], resolution: int) -> Iterator[UInt8[np.ndarray, "R R 3"]]:
    """Draws a portrait for each seed over its gradient."""
    source = json.loads(_style_file(style).read_bytes())
    from dicebear import Avatar, Style
    from resvg_py import svg_to_bytes

    parsed = Style(source)
    # Below 64 pixels thin strokes (mouths, brows) are lost between samples: draw larger, then average.
    scale = max(1, -(-64 // resolution))
    size = scale * resolution
    for seed in seeds:
        svg = Avatar(parsed, {"seed": seed, "size": size}).to_string()
        # System fonts would make the picture depend on the machine.
        png = svg_to_bytes(svg_string=svg, width=size, height=size, skip_system_fonts=True)
        rgba = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"), np.float64) / 255
        colour, alpha = rgba[..., :3] * rgba[..., 3:], rgba[..., 3:]  # averaged as light, so premultiplied
        colour, alpha = _shrink(colour, scale), _shrink(alpha, scale)
        yield np.floor(255 * (colour + (1 - alpha) * gradient(seed, resolution)) + 0.5).astype(np.uint8)


def options(style: str, seeds: list[str]) -> Iterator[dict[str, Any]]:
    """The options of each seed's drawing, by name, such as {"hairVariant": "bun", "hairColor": ["#d6b370"], ...}.

    An option of a part that is absent is missing.

    Raises:
      ConfigError: see `describe`.
    """
    source = json.loads(_style_file(style).read_bytes())
    from dicebear import Avatar, Style

    parsed = Style(source)
    for seed in seeds:
        yield Avatar(parsed, {"seed": seed}).to_json()["options"]


def _shrink(a: Float64[np.ndarray, "H W C"], scale: int) -> Float64[np.ndarray, "h w C"]:
    height, width, channels = a.shape
    return a.reshape(height // scale, scale, width // scale, scale, channels).mean((1, 3))


def draw_shard(job: dict[str, Any], report: Report) -> None:
    """Writes a shard: {"directory", "style", "resolution", "prefix", "file", "start", "stop"}.

    Args:
      job: `file` gets the portraits of seeds prefix-start ... prefix-(stop - 1).
      report: is told {"done": images} as they are drawn, and {"shard": entry of the manifest}.
    """
    count = job["stop"] - job["start"]

    def counted() -> Iterator[UInt8[np.ndarray, "R R 3"]]:
        seeds = [f"{job['prefix']}-{i}" for i in range(job["start"], job["stop"])]
        for done, image in enumerate(portraits(job["style"], seeds, job["resolution"]), 1):
            yield image
            if done % _REPORT == 0 or done == count:
                report({"done": (done - 1) % _REPORT + 1})

    report({"shard": shards.write_shard(Path(job["directory"]) / job["file"], counted())})
