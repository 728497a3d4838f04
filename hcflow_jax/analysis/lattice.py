"""The energy of a lattice of some period in the spectra of images: what a checkerboard artefact raises.

A pattern that repeats every P pixels has energy only at the frequencies (i / P, j / P) cycles a pixel. Those that
a pattern of period P / 2 has too are left to that period: period 2 has (1/2, 0), (0, 1/2) and (1/2, 1/2); period 4
the 12 others with i / 4 and j / 4; period 8 the 48 others with i / 8 and j / 8. A checkerboard of squares of P / 2
pixels has odd i and j, so it raises the number of period P and no other.

The energy at such a frequency is compared with that of its neighbours, at a distance of 2 frequency steps (Hann's
window spreads a pattern's energy over 1 step): the geometric mean over the square ring of 16 neighbours. If power
falls with the radius as r^-a, as that of pictures does, this mean is about the power at the frequency itself, because
log r is harmonic: its mean on a circle that leaves out zero is its value in the middle. On an axis there is more
energy than beside it, from edges along the image's sides. So a frequency on an axis is compared with its two
neighbours on that axis, weighted such that log r has the right mean.

At 1/2 cycles a pixel all neighbours are nearer to frequency zero. If the spectrum still falls there, period 2 of
pictures without a lattice is below 1, such as 0.75 for a = 2. So compare samples with real images, not with 1.
"""

import numpy as np
from jaxtyping import Float

from hcflow_jax.analysis.measured import Mean, jackknife
from hcflow_jax.errors import InputError

PERIODS = (2, 4, 8)  # pixels
_APART = 2  # frequency steps
_LEAST = 4  # frequency steps from one frequency of a lattice to the next: neighbours lie half-way
_CHUNK = 256  # images


class Lattice:
    """The frequencies of lattices in images of one size, and their neighbours.

    Attributes:
      side: R, pixels.
      periods: those of `PERIODS` that fit: P divides R, and R is at least 4 P.
      members: by period, the places of its frequencies among all of the lattice's.
    """

    def __init__(self, side: int):
        """Args:
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
    """The energy of each lattice in units of its neighbours', from the mean power of n images.

    A frequency's power is divided by its neighbours'; a period has the mean over its frequencies. 1: no lattice. For
    white noise it is larger by about 1 / (6 n), because the logarithm of an estimated power is too low.

    Args:
      lattice: the lattice of the images' size.
      taken: positive, from `Lattice.take`, of images that are divided by their standard deviation.

    Returns:
      By period; the standard error is the jackknife's over images.
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
    """The 16 neighbours of a frequency, with weights that add up to 1; on an axis all but two weights are 0."""
    a, b = point
    reach = range(-_APART, _APART + 1)
    ring = [(i, j) for i in reach for j in reach if max(abs(i), abs(j)) == _APART]
    if a and b:
        return [((a + i, b + j), 1 / len(ring)) for i, j in ring]
    radius = max(min(a, side - a), min(b, side - b))
    # At 1/2 cycles a pixel both neighbours are nearer to zero: the spectrum is symmetric there.
    outer = radius + _APART if 2 * radius < side else radius - _APART
    inner = radius - _APART
    weight = 0.5 if outer == inner else float(np.log(outer / radius) / np.log(outer / inner))
    towards = 1 if (a or b) > side // 2 else -1  # the step towards zero
    on_axis = {
        (towards * _APART * (a > 0), towards * _APART * (b > 0)): weight,
        (-towards * _APART * (a > 0), -towards * _APART * (b > 0)): 1 - weight,
    }
    return [((a + i, b + j), on_axis.get((i, j), 0.0)) for i, j in ring]
