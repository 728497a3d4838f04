"""What a bijector is: pure functions of (params, x, cond) behind a frozen dataclass of hyperparameters.

Every bijector maps data to latents in `forward` and back in `inverse`. A log-det is log|det dz/dx| of `forward`
(or of `inverse`, its negative) per sample, in nats. Shapes are (batch, ..., channels) with any number of spatial
dimensions, none included. `checking` holds the rule of dtypes, and what is refused.
"""

import abc
import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp

from hcflow_jax import parameters
from hcflow_jax.errors import InputError
from hcflow_jax.flows import checking
from hcflow_jax.flows.annotations import Array, Float

Params = Any
Cond = Any
LogDet = Float[Array, " batch"]
Input = Any  # an array of jax or numpy; `checking` refuses others, and gives a subclass's methods jax's
Latent = Any  # an array, or a tuple: latents that leave on the way, in order, then the one that goes all the way
PulledBack = tuple[Array, tuple[Params, Array, Cond]]  # x, and the gradients of params, x and cond

_T = TypeVar("_T", bound=type)


def constant() -> Any:
    """A dataclass field that may hold arrays: a constant in which like steps of a `Repeat` may differ.

    >>> import jax
    >>> from hcflow_jax import flows
    >>> jax.tree.leaves(flows.Permute((1, 0)))
    [1, 0]
    """
    return dataclasses.field(metadata={"constant": True})


@dataclass_transform(frozen_default=True, field_specifiers=(constant, dataclasses.field))
def bijector(cls: _T) -> _T:
    """Makes a class a frozen dataclass and a pytree whose leaves are its `constant` fields alone.

    >>> import jax.numpy as jnp
    >>> from hcflow_jax import flows
    >>> @flows.bijector
    ... class Scale(flows.Bijector):
    ...     log_scale: float
    ...
    ...     def forward(self, params, x, cond=None):
    ...         return x * jnp.exp(self.log_scale), jnp.full(x.shape[0], x[0].size * self.log_scale)
    ...
    ...     def inverse(self, params, z, cond=None):
    ...         return z * jnp.exp(-self.log_scale), jnp.full(z.shape[0], -z[0].size * self.log_scale)
    >>> Scale(0.5).forward({}, jnp.zeros((1, 3)))[1].tolist()
    [1.5]
    """
    made = dataclasses.dataclass(frozen=True)(cls)
    names = {f.name: bool(f.metadata.get("constant")) for f in dataclasses.fields(made)}
    jax.tree_util.register_dataclass(
        made,
        data_fields=[name for name, is_constant in names.items() if is_constant],
        meta_fields=[name for name, is_constant in names.items() if not is_constant],
    )
    return made


class Bijector(abc.ABC):
    """The interface. A subclass gives `forward` and `inverse`, and `create` where it has parameters.

    A subclass without `forward` cannot be made. One without `inverse` can evaluate densities but cannot sample.

    Attributes:
      keeps_shape: z has x's shape. Where it is False, `create` of a chain traces `forward` to find z's shape.
      takes_cond: whether the bijector looks at cond. Where it is False, a cond that is not None is refused.
      leaving: how many latents leave on the way. Where it is not 0, z is a tuple of 1 + `leaving` arrays.
    """

    keeps_shape: ClassVar[bool] = False
    takes_cond: ClassVar[bool] = True
    leaving: ClassVar[int] = 0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        checking.enforce(cls)

    def create(self, key: Array, x: Input, cond: Cond = None) -> Params:
        """Parameters before any data is seen, random ones boxed. Only the shapes of `x` and `cond` matter.

        `parameters.unbox` gives the values; `parameters.draw` draws all of them at once.
        """
        del key, x, cond
        return {}

    def calibrate(self, params: Params, x: Input, cond: Cond = None) -> tuple[Params, Latent]:
        """Sets what is initialised from data (actnorms), leaves the rest, and returns (params, z)."""
        return params, self.forward(params, x, cond)[0]

    def init(self, key: Array, x: Input, cond: Cond = None) -> tuple[Params, Latent]:
        """Fresh parameters, initialised from the data `x`, and z = forward(x) under them.

        Returning z lets the initialisation run through a chain: each bijector sees what reaches it. `init` may be
        traced (`jax.jit`, `jax.vmap`). Outside a trace it is fast: it draws all parameters at once.

        Raises:
          InputError: where x or cond does not fit the bijector.
        """
        x = checking.as_input(type(self).__name__, x)
        if parameters.is_traced((self, key, x, cond)):
            return self.calibrate(parameters.unbox(self.create(key, x, cond)), x, cond)
        params = parameters.draw(key, lambda key: self.create(key, x, cond), x.dtype)
        return jax.jit(lambda params, x, cond: self.calibrate(params, x, cond))(params, x, cond)

    @abc.abstractmethod
    def forward(self, params: Params, x: Input, cond: Cond = None) -> tuple[Latent, LogDet]:
        """Data to latent: z and log|det dz/dx|, (batch,), nats."""

    def inverse(self, params: Params, z: Latent, cond: Cond = None) -> tuple[Array, LogDet]:
        """Latent to data: x and log|det dx/dz|, (batch,), nats: the negative of forward's at x."""
        raise TypeError(f"{type(self).__name__} does not define inverse")

    def log_det(self, params: Params, x: Input, cond: Cond = None) -> LogDet:
        """forward's log-det alone, (batch,), nats."""
        return self.forward(params, x, cond)[1]

    def pull_back(self, params: Params, z: Latent, cond: Cond, cotangents: tuple[Latent, LogDet]) -> PulledBack:
        """One step of a backward pass that has kept only the output: z = forward(x) is known, x is not.

        A subclass overrides it where rebuilding x and differentiating there share work.

        Args:
          params: as in `forward`.
          z: what forward gave.
          cond: as in `forward`.
          cotangents: the cotangents of z and of forward's log-det, (batch,).

        Returns:
          x, and the gradients that `jax.vjp` of forward at x gives: of params, x and cond.
        """
        return rebuild(self.forward, self.inverse, params, z, cond, cotangents)

    def prepare(self, params: Params) -> Params:
        """Does what depends on parameters alone; the result stands wherever params do. Idempotent."""
        return params


def rebuild(
    run: Callable[..., tuple[Any, LogDet]],
    undo: Callable[..., tuple[Any, LogDet]],
    params: Params,
    out: Any,
    cond: Cond,
    cotangents: tuple[Any, LogDet],
) -> PulledBack:
    """The input from the output, and the gradients there: `pull_back` for any pair of inverse functions.

    Args:
      run: (params, x, cond) -> (out, log_det), what is differentiated.
      undo: its inverse, of the same form; no gradient goes through it.
      params: the params of both.
      out: run's output.
      cond: the cond of both.
      cotangents: the cotangents of out and of log_det.

    Returns:
      x, and the gradients of params, x and cond.
    """
    x, _ = undo(params, out, cond)

    def as_cotangents(*args: Any) -> tuple[Any, LogDet]:
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
    """A log-det that is the same for every sample, as (batch,) of x's dtype."""
    return jnp.broadcast_to(value.astype(x.dtype), x.shape[:1])


def check_channels(name: str, x: Array, expected: tuple[int, ...]) -> None:
    """Refuses an x whose channels do not fit parameters of shape `expected` (channels last).

    Raises:
      InputError: naming the bijector and both shapes.
    """
    if x.ndim < 2 or x.shape[-1] != expected[-1]:
        raise InputError(
            f"{name}: x of shape {tuple(x.shape)} does not fit parameters of shape {tuple(expected)}; "
            f"x must be (batch, ..., {expected[-1]})"
        )


def check_same(name: str, x: Array, other: Array, what: str) -> None:
    """Refuses an array that must have the shape of x.

    Raises:
      InputError: naming the bijector and both shapes.
    """
    if x.shape != other.shape:
        raise InputError(
            f"{name}: x has shape {tuple(x.shape)} but {what} has shape {tuple(other.shape)}; both must be the same"
        )
