"""Checks the arguments of all bijectors, and converts their dtypes.

`Bijector.__init_subclass__` wraps the methods of each subclass with `enforce`. So the rules also hold for bijectors
that you write, and no bijector's file repeats them. The checks run while jax traces; a compiled program has no
additional operations.

The dtypes: bfloat16 and float16 become float32. float64 stays float64, if jax has it enabled. Integers are refused.
z, log_det and fresh parameters have the same dtype as x then has. Inside, mixed dtypes and ranks are promoted,
regardless of JAX's settings.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hcflow_jax import settings
from hcflow_jax.errors import InputError


def at_least_float32(x: Any) -> Any:
    """The dtype of the computation with x: float64 for float64, otherwise float32."""
    return jnp.promote_types(x.dtype, jnp.float32)


def describe(tree: Any) -> str:
    """The shape of an array, or the shapes of a tree of arrays, for a message."""
    if tree is None:
        return "None"
    shape = lambda leaf: tuple(leaf.shape) if hasattr(leaf, "shape") else type(leaf).__name__  # noqa: E731
    return str(jax.tree.map(shape, tree))


def cast(tree: Any, dtype: Any) -> Any:
    """The tree with its floating-point leaves in `dtype`; other leaves stay."""
    return jax.tree.map(lambda a: a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree)


def as_input(name: str, x: Any, leaving: int = 0) -> Any:
    """Checks the input of a bijector and converts its dtype.

    Args:
      name: the name of the bijector, for messages.
      x: an array (batch, ..., channels); if `leaving` > 0, a tuple of 1 + `leaving` such arrays.
      leaving: how many latents have left early.

    Returns:
      jax arrays of one dtype, float32 or float64.

    Raises:
      InputError: x is not such an array: for example a list, integers, or a single example without a batch axis.
    """
    if not leaving:
        x = _array(name, x)
        return x.astype(at_least_float32(x))
    if not isinstance(x, tuple) or len(x) != 1 + leaving:
        raise InputError(
            f"{name}: its latent is a tuple of {1 + leaving} arrays, with the factored-out ones first; "
            f"given: {f'a tuple of {len(x)}' if isinstance(x, tuple) else _kind(x)}"
        )
    arrays = tuple(_array(name, each) for each in x)
    return cast(arrays, functools.reduce(jnp.promote_types, (at_least_float32(a) for a in arrays)))


def _array(name: str, x: Any) -> Any:
    if isinstance(x, jax.ShapeDtypeStruct):
        x = jnp.zeros(x.shape, x.dtype)
    if not isinstance(x, jax.Array | np.ndarray):
        raise InputError(f"{name}: x must be an array of shape (batch, ..., channels), not {_kind(x)}")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise InputError(
            f"{name}: x must be floating point (float32, say), not {x.dtype}; it has shape {tuple(x.shape)}"
        )
    if x.ndim < 2:
        raise InputError(
            f"{name}: x must be (batch, ..., channels), but has shape {tuple(x.shape)}; "
            "a single example needs a batch axis: x[None]"
        )
    return jnp.asarray(x)


def _kind(x: Any) -> str:
    return f"an array of shape {tuple(x.shape)}" if hasattr(x, "shape") else f"a {type(x).__name__}"


def enforce(cls: type) -> None:
    """Wraps those methods that the class itself defines, not the inherited ones."""
    for method, wrap in _WRAPPERS.items():
        if method in cls.__dict__ and not getattr(cls.__dict__[method], "__isabstractmethod__", False):
            setattr(cls, method, wrap(cls.__dict__[method]))


def _create(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    @settings.promotion()
    def create(self: Any, key: Any, x: Any, cond: Any = None) -> Any:
        x = as_input(type(self).__name__, x)
        _check_cond(self, cond)
        return cast(method(self, key, x, cond), x.dtype)

    return create


def _calibrate(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    @settings.promotion()
    def calibrate(self: Any, params: Any, x: Any, cond: Any = None) -> Any:
        x = as_input(type(self).__name__, x)
        _check_cond(self, cond)
        with _naming(type(self).__name__, params):
            return cast(method(self, params, x, cond), x.dtype)

    return calibrate


def _direction(inverse: bool) -> Callable[..., Any]:
    def wrap(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        @settings.promotion()
        def run(self: Any, params: Any, x: Any, cond: Any = None) -> Any:
            x = as_input(type(self).__name__, x, self.leaving if inverse else 0)
            _check_cond(self, cond)
            with _naming(type(self).__name__, params):
                return cast(method(self, params, x, cond), jax.tree.leaves(x)[0].dtype)

        return run

    return wrap


_WRAPPERS = {
    "create": _create,
    "calibrate": _calibrate,
    "forward": _direction(inverse=False),
    "inverse": _direction(inverse=True),
}


def _check_cond(self: Any, cond: Any) -> None:
    if cond is not None and not self.takes_cond:
        raise InputError(
            f"{type(self).__name__}: it has no conditioning, so cond must be None; given: {describe(cond)}"
        )


@contextmanager
def _naming(name: str, params: Any) -> Iterator[None]:
    """Turns the error for missing or wrong parameters into an `InputError` that names the bijector and the entry."""
    try:
        yield
    except KeyError as error:
        if not isinstance(params, Mapping) or error.args[0] in params:
            raise
        has = ", ".join(map(repr, params)) or "none"
        raise InputError(f"{name}: params has no entry {error.args[0]!r}; its entries: {has}") from error
    except (TypeError, IndexError) as error:
        if params is not None and not isinstance(params, list | tuple | jax.Array | np.ndarray):
            raise
        raise InputError(f"{name}: params must be the dict that init gives, not {_kind(params)}") from error
