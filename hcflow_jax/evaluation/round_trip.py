"""How exactly decoding undoes encoding: on a set's images, and on images that no set would hold."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw, ImageFont

from hcflow_jax.api import Model
from hcflow_jax.batches import cut

Images = UInt8[np.ndarray, "n R R 3"]
Floats = Float[np.ndarray, "n R R 3"]


@dataclasses.dataclass(frozen=True)
class RoundTrip:
    """What came back of some images.

    Attributes:
      images: how many.
      worst_error: largest absolute difference of x, one level of an 8-bit value being 1/256; None if a value that
        came back is not finite.
      median_error: the median of the images' largest differences.
      changed_values: how many 8-bit values did not come back as they were.
      same_values: share of the 8-bit values that did.
      same_images: share of the images of which all did.
      finite: whether every value that came back is.
    """

    images: int
    worst_error: float | None
    median_error: float | None
    changed_values: int
    same_values: float
    same_images: float
    finite: bool

    def as_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return dataclasses.asdict(self)

    @property
    def worst_error_text(self) -> str:
        """The worst error in two digits."""
        return "not finite" if self.worst_error is None else f"{self.worst_error:.1e}"


def to_values(decoded: Floats) -> Images:
    """8-bit values of decoded floats x + 0.5; what is not finite becomes 0 or 255."""
    return np.clip(np.floor(256 * np.nan_to_num(decoded)), 0, 255).astype(np.uint8)


def differences(images: Images, decoded: Floats) -> tuple[Float[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """How far each decoded image is from its original.

    Args:
      images: originals, (n, R, R, 3) uint8.
      decoded: floats x + 0.5, not clipped.

    Returns:
      Each image's largest absolute difference, and how many of its 8-bit values changed.
    """
    # A value v is the middle of its bin: x + 0.5 = (v + 0.5) / 256.
    worst = np.abs(decoded - (images.astype(np.float32) + 0.5) / 256).max((1, 2, 3))
    same = np.isfinite(decoded) & (to_values(decoded) == images)
    return worst, (~same).sum((1, 2, 3), dtype=np.int64)


def summary(worst: Float[np.ndarray, " n"], changed: Int[np.ndarray, " n"], values: int) -> RoundTrip:
    """The figures of all images, from those of each (`differences`) and how many 8-bit values one has."""
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
    """`differences` of pairs of arrays, one after the other; a pair at a time is in memory. There may be none."""
    worst, changed = [np.zeros(0, np.float32)], [np.zeros(0, np.int64)]
    for images, decoded in pairs:
        for kept, found in zip((worst, changed), differences(images, decoded), strict=True):
            kept.append(found)
    return np.concatenate(worst), np.concatenate(changed)


def round_trip(model: Model, images: Images, dtype: str = "float32") -> RoundTrip:
    """Encodes images in float32 and decodes their latents, a batch after the other.

    Args:
      model: from `api.load`.
      images: uint8, (n, R, R, 3).
      dtype: the dtype of the decoding networks' arithmetic.
    """
    decoded = model.decode_batches(model.encode_batches(images), as_float=True, dtype=dtype)
    pairs = zip(cut([images], model.batch_size), decoded, strict=True)
    return summary(*all_differences(pairs), images[0].size)


def strange_images(resolution: int, count: int = 8, seed: int = 0) -> Iterator[tuple[str, Images]]:
    """Images far from any set of pictures, by what they are.

    Args:
      resolution: R, pixels.
      count: the count of each kind.
      seed: what is drawn at random.
    """
    rng = np.random.default_rng(seed)
    shape = (count, resolution, resolution, 3)
    yield "noise", rng.integers(0, 256, shape).astype(np.uint8)
    levels = np.linspace(0, 255, count).round().astype(np.uint8)
    yield "constant", np.broadcast_to(levels[:, None, None, None], shape).copy()
    rows, columns = np.indices((resolution, resolution))
    squares = [((rows // 2**i + columns // 2**i) % 2 * 255).astype(np.uint8) for i in range(count)]
    yield "checkerboard", np.stack([np.repeat(square[..., None], 3, -1) for square in squares])
    yield "text", np.stack([_page(resolution, i) for i in range(count)])


def _page(resolution: int, number: int) -> UInt8[np.ndarray, "R R 3"]:
    page = Image.new("RGB", (resolution, resolution), "white")
    draw, size = ImageDraw.Draw(page), max(8, resolution // 8)
    for line in range(resolution // size + 1):
        draw.text((0, line * size), f"z = f(x) {number * 7 + line}", fill="black", font=ImageFont.load_default(size))
    return np.array(page)
