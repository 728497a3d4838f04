"""Round trips: how exactly decoding inverts encoding, on given images and on images unlike any training image."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw, ImageFont

from hcflow_jax.api import Model

Images = UInt8[np.ndarray, "n R R 3"]
Floats = Float[np.ndarray, "n R R 3"]


@dataclasses.dataclass(frozen=True)
class RoundTrip:
    """Differences between images and the images that decoding returns.

    Attributes:
      images: the number of images.
      worst_error: the largest absolute difference of x, where one level of an 8-bit value is 1/256. None: a decoded
        value is not finite.
      median_error: the median over the images of each image's largest difference; None like `worst_error`.
      changed_values: the number of 8-bit values that changed.
      same_values: the share of 8-bit values that did not change.
      same_images: the share of images in which no 8-bit value changed.
      finite: whether all decoded values are finite.
    """

    images: int
    worst_error: float | None
    median_error: float | None
    changed_values: int
    same_values: float
    same_images: float
    finite: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)

    @property
    def worst_error_text(self) -> str:
        """The worst error, with two significant digits."""
        return "not finite" if self.worst_error is None else f"{self.worst_error:.1e}"


def to_values(decoded: Floats) -> Images:
    """8-bit values of decoded floats x + 0.5. NaN becomes 0, and infinite values become 0 or 255."""
    return np.minimum(np.floor(256 * np.clip(np.nan_to_num(decoded), 0, 1)), 255).astype(np.uint8)


def differences(images: Images, decoded: Floats) -> tuple[Float[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """The differences between each image and its decoded image.

    Args:
      images: originals, (n, R, R, 3) uint8.
      decoded: floats x + 0.5, not clipped.

    Returns:
      For each image, the largest absolute difference of x, and the number of 8-bit values that changed.
    """
    # An 8-bit value v is encoded from the centre of its bin: x + 0.5 = (v + 0.5) / 256.
    worst = np.abs(decoded - (images.astype(np.float32) + 0.5) / 256).max((1, 2, 3))
    same = np.isfinite(decoded) & (to_values(decoded) == images)
    return worst, (~same).sum((1, 2, 3), dtype=np.int64)


def summary(worst: Float[np.ndarray, " n"], changed: Int[np.ndarray, " n"], values: int) -> RoundTrip:
    """Summarises the results of `differences`.

    Args:
      worst: the largest absolute difference of each image.
      changed: the number of changed 8-bit values of each image.
      values: the number of 8-bit values of one image.
    """
    finite, total = bool(np.isfinite(worst).all()), len(worst) * values
    return RoundTrip(
        images=len(worst),
        worst_error=float(worst.max()) if finite else None,
        median_error=float(np.median(worst)) if finite else None,
        changed_values=int(changed.sum()),
        same_values=(total - int(changed.sum())) / total,
        same_images=float((changed == 0).mean()),
        finite=finite,
    )


def all_differences(
    pairs: Iterable[tuple[Images, Floats]],
) -> tuple[Float[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """`differences` of all pairs of arrays (images, decoded), joined. One pair at a time is in memory."""
    worst, changed = [np.zeros(0, np.float32)], [np.zeros(0, np.int64)]
    for images, decoded in pairs:
        for kept, found in zip((worst, changed), differences(images, decoded), strict=True):
            kept.append(found)
    return np.concatenate(worst), np.concatenate(changed)


def round_trip(model: Model, images: Images, dtype: str = "float32") -> RoundTrip:
    """Encodes images in float32, decodes their latents, and compares. It works batch by batch.

    Args:
      model: from `api.load`.
      images: uint8, (n, R, R, 3).
      dtype: the dtype of the decoding networks' arithmetic.
    """
    return summary(*all_differences(model.reconstruct_batches(images, True, dtype)), images[0].size)


def strange_images(resolution: int, count: int = 8, seed: int = 0) -> Iterator[tuple[str, Images]]:
    """Images that are unlike any training image: noise, constant colours, checkerboards and pages of text.

    Args:
      resolution: R, pixels.
      count: the number of images of each kind.
      seed: the seed of the noise.

    Yields:
      The name of a kind and its images, (count, R, R, 3) uint8.
    """
    rng = np.random.default_rng(seed)
    shape = (count, resolution, resolution, 3)
    yield "noise", rng.integers(0, 256, shape).astype(np.uint8)
    levels = np.linspace(0, 255, count).round().astype(np.uint8)
    yield "constant", np.broadcast_to(levels[:, None, None, None], shape).copy()
    rows, columns = np.indices((resolution, resolution))
    sides = max(1, (resolution - 1).bit_length())  # squares of 1, 2, 4, ... pixels, and then again with other colours
    boards = [(rows // 2 ** (i % sides) + columns // 2 ** (i % sides) + i // sides) % 2 for i in range(count)]
    yield "checkerboard", np.repeat(np.stack(boards)[..., None] * 255, 3, -1).astype(np.uint8)
    yield "text", np.stack([_page(resolution, i) for i in range(count)])


def _page(resolution: int, number: int) -> UInt8[np.ndarray, "R R 3"]:
    page = Image.new("RGB", (resolution, resolution), "white")
    draw, size = ImageDraw.Draw(page), max(8, resolution // 8)
    for line in range(resolution // size + 1):
        draw.text((0, line * size), f"z = f(x) {number * 7 + line}", fill="black", font=ImageFont.load_default(size))
    return np.array(page)
