"""Compares the log-determinants that a model computes with those of its autodiff Jacobians."""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float, UInt8

from hcflow_jax import devices, settings
from hcflow_jax.api import Model
from hcflow_jax.compiling import compile_options
from hcflow_jax.data import preprocessing
from hcflow_jax.evaluation import shares
from hcflow_jax.models import ImageModel

Images = UInt8[np.ndarray, "n R R 3"]
Tell = Callable[[str, int, int], object]

ABSOLUTE, RELATIVE = 1e-2, 1e-4  # two log-dets may differ by this many nats plus this fraction of their size
WHOLE = "whole"  # the name of the map from the image to all latents
_ROWS = 64  # rows of a Jacobian that are computed at once


@dataclasses.dataclass(frozen=True)
class LogDets:
    """Log-determinants of one map, one number for each image, in nats.

    Attributes:
      level: the name of a level, or "whole".
      dims: the number of dims of the map.
      stated: those that the model's `encode` returns; for the whole map, the sum over the levels.
      jacobian: those of the autodiff Jacobian. None: the map has too many dims.
      inverse: those that the map's inverse returns, at the latents. None: the inverse returns none.
    """

    level: str
    dims: int
    stated: tuple[float, ...]
    jacobian: tuple[float, ...] | None
    inverse: tuple[float, ...] | None

    @property
    def error(self) -> float | None:
        """The largest |stated - jacobian|, in nats; None if there is no Jacobian."""
        return None if self.jacobian is None else _largest(np.subtract(self.stated, self.jacobian))

    @property
    def inverse_error(self) -> float | None:
        """The largest |stated + inverse|, in nats; None if the inverse returns no log-determinant."""
        return None if self.inverse is None else _largest(np.add(self.stated, self.inverse))

    @property
    def within(self) -> bool:
        """Whether no log-determinant differs from `stated` by more than `ABSOLUTE` + `RELATIVE` |stated|."""
        stated = np.array(self.stated)
        allowed = ABSOLUTE + RELATIVE * np.abs(stated)
        negated = [(self.jacobian, -1), (self.inverse, 1)]
        with np.errstate(invalid="ignore"):  # a comparison with NaN is False, so NaN is not within the limit
            each = [
                np.abs(stated + sign * np.array(other)) <= allowed for other, sign in negated if other is not None
            ]
        return bool(np.isfinite(stated).all() and np.all(each))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON. Numbers that are not finite become None."""
        numbers = {name: plain(getattr(self, name)) for name in ("stated", "jacobian", "inverse")}
        errors = {name: plain(getattr(self, name)) for name in ("error", "inverse_error")}
        return {"level": self.level, "dims": self.dims, **numbers, **errors, "within": self.within}


def _largest(differences: np.ndarray) -> float:
    return float(np.abs(differences).max())


def plain(value: Any) -> Any:
    """Numbers for JSON: tuples become lists, and numbers that are not finite become None."""
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    return None if value is None or not math.isfinite(value) else value


def log_dets(model: Model, images: Images, most_dims: int, tell: Tell = lambda *_: None) -> tuple[LogDets, ...]:
    """Compares the log-determinants of a model's `encode` with those of autodiff and of its inverses.

    The maps are those of `ImageModel.level_maps`. If the latents have as many dims as the image, there is one more:
    the map from the image to all latents. Its log-determinant is the sum over the levels. A Jacobian is computed in
    float32, and its determinant in float64 on the host. If there are several processes, all of them must call this
    function with the same images, and each computes its share of the Jacobians.

    Args:
      model: from `api.load`.
      images: uint8, (n, R, R, 3). The Jacobians are computed for each image.
      most_dims: the Jacobian of a map with more dims is not computed.
      tell: is called with what is computed, the number of rows done, and the number of all rows.

    Returns:
      The log-determinants of every map.
    """
    own = model.image_model
    stated = model.encode(images, log_dets=True)[1]
    stated[WHOLE] = np.sum([np.asarray(each, np.float64) for each in stated.values()], 0)
    dims: dict[str, int] = {}
    jacobian: dict[str, list[float]] = {}
    inverse: dict[str, list[float]] = {}
    with settings.own(), jax.default_matmul_precision("highest"):
        maps_at = _compiled_maps(own)
        for i, image in enumerate(images):
            maps, inverses = maps_at(model.prepared, preprocessing.to_x(jnp.asarray(image[None])))
            for level in (name for name in (*own.level_names, WHOLE) if name in maps):
                y, forward = maps[level]
                dims[level] = y.size
                if level in inverses:
                    inverse.setdefault(level, []).append(float(devices.fetch(inverses[level])[0]))
                if y.size <= most_dims:
                    what = f"Jacobian of level {level}, image {i + 1} of {len(images)}"
                    mine = sum(map(len, jacobian.values())) % jax.process_count() == jax.process_index()
                    jacobian.setdefault(level, []).append(_log_det(forward, y, partial(tell, what)) if mine else 0.0)
    shared = {level: shares.gathered(np.array([values])).sum(0) for level, values in jacobian.items()}
    return tuple(
        LogDets(level, size, *(_numbers(each.get(level)) for each in (stated, shared, inverse)))
        for level, size in dims.items()
    )


def _numbers(values: Any) -> Any:
    return None if values is None else tuple(map(float, values))


def _compiled_maps(own: ImageModel) -> Callable[..., Any]:
    """Makes a jitted function that computes the maps of an image.

    It takes (params, x). It returns {level: (input of the map, the map)}, with `WHOLE` among the levels if that map
    keeps the number of dims, and {level: log-determinants of the inverse}.
    """
    latent_dims = sum(math.prod(shape) for shape in own.latent_shapes.values())

    def whole(params: Any, x: Array) -> tuple[Array, Array]:
        z, by_level = own.encode(params, x)
        flat = [z[n].reshape(len(x), -1) for n in own.level_names]
        return jnp.concatenate(flat, -1), sum(by_level.values(), jnp.zeros(len(x)))

    def maps_at(params: Any, x: Array) -> Any:
        by_level = own.level_maps(params, x)
        maps = {n: (each.y, each.forward) for n, each in by_level.items()}
        if latent_dims == math.prod(own.image_shape):
            maps[WHOLE] = x, Partial(whole, params)
        return maps, {n: each.inverse(each.forward(each.y)[0])[1] for n, each in by_level.items()}

    return jax.jit(maps_at, compiler_options=compile_options(once=True))


def _rows(forward: Partial, y: Array, start: Array) -> Float[Array, "rows d"]:
    """Computes `_ROWS` rows of the Jacobian, from row `start`. Rows past its end are 0.

    It uses reverse mode, because every model that trains supports it.
    """
    z, pull = jax.vjp(lambda y: forward(y)[0].reshape(-1), y)
    unit = jax.nn.one_hot(start + jnp.arange(_ROWS), z.size, dtype=z.dtype)
    return jax.vmap(pull)(unit)[0].reshape(_ROWS, -1)


def _log_det(forward: Partial, y: Array, tell: Callable[[int, int], object]) -> float:
    """log|det dz/dy| of the map of one image, in nats."""
    rows, jacobian = jax.jit(_rows, compiler_options=compile_options()), np.empty((y.size, y.size))
    for start in range(0, y.size, _ROWS):
        stop = min(start + _ROWS, y.size)
        jacobian[start:stop] = devices.fetch(rows(forward, y, np.int32(start)))[: stop - start]
        tell(stop, y.size)
    with np.errstate(invalid="ignore"):  # of a matrix that is not finite, it is NaN
        return float(np.linalg.slogdet(jacobian)[1])
