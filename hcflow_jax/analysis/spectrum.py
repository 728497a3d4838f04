"""Power spectra of sets of images, and the energy of lattices of period 2, 4 and 8 pixels: aliasing (Section 3.1).

For an image x of a channel, a window w and m = sum(w x) / sum(w), the power at a frequency f is

    P(f) = |DFT(w (x - m))(f)|^2 / (R^2 sum(w^2)),   in squares of 8-bit levels, its mean over the three channels.

So the sum of P over all frequencies is the windowed variance of the image, sum(w^2 (x - m)^2) / sum(w^2) (Parseval).
The default window is Hann's, on both axes: without one, the jump between an image's opposite edges would spread power
over the axes of the spectrum. "none" is for images that are periodic.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from hcflow_jax import batches, pictures
from hcflow_jax.analysis.lattice import Lattice, ratios
from hcflow_jax.analysis.measured import Mean, Tell
from hcflow_jax.errors import InputError

Images = UInt8[np.ndarray, "n R R 3"]
WINDOWS = ("hann", "none")
ROUNDING = 1 / 12  # the variance that rounding to 8 bits adds, squares of 8-bit levels
_NOTHING = 1e-9  # squares of 8-bit levels: an even image's variance is this or less
_BATCH = 256  # images whose spectra are computed at once, at most
_PIXELS = 2**22  # and their pixels, at most


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """The spectrum of a set of n images.

    Frequencies are gathered in rings of the radius: ring k has those of |f| R between k - 1/2 and k + 1/2. Ring 0 is
    frequency zero alone, which has no power.

    Attributes:
      count: n.
      resolution: R, pixels.
      window: one of `WINDOWS`.
      frequency: the frequency of each ring, cycles a pixel, (rings,). Above 0.5 there are only the corners of the
        spectrum. members: how many frequencies a ring has; all together R^2. power: mean over a ring's frequencies
        and over images, squares of 8-bit levels, (rings,). relative: the same for images that are each divided by
        their standard deviation first, over the power of white noise of the same variance, (rings,). White noise has
        1, but for ring 0 and, with Hann's window, less in rings 1 and 2, as the image's mean is taken away.
      relative_error: its standard error over images; NaN for a single image.
      lattice: by the period in pixels, the energy at the lattice's frequencies in units of that of their neighbours
        (see `lattice`); 1: no lattice. Its standard error is over images.
    """

    count: int
    resolution: int
    window: str
    frequency: Float[np.ndarray, " rings"]
    members: Int[np.ndarray, " rings"]
    power: Float[np.ndarray, " rings"]
    relative: Float[np.ndarray, " rings"]
    relative_error: Float[np.ndarray, " rings"]
    lattice: Mapping[int, Mean]

    def decibel(self) -> Float[np.ndarray, " rings"]:
        """`relative` in dB: 0 dB is white noise of the same variance; -inf where there is no power."""
        with np.errstate(divide="ignore"):
            return 10 * np.log10(self.relative)

    def as_dict(self) -> dict[str, Any]:
        """The numbers of the lattices and what they depend on, for JSON."""
        return {
            "lattice": {f"period_{period}": each.as_dict() for period, each in self.lattice.items()},
            "protocol": {
                "images": self.count,
                "resolution": self.resolution,
                "window": self.window,
                "unit": "energy at the lattice's frequencies over that of their neighbours",
            },
        }

    def rows(self) -> list[dict[str, float]]:
        """The radial spectrum, a ring a row, for CSV; frequency zero is left out."""
        columns = {
            "cycles_per_pixel": self.frequency,
            "frequencies": self.members,
            "power": self.power,
            "relative": self.relative,
            "relative_error": self.relative_error,
            "decibel": self.decibel(),
        }
        return [{name: float(values[i]) for name, values in columns.items()} for i in range(1, len(self.frequency))]


def spectrum(
    images: Images | Iterable[Images], window: str = "hann", count: int | None = None, tell: Tell = lambda *news: None
) -> Spectrum:
    """The spectrum of a set of images.

    Args:
      images: (n, R, R, 3) uint8, or such arrays one after the other, as `Model.sample_batches` yields them.
      window: "hann" or "none".
      count: n, for `tell`; None: what is done so far.
      tell: is called with "spectrum", the images that are done, and their number.

    Raises:
      InputError: for another window, no image, or images that are not uint8 (n, R, R, 3) of one even R of at least 8.
    """
    if window not in WINDOWS:
        raise InputError(f"window is {' or '.join(WINDOWS)}, not {window!r}")
    rings, lattice = None, None
    sums: list[np.ndarray] = []
    points: list[np.ndarray] = []
    number = 0
    for part in _checked(images):
        side = part.shape[1]
        if rings is None or lattice is None:
            rings, lattice = _Rings(side), Lattice(side)
        if rings.side != side:
            raise InputError(f"images are of {rings.side} and of {side} pixels: expected one size")
        powers = power(part, window)
        total = powers.sum((1, 2))
        floor = ROUNDING / side**2
        relative = rings.means(powers) * ((side**2 - 1) / np.where(total > _NOTHING, total, np.inf))[:, None]
        each = np.stack([rings.means(powers), relative, relative**2])
        sums = [each.sum(1)] if not sums else [sums[0] + each.sum(1)]
        # Rounding's own power is added everywhere: frequencies without any energy then compare as equal.
        points.append(((lattice.take(powers) + floor) / (total + ROUNDING)[:, None, None]).astype(np.float32))
        number += len(part)
        tell("spectrum", number, count or number)
    if rings is None or lattice is None:
        raise InputError("images: there are none")
    means, relative, squares = sums[0] / number
    error = np.full(len(means), np.nan)
    if number > 1:
        error = np.sqrt(np.maximum(squares - relative**2, 0) / (number - 1))
    found = ratios(lattice, np.concatenate(points))
    frequency = np.arange(len(means)) / rings.side
    return Spectrum(number, rings.side, window, frequency, rings.members, means, relative, error, found)


def power(images: Images, window: str = "hann") -> Float[np.ndarray, "n R R"]:
    """P(f) of each image, by NumPy's order of frequencies on both axes (0, 1/R, ..., -1/R)."""
    side = images.shape[1]
    line = np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2 if window == "hann" else np.ones(side)
    weights = (line[:, None] * line)[..., None]
    x = images.astype(np.float64)
    centred = weights * (x - (weights * x).sum((1, 2), keepdims=True) / weights.sum())
    return (np.abs(np.fft.fft2(centred, axes=(1, 2))) ** 2).mean(-1) / (side**2 * (weights**2).sum())


def against(samples: Spectrum, reals: Spectrum) -> dict[int, Mean]:
    """The lattices' energy of samples over that of real images, by period.

    Returns:
      1: the samples have as much of the lattice as the reals. The standard error takes the two sets as independent.
    """
    found = {}
    for period, ours in samples.lattice.items():
        theirs = reals.lattice[period]
        value, error = ours.value / theirs.value, None
        if ours.standard_error is not None and theirs.standard_error is not None:
            parts = ours.standard_error / ours.value, theirs.standard_error / theirs.value
            error = value * float(np.hypot(*parts))
        found[period] = Mean(value, error)
    return found


def table(spectra: Mapping[str, Spectrum], reals: str | None = None) -> list[str]:
    """The lattices' numbers for a person, a line each.

    Args:
      spectra: by the set's name.
      reals: the set that the others are compared with; None: none.
    """
    lines = []
    for name, each in spectra.items():
        beside = against(each, spectra[reals]) if reals is not None and name != reals else {}
        for period, number in each.lattice.items():
            more = f"   over {reals}: {beside[period]}" if period in beside else ""
            lines.append(f"{name:<16} period {period}: {number}{more}")
    return lines


def picture(path: str | Path, spectra: Mapping[str, Spectrum]) -> None:
    """Draws radial spectra of several sets over one axis, in dB.

    Args:
      path: the path of the PNG.
      spectra: by the set's name.

    Raises:
      MissingExtraError: matplotlib is not installed.
    """
    series = {name: (each.frequency[1:], each.decibel()[1:]) for name, each in spectra.items()}
    pictures.curve(
        path,
        series,
        "Radial power spectrum",
        "frequency, cycles a pixel",
        "power, dB over white noise of the same variance",
    )


class _Rings:
    """Frequencies by their radius."""

    def __init__(self, side: int):
        """Args:
        side: R.
        """
        self.side = side
        line = np.fft.fftfreq(side) * side
        self._ring = np.rint(np.hypot(line[:, None], line)).astype(np.int64).reshape(-1)
        self.members = np.bincount(self._ring)

    def means(self, powers: Float[np.ndarray, "n R R"]) -> Float[np.ndarray, "n rings"]:
        flat = powers.reshape(len(powers), -1)
        sums = np.stack([np.bincount(self._ring, weights=row) for row in flat])
        return sums / self.members


def _checked(images: Images | Iterable[Images]) -> Iterator[Images]:
    for array in [images] if isinstance(images, np.ndarray) else images:
        given = np.asarray(array)
        side = given.shape[1] if given.ndim == 4 else 0
        if given.dtype != np.uint8 or given.shape[1:] != (side, side, 3) or side < 8 or side % 2:
            raise InputError(
                f"images are {given.dtype} {given.shape}: expected uint8 (n, R, R, 3), R even and at least 8"
            )
        yield from batches.cut([given], max(1, min(_BATCH, _PIXELS // side**2)))
