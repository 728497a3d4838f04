"""Latents of images: one array for each level, coarse to fine, in a pytree that keeps this order."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from hcflow_jax.errors import ImageIndexError, InputError, LevelNameError

Array = Float[np.ndarray, "n *shape"]


@jax.tree_util.register_pytree_with_keys_class
class Latents:
    """z by level, coarse to fine; immutable.

    `latents["8"]` is a level's array, (n, ...); `len` counts images. `Latents` of some of the images: `latents[3]`,
    `latents[-1]` (of one), `latents[2:4]`, `latents[[4, 0]]`, `latents[mask]` with n booleans.
    """

    def __init__(self, by_level: Mapping[str, Any]):
        """Makes latents from arrays (n, ...) by level name, in the order coarse to fine.

        Raises:
          InputError: it is not a mapping, or a name is not text.
        """
        if not isinstance(by_level, Mapping):
            raise InputError(f"by_level is {type(by_level).__name__}: expected arrays by level name")
        self._by_level = dict(by_level)
        if wrong := [name for name in self._by_level if not isinstance(name, str)]:
            raise InputError(f"by_level names a level {wrong[0]!r}: names are text, such as '8'")

    @classmethod
    def from_dict(cls, by_level: Mapping[str, Any]) -> "Latents":
        """The same as the constructor; the inverse of `as_dict`."""
        return cls(by_level)

    @property
    def names(self) -> tuple[str, ...]:
        """The levels, coarse to fine."""
        return tuple(self._by_level)

    def as_dict(self) -> dict[str, Any]:
        """The arrays by level, coarse to fine."""
        return dict(self._by_level)

    def items(self) -> Iterator[tuple[str, Any]]:
        """(level, array), coarse to fine."""
        return iter(self._by_level.items())

    def replace(self, **by_level: Any) -> "Latents":
        """A copy with other arrays for some levels: `latents.replace(**{"8": z})`.

        Raises:
          LevelNameError: the level does not exist. The error is an InputError and a KeyError.
        """
        for name in by_level:
            self._known(name)
        return Latents({**self._by_level, **by_level})

    def __getitem__(self, which: Any) -> Any:
        if isinstance(which, str):
            return self._by_level[self._known(which)]
        rows = _rows(which, len(self))
        some = {}
        for name, array in self._by_level.items():
            try:
                some[name] = (array if hasattr(array, "shape") else np.asarray(array))[rows]
            except (IndexError, ValueError) as error:
                raise InputError(
                    f"latents of level {name} are not an array of {len(self)} images ({error})"
                ) from error
        return Latents(some)

    def __len__(self) -> int:
        for name, array in self._by_level.items():
            if not (shape := np.shape(array)):
                raise InputError(f"latents of level {name} are a single number: expected an array (n, ...)")
            return shape[0]
        return 0

    def __iter__(self) -> Iterator["Latents"]:
        return (self[i] for i in range(len(self)))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._by_level

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}: {tuple(np.shape(array))}" for name, array in self._by_level.items())
        return f"Latents({shapes})"

    def _known(self, name: str) -> str:
        if name not in self._by_level:
            raise LevelNameError(f"no level {name!r}; there are {', '.join(self._by_level)}")
        return name

    def tree_flatten_with_keys(self) -> tuple[tuple[Any, ...], tuple[str, ...]]:
        """For jax: children are the arrays, coarse to fine."""
        children = tuple((jax.tree_util.DictKey(name), array) for name, array in self._by_level.items())
        return children, self.names

    @classmethod
    def tree_unflatten(cls, names: tuple[str, ...], children: tuple[Any, ...]) -> "Latents":
        """For jax."""
        return cls(dict(zip(names, children, strict=True)))


def _rows(which: Any, count: int) -> slice | np.ndarray:
    """Converts an index of images to an index of an array.

    Raises:
      ImageIndexError: a number is not below the count.
      InputError: it is not a number, slice, list of numbers, or mask of `count` booleans.
    """
    expected = "an image's number, a slice, a list of numbers, a mask of booleans, or a level's name"
    if isinstance(which, slice):
        try:
            which.indices(count)
        except (TypeError, ValueError) as error:
            raise InputError(f"latents[{which}]: {error}") from error
        return which
    if which is None or isinstance(which, tuple | bool):
        raise InputError(f"latents[{which!r}]: expected {expected}")
    if isinstance(which, int):
        which = [which]
    try:
        numbers = np.asarray(which)
    except ValueError as error:
        raise InputError(f"latents[{which!r}]: expected {expected}") from error
    if numbers.dtype == bool and numbers.ndim == 1:
        if len(numbers) != count:
            raise InputError(f"latents[mask]: the mask has {len(numbers)} booleans for {count} images")
        return np.flatnonzero(numbers)
    if numbers.shape == (0,):  # an empty list has no whole numbers, says NumPy
        return slice(0, 0)
    if numbers.dtype == object and numbers.ndim == 1 and all(type(i) is int for i in numbers):
        raise ImageIndexError(f"latents[{which!r}]: there are {count} images, 0 to {count - 1}")
    if numbers.ndim > 1 or numbers.dtype.kind not in "iu":
        raise InputError(f"latents[{which!r}]: expected {expected}")
    if outside := [int(i) for i in numbers.reshape(-1) if not -count <= int(i) < count]:
        raise ImageIndexError(f"latents[{outside[0]}]: there are {count} images, 0 to {count - 1}")
    return numbers.reshape(-1).astype(np.int64)


def concatenate(parts: Iterable[Latents]) -> Latents:
    """Joins the latents of several calls.

    Raises:
      InputError: the list is empty, or the levels or shapes differ.
    """
    each = list(parts)
    if not each or not all(isinstance(part, Latents) for part in each):
        raise InputError("parts must be a list of Latents, with at least one")
    if other := [part.names for part in each if set(part.names) != set(each[0].names)]:
        raise InputError(f"parts have levels {', '.join(each[0].names)} and {', '.join(other[0])}")
    try:
        return Latents({name: np.concatenate([part[name] for part in each]) for name in each[0].names})
    except ValueError as error:
        raise InputError(f"parts cannot be joined: {error}") from error


def between(a: Any, b: Any, weights: Float[np.ndarray, " n"], how: str) -> Float[np.ndarray, "n *shape"]:
    """Points from one array to another.

    Args:
      a, b: of one image, the same shape.
      weights: 0 gives a, 1 gives b.
      how: "linear", or "spherical": along the arc between their directions, with a length that changes linearly.
        If the two are parallel or one is zero, the arc is the line.

    Raises:
      InputError: for another `how`.
    """
    if how not in ("linear", "spherical"):
        raise InputError(f"interpolation is linear or spherical, not {how!r}")
    start, end = np.asarray(a, np.float64), np.asarray(b, np.float64)
    t = np.asarray(weights, np.float64).reshape(-1, *[1] * start.ndim)
    line = (1 - t) * start + t * end
    lengths = np.linalg.norm(start), np.linalg.norm(end)
    if how == "linear" or min(lengths) == 0:
        return line.astype(np.float32)
    angle = np.arccos(np.clip(np.vdot(start, end) / (lengths[0] * lengths[1]), -1, 1))
    if np.sin(angle) < 1e-6:
        return line.astype(np.float32)
    arc = (np.sin((1 - t) * angle) * start / lengths[0] + np.sin(t * angle) * end / lengths[1]) / np.sin(angle)
    return (arc * ((1 - t) * lengths[0] + t * lengths[1])).astype(np.float32)
