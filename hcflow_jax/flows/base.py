"""What a bijector is: pure functions of (params, x, cond) behind a frozen dataclass of hyperparameters.

Every bijector maps data to latents in `forward` and back in `inverse`; a log-det is log|det dz/dx| of `forward`
(or of `inverse`, its negative) per sample, in nats and float32. Shapes are (batch, ..., channels) with any number
of spatial dimensions, none included; `forward` keeps the shape.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hcflow_jax import parameters

Params = Any
Cond = Any
LogDet = Float[Array, " batch"]
PulledBack = tuple[Array, tuple[Params, Array, Cond]]  # x, and the gradients of params, x and cond

_T = TypeVar("_T", bound=type)


def constant() -> Any:
    """A dataclass field that may hold arrays: a constant in which like steps of a `Repeat` may differ."""
    return dataclasses.field(metadata={"constant": True})


@dataclass_transform(frozen_default=True, field_specifiers=(constant, dataclasses.field))
def bijector(cls: _T) -> _T:
    """Makes a class a frozen dataclass and a pytree whose leaves are its `constant` fields alone."""
    made = dataclasses.dataclass(frozen=True)(cls)
    names = {f.name: bool(f.metadata.get("constant")) for f in dataclasses.fields(made)}
    jax.tree_util.register_dataclass(
        made,
        data_fields=[name for name, is_constant in names.items() if is_constant],
        meta_fields=[name for name, is_constant in names.items() if not is_constant],
    )
    return made


class Bijector:
    """The interface. A subclass gives `forward` and `inverse`, and `create` where it has parameters."""

    def create(self, key: Array, x: Array, cond: Cond = None) -> Params:
        """Parameters before any data is seen, random ones boxed; of `x` and `cond` only shapes matter.

        `parameters.unbox` gives the values; `parameters.draw_all` draws those of a whole model at once.
        """
        del key, x, cond
        return {}

    def calibrate(self, params: Params, x: Array, cond: Cond = None) -> tuple[Params, Array]:
        """Sets what is initialised from data (actnorms), leaves the rest, and returns (params, z)."""
        return params, self.forward(params, x, cond)[0]

    def init(self, key: Array, x: Array, cond: Cond = None) -> tuple[Params, Array]:
        """Fresh parameters, initialised from the data `x`, and z = forward(x) under them.

        Returning z lets the initialisation run through a chain, each bijector seeing what reaches it.
        """
        return self.calibrate(parameters.unbox(self.create(key, x, cond)), x, cond)

    def forward(self, params: Params, x: Array, cond: Cond = None) -> tuple[Array, LogDet]:
        """Data to latent: z and log|det dz/dx|, (batch,), nats."""
        raise TypeError(f"{type(self).__name__} does not define forward")

    def inverse(self, params: Params, z: Array, cond: Cond = None) -> tuple[Array, LogDet]:
        """Latent to data: x and log|det dx/dz|, (batch,), nats: the negative of forward's at x."""
        raise TypeError(f"{type(self).__name__} does not define inverse")

    def log_det(self, params: Params, x: Array, cond: Cond = None) -> LogDet:
        """forward's log-det alone, (batch,), nats."""
        return self.forward(params, x, cond)[1]

    def pull_back(self, params: Params, z: Array, cond: Cond, cotangents: tuple[Array, LogDet]) -> PulledBack:
        """One step of a backward pass that has kept only the output: z = forward(x) is known, x is not.

        A subclass overrides it where rebuilding x and differentiating there share work.

        Args:
          params: as in `forward`.
          z: what forward gave.
          cond: as in `forward`.
          cotangents: of z and of forward's log-det, (batch,).

        Returns:
          x, and the gradients that `jax.vjp` of forward at x gives: of params, x and cond.
        """
        return rebuild(self.forward, self.inverse, params, z, cond, cotangents)

    def prepare(self, params: Params) -> Params:
        """Does what depends on parameters alone; the result stands wherever params do. Idempotent."""
        return params


def rebuild(
    run: Callable[..., tuple[Array, LogDet]],
    undo: Callable[..., tuple[Array, LogDet]],
    params: Params,
    out: Array,
    cond: Cond,
    cotangents: tuple[Array, LogDet],
) -> PulledBack:
    """The input from the output, and the gradients there: `pull_back` for any pair of inverse functions.

    Args:
      run: (params, x, cond) -> (out, log_det), what is differentiated.
      undo: its inverse, of the same form; no gradient goes through it.
      params: of both.
      out: run's output.
      cond: of both.
      cotangents: of out and of log_det.

    Returns:
      x, and the gradients of params, x and cond.
    """
    x, _ = undo(params, out, cond)

    def as_cotangents(*args: Any) -> tuple[Array, LogDet]:
        made, log_det = run(*args)
        return made, varying_like(log_det, cotangents[1])  # a log-det of parameters alone does not vary with x

    _, pull = jax.vjp(as_cotangents, params, x, cond)
    return x, pull(cotangents)


def varying_like(value: Array, like: Array) -> Array:
    """`value`; under `jax.shard_map` typed as one that may vary over the mesh wherever `like` may."""
    return jnp.where(False, like, value)


def add_gradients(a: Any, b: Any) -> Any:
    """The sum of two trees of gradients; leaves without one (type float0) stay as they are."""
    return jax.tree.map(lambda a, b: a if a.dtype == jax.dtypes.float0 else a + b, a, b)


def pixels(x: Array) -> int:
    """Number of spatial positions of a (batch, ..., channels) array: H W, or 1 for a vector."""
    return math.prod(x.shape[1:-1])


def per_sample(value: Array, x: Array) -> LogDet:
    """A log-det that is the same for every sample, as (batch,) float32."""
    return jnp.broadcast_to(value.astype(jnp.float32), x.shape[:1])


def check_channels(name: str, x: Array, expected: tuple[int, ...]) -> None:
    """Refuses an x whose channels do not fit parameters of shape `expected` (channels last).

    Raises:
      ValueError: naming the bijector and both shapes.
    """
    if x.ndim < 2 or x.shape[-1] != expected[-1]:
        raise ValueError(
            f"{name}: x of shape {tuple(x.shape)} does not fit parameters of shape {tuple(expected)}; "
            f"x must be (batch, ..., {expected[-1]})"
        )


def check_same(name: str, x: Array, other: Array, what: str) -> None:
    """Refuses an array that must have the shape of x.

    Raises:
      ValueError: naming the bijector and both shapes.
    """
    if x.shape != other.shape:
        raise ValueError(
            f"{name}: x has shape {tuple(x.shape)} but {what} has shape {tuple(other.shape)}; both must be the same"
        )
