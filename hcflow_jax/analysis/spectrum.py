"""Power spectra of sets of images, and the energy of lattices of period 2, 4 and 8 pixels: aliasing (Section 3.1).

For one channel x of an image, a window w, and m = sum(w x) / sum(w), the power at a frequency f is

    P(f) = |DFT(w (x - m))(f)|^2 / (R^2 sum(w^2)),   in squared 8-bit levels,

averaged over the three channels. By Parseval's theorem, the sum of P over all frequencies is the windowed variance of
the image, sum(w^2 (x - m)^2) / sum(w^2). The default window is Hann's, on both axes. Without a window, the jump
between opposite edges of an image spreads power over the axes of the spectrum. Use "none" for periodic images.
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
ROUNDING = 1 / 12  # the variance of rounding to 8 bits, squared 8-bit levels
_NOTHING = 1e-9  # an image with at most this variance counts as constant, squared 8-bit levels
_BATCH = 256  # the most images whose spectra are computed at once
_PIXELS = 2**22  # the most pixels of these images


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """The spectrum of a set of n images.

    Frequencies are grouped in rings: ring k contains the frequencies with |f| R between k - 1/2 and k + 1/2. Ring 0
    contains only frequency zero, which has no power because the mean is subtracted.

    Attributes:
      count: n.
      resolution: R, pixels.
      window: one of `WINDOWS`.
      frequency: the frequency of each ring in cycles per pixel, (rings,). Rings above 0.5 contain only the corners of
        the spectrum.
      members: the number of frequencies of each ring, (rings,). Their sum is R^2.
      power: the mean over a ring's frequencies and over images, in squared 8-bit levels, (rings,).
      relative: the same, but each image is first divided by its standard deviation, and the result is divided by the
        power of white noise of the same variance, (rings,). White noise has 1. Exceptions are ring 0 and, with Hann's
        window, rings 1 and 2, which have less because the mean is subtracted.
      relative_error: the standard error of `relative` over images, (rings,); NaN for a single image.
      lattice: period in pixels -> energy at the frequencies of the lattice relative to that of their neighbours (see
        the module `lattice`), with its standard error over images. 1 means no lattice.
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
        """`relative` in dB. White noise of the same variance has 0 dB; a ring without power has -inf."""
        with np.errstate(divide="ignore"):
            return 10 * np.log10(self.relative)

    def as_dict(self) -> dict[str, Any]:
        """The ratios of the lattices and everything that they depend on, as plain values for JSON."""
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
        """The radial spectrum for CSV, one row for each ring. Frequency zero is left out."""
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
    """Computes the spectrum of a set of images.

    Args:
      images: (n, R, R, 3) uint8, or an iterable of such arrays, such as `Model.sample_batches`.
      window: "hann" or "none".
      count: n, for `tell`; None: the number of images done so far.
      tell: is called with "spectrum", the images done, and their number.

    Raises:
      InputError: the window is unknown, there is no image, or the images are not uint8 (n, R, R, 3) with one even R
        of at least 8.
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
        # Add the power of rounding everywhere, so that frequencies without energy give the ratio 1.
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
    """P(f) of each image, in squared 8-bit levels, with NumPy's order of frequencies on both axes (0, ..., -1/R)."""
    side = images.shape[1]
    line = np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2 if window == "hann" else np.ones(side)
    weights = (line[:, None] * line)[..., None]
    x = images.astype(np.float64)
    centred = weights * (x - (weights * x).sum((1, 2), keepdims=True) / weights.sum())
    return (np.abs(np.fft.fft2(centred, axes=(1, 2))) ** 2).mean(-1) / (side**2 * (weights**2).sum())


def against(samples: Spectrum, reals: Spectrum) -> dict[int, Mean]:
    """Divides the lattice energies of samples by those of real images.

    Returns:
      Period -> quotient. 1 means that the samples have as much energy of the lattice as the real images. The standard
      error assumes that the two sets are independent.
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
    """The lattice energies as lines of text for a person.

    Args:
      spectra: name of the set -> its spectrum.
      reals: the name of the set that the others are compared with; None: no comparison.
    """
    lines = []
    for name, each in spectra.items():
        beside = against(each, spectra[reals]) if reals is not None and name != reals else {}
        for period, number in each.lattice.items():
            more = f"   over {reals}: {beside[period]}" if period in beside else ""
            lines.append(f"{name:<16} period {period}: {number}{more}")
    return lines


def picture(path: str | Path, spectra: Mapping[str, Spectrum]) -> None:
    """Draws the radial spectra of several sets in one diagram, in dB.

    Args:
      path: the path of the PNG.
      spectra: name of the set -> its spectrum.

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
    """The rings of frequencies, see `Spectrum`.

    Attributes:
      side: R, pixels.
      members: the number of frequencies of each ring.
    """

    def __init__(self, side: int):
        """Groups the frequencies of images of `side` x `side` pixels."""
        self.side = side
        line = np.fft.fftfreq(side) * side
        self._ring = np.rint(np.hypot(line[:, None], line)).astype(np.int64).reshape(-1)
        self.members = np.bincount(self._ring)

    def means(self, powers: Float[np.ndarray, "n R R"]) -> Float[np.ndarray, "n rings"]:
        """The mean power of each ring."""
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
