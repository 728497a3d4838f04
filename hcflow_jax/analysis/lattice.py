"""The energy of lattices of a given period in the spectra of images. Checkerboard artefacts raise this energy.

A pattern that repeats every P pixels has energy only at the frequencies (i / P, j / P) cycles per pixel. Frequencies
that a pattern of period P / 2 has too are counted for that period only. So period 2 has (1/2, 0), (0, 1/2) and
(1/2, 1/2); period 4 has the 12 other frequencies (i / 4, j / 4); and period 8 has the 48 other frequencies
(i / 8, j / 8). A checkerboard with squares of P / 2 pixels has odd i and j, so it raises only the number of period P.

The energy at such a frequency is divided by the geometric mean of the energies of its 16 neighbours. The neighbours
form a square ring at a distance of 2 frequency steps, because Hann's window spreads the energy of a pattern over 1
step. The power of natural images falls with the radius as r^-a. For such power, the geometric mean is about the power
at the frequency itself, because log r is harmonic: its mean on a circle that does not contain zero is its value at
the centre. Edges that are parallel to the sides of an image give more energy on the axes of the spectrum than next to
them. So a frequency on an axis is compared with its two neighbours on that axis, with weights that give log r the
right mean.

At 1/2 cycles per pixel, all neighbours are nearer to frequency zero. If the spectrum still falls there, the number of
period 2 is below 1 for images without a lattice, for example 0.75 for a = 2. So compare samples with real images, not
with 1.
"""

import numpy as np
from jaxtyping import Float

from hcflow_jax.analysis.measured import Mean, jackknife
from hcflow_jax.errors import InputError

PERIODS = (2, 4, 8)  # periods of the lattices, pixels
_APART = 2  # distance of the neighbours, frequency steps
_LEAST = 4  # least frequency steps between two frequencies of a lattice: the neighbours lie half-way or nearer
_CHUNK = 256  # images whose leave-one-out means are in memory at once


class Lattice:
    """The frequencies of lattices in images of one size, and their neighbours.

    Attributes:
      side: R, pixels.
      periods: the periods P of `PERIODS` that fit: P divides R, and R is at least 4 P.
      members: period -> indices of its frequencies among all frequencies of the lattices.
      weights: the weights of each frequency's 16 neighbours, (points, 16).
    """

    def __init__(self, side: int):
        """Finds the frequencies and their neighbours.

        Args:
          side: R, pixels, even.

        Raises:
          InputError: no period fits.
        """
        self.side = side
        self.periods = tuple(p for p in PERIODS if side % p == 0 and side >= _LEAST * p)
        if not self.periods:
            raise InputError(f"images are of {side} pixels; expected an even number, at least 8")
        points: list[tuple[int, int]] = []
        self.members: dict[int, np.ndarray] = {}
        for period in self.periods:
            step = side // period
            own = [
                (a, b) for a in range(0, side, step) for b in range(0, side, step) if a % (2 * step) or b % (2 * step)
            ]
            self.members[period] = np.arange(len(points), len(points) + len(own))
            points += own
        neighbours = [_neighbours(point, side) for point in points]
        places = np.array(
            [[point, *(place for place, _ in near)] for point, near in zip(points, neighbours, strict=True)]
        )
        self._rows, self._columns = places[..., 0] % side, places[..., 1] % side
        self.weights = np.array([[weight for _, weight in near] for near in neighbours])

    def take(self, powers: Float[np.ndarray, "n R R"]) -> Float[np.ndarray, "n points 17"]:
        """The power at each frequency of the lattices, and at its 16 neighbours."""
        return powers[:, self._rows, self._columns]


def ratios(lattice: Lattice, taken: Float[np.ndarray, "n points 17"]) -> dict[int, Mean]:
    """The energy of each lattice relative to the energy of its neighbours, from the mean power of n images.

    The power at a frequency is divided by the power of its neighbours, and averaged over the frequencies of a period.
    1 means no lattice. For white noise the result is larger by about 1 / (6 n), because the logarithm of an estimated
    power is too low on average.

    Args:
      lattice: the lattices for the size of the images.
      taken: from `Lattice.take`, for images that are divided by their standard deviation. All values are positive.

    Returns:
      Period -> ratio, with the jackknife's standard error over images.
    """
    n, total = len(taken), taken.sum(0, dtype=np.float64)
    whole = _by_period(lattice, (total / n)[None])
    without: dict[int, list[np.ndarray]] = {period: [] for period in lattice.periods}
    for start in range(0, n if n > 1 else 0, _CHUNK):
        left = (total - taken[start : start + _CHUNK]) / (n - 1)
        for period, values in _by_period(lattice, left).items():
            without[period].append(values)
    none = [np.empty(0)]
    return {p: jackknife(float(whole[p][0]), np.concatenate(without[p] or none)) for p in lattice.periods}


def _by_period(lattice: Lattice, means: Float[np.ndarray, "m points 17"]) -> dict[int, Float[np.ndarray, " m"]]:
    near = np.exp((np.log(means[..., 1:]) * lattice.weights).sum(-1))
    each = means[..., 0] / near
    return {period: each[:, places].mean(1) for period, places in lattice.members.items()}


def _neighbours(point: tuple[int, int], side: int) -> list[tuple[tuple[int, int], float]]:
    """The 16 neighbours of a frequency, with weights whose sum is 1. On an axis, all but two weights are 0."""
    a, b = point
    reach = range(-_APART, _APART + 1)
    ring = [(i, j) for i in reach for j in reach if max(abs(i), abs(j)) == _APART]
    if a and b:
        return [((a + i, b + j), 1 / len(ring)) for i, j in ring]
    radius = max(min(a, side - a), min(b, side - b))
    # The spectrum is symmetric about 1/2 cycles per pixel, so both neighbours there are nearer to zero.
    outer = radius + _APART if 2 * radius < side else radius - _APART
    inner = radius - _APART
    weight = 0.5 if outer == inner else float(np.log(outer / radius) / np.log(outer / inner))
    towards = 1 if (a or b) > side // 2 else -1  # the step towards zero
    on_axis = {
        (towards * _APART * (a > 0), towards * _APART * (b > 0)): weight,
        (-towards * _APART * (a > 0), -towards * _APART * (b > 0)): 1 - weight,
    }
    return [((a + i, b + j), on_axis.get((i, j), 0.0)) for i, j in ring]
