"""Latents of images: one array per level, coarse to fine, as a pytree that keeps that order."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from hcflow_jax.errors import InputError

Array = Float[np.ndarray, "n *shape"]


@jax.tree_util.register_pytree_with_keys_class
class Latents:
    """z by level, coarse to fine; immutable.

    `latents["8"]` is a level's array, (n, ...); `latents[2:4]` are those of some of the images; `len` counts images.
    """

    def __init__(self, by_level: Mapping[str, Any]):
        """Takes arrays (n, ...) by level name, in the order coarse to fine."""
        self._by_level = dict(by_level)

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
          KeyError: there is no such level.
        """
        for name in by_level:
            self._known(name)
        return Latents({**self._by_level, **by_level})

    def __getitem__(self, which: Any) -> Any:
        if isinstance(which, str):
            return self._by_level[self._known(which)]
        which = slice(which, which + 1 or None) if isinstance(which, int | np.integer) else which
        return Latents({name: array[which] for name, array in self._by_level.items()})

    def __len__(self) -> int:
        return len(next(iter(self._by_level.values())))

    def __iter__(self) -> Iterator["Latents"]:
        return (self[i] for i in range(len(self)))

    def __contains__(self, name: object) -> bool:
        return name in self._by_level

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}: {tuple(np.shape(array))}" for name, array in self._by_level.items())
        return f"Latents({shapes})"

    def _known(self, name: str) -> str:
        if name not in self._by_level:
            raise KeyError(f"no level {name!r}; there are {', '.join(self._by_level)}")
        return name

    def tree_flatten_with_keys(self) -> tuple[tuple[Any, ...], tuple[str, ...]]:
        """For jax: children are the arrays, coarse to fine."""
        children = tuple((jax.tree_util.DictKey(name), array) for name, array in self._by_level.items())
        return children, self.names

    @classmethod
    def tree_unflatten(cls, names: tuple[str, ...], children: tuple[Any, ...]) -> "Latents":
        """For jax."""
        return cls(dict(zip(names, children, strict=True)))


def concatenate(parts: list[Latents]) -> Latents:
    """Latents of several calls as those of one."""
    return Latents({name: np.concatenate([part[name] for part in parts]) for name in parts[0].names})


def between(a: Any, b: Any, weights: Float[np.ndarray, " n"], how: str) -> Float[np.ndarray, "n *shape"]:
    """Points from one array to another.

    Args:
      a, b: of one image, the same shape.
      weights: 0 gives a, 1 gives b.
      how: "linear", or "spherical": along the arc between their directions, at a length that goes linearly from
        one's to the other's. Where the two are parallel or one is zero, the arc is the line.

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
