"""The interface of a bijector: pure functions of (params, x, cond), in a frozen dataclass of hyperparameters.

`forward` maps data to latents; `inverse` maps latents to data. The log-det of `forward` is log|det dz/dx| per sample,
in nats; the log-det of `inverse` is its negative. Shapes are (batch, ..., channels), with any number of spatial
dimensions (also none). `checking` defines which dtypes are used and which arguments are refused.
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
Input = Any  # a jax or numpy array; `checking` refuses other types and converts to a jax array
Latent = Any  # an array, or a tuple: the latents that leave early, in order, and then the last one
PulledBack = tuple[Array, tuple[Params, Array, Cond]]  # x, and the gradients of params, x and cond

_T = TypeVar("_T", bound=type)


def constant() -> Any:
    """A dataclass field for a constant that may be an array. The steps of a `Repeat` may differ in such fields.

    >>> import jax
    >>> from hcflow_jax import flows
    >>> jax.tree.leaves(flows.Permute((1, 0)))
    [1, 0]
    """
    return dataclasses.field(metadata={"constant": True})


@dataclass_transform(frozen_default=True, field_specifiers=(constant, dataclasses.field))
def bijector(cls: _T) -> _T:
    """Makes a class a frozen dataclass and a pytree. Only its `constant` fields are leaves.

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
    """The interface. A subclass defines `forward` and `inverse`, and also `create` if it has parameters.

    A subclass without `forward` cannot be instantiated. One without `inverse` can evaluate densities but cannot
    sample.

    Attributes:
      keeps_shape: whether z has x's shape. If False, `create` of a chain traces `forward` to find z's shape.
      takes_cond: whether the bijector uses cond. If False, it refuses a cond that is not None.
      leaving: how many latents leave early (`FactorOut`). If it is not 0, z is a tuple of 1 + `leaving` arrays.
    """

    keeps_shape: ClassVar[bool] = False
    takes_cond: ClassVar[bool] = True
    leaving: ClassVar[int] = 0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        checking.enforce(cls)

    def create(self, key: Array, x: Input, cond: Cond = None) -> Params:
        """Fresh parameters that do not depend on data yet. Only the shapes and dtypes of `x` and `cond` matter.

        Random parameters are in boxes (`parameters.Drawn`). `parameters.unbox` gives their values;
        `parameters.draw` draws all of them at once.

        Args:
          key: a typed key.
          x: data, (batch, ..., channels).
          cond: the conditioning, or None.

        Returns:
          A pytree of parameters, {} if there are none.
        """
        del key, x, cond
        return {}

    def calibrate(self, params: Params, x: Input, cond: Cond = None) -> tuple[Params, Latent]:
        """Initialises parameters from data, such as those of actnorms, and leaves the others.

        Args:
          params: from `create`, without boxes.
          x: data, (batch, ..., channels).
          cond: the conditioning, or None.

        Returns:
          The parameters, and z = forward(x) with them.
        """
        return params, self.forward(params, x, cond)[0]

    def init(self, key: Array, x: Input, cond: Cond = None) -> tuple[Params, Latent]:
        """Fresh parameters, initialised from the data `x`, and z = forward(x) with them.

        In a chain each bijector is initialised from the output of the one before it. `init` may be traced (`jax.jit`,
        `jax.vmap`). Outside a trace it is fast, because it draws all parameters at once.

        Args:
          key: a typed key.
          x: data, (batch, ..., channels).
          cond: the conditioning, or None.

        Returns:
          The parameters, and z.

        Raises:
          InputError: x or cond does not fit the bijector.
        """
        x = checking.as_input(type(self).__name__, x)
        if parameters.is_traced((self, key, x, cond)):
            return self.calibrate(parameters.unbox(self.create(key, x, cond)), x, cond)
        params = parameters.draw(key, lambda key: self.create(key, x, cond), x.dtype)
        return jax.jit(lambda params, x, cond: self.calibrate(params, x, cond))(params, x, cond)

    @abc.abstractmethod
    def forward(self, params: Params, x: Input, cond: Cond = None) -> tuple[Latent, LogDet]:
        """Data to latent (Eq. 1).

        Args:
          params: from `init`, or prepared by `prepare`.
          x: data, (batch, ..., channels).
          cond: the conditioning, or None.

        Returns:
          z, and log|det dz/dx|, (batch,), nats.
        """

    def inverse(self, params: Params, z: Latent, cond: Cond = None) -> tuple[Array, LogDet]:
        """Latent to data.

        Args:
          params: as in `forward`.
          z: a latent, as `forward` returns it.
          cond: as in `forward`.

        Returns:
          x, and log|det dx/dz|, (batch,), nats, which is the negative of forward's log-det at x.

        Raises:
          TypeError: the subclass does not define it.
        """
        raise TypeError(f"{type(self).__name__} does not define inverse")

    def log_det(self, params: Params, x: Input, cond: Cond = None) -> LogDet:
        """Only the log-det of `forward`, (batch,), nats. Arguments as in `forward`."""
        return self.forward(params, x, cond)[1]

    def pull_back(self, params: Params, z: Latent, cond: Cond, cotangents: tuple[Latent, LogDet]) -> PulledBack:
        """One step of a backward pass that has kept z = forward(x) but not x.

        A subclass overrides it if computing x and differentiating at x share work.

        Args:
          params: as in `forward`.
          z: the output of `forward`.
          cond: as in `forward`.
          cotangents: the cotangents of z and of forward's log-det, (batch,).

        Returns:
          x, and the gradients of params, x and cond, as `jax.vjp` of `forward` at x gives them.
        """
        return rebuild(self.forward, self.inverse, params, z, cond, cotangents)

    def prepare(self, params: Params) -> Params:
        """Computes what depends only on the parameters, such as matrix inverses. Idempotent.

        All other methods take the result in place of `params`.
        """
        return params


def rebuild(
    run: Callable[..., tuple[Any, LogDet]],
    undo: Callable[..., tuple[Any, LogDet]],
    params: Params,
    out: Any,
    cond: Cond,
    cotangents: tuple[Any, LogDet],
) -> PulledBack:
    """Computes the input from the output, and the gradients at the input: `pull_back` for a function and its inverse.

    Args:
      run: (params, x, cond) -> (out, log_det), the function that is differentiated.
      undo: its inverse, of the same form; no gradient goes through it.
      params: the parameters of both.
      out: the output of `run`.
      cond: the conditioning of both.
      cotangents: the cotangents of out and of log_det.

    Returns:
      x, and the gradients of params, x and cond.
    """
    x, _ = undo(params, out, cond)

    def as_cotangents(*args: Any) -> tuple[Any, LogDet]:
        made, log_det = run(*args)
        # A log-det that depends only on parameters does not vary over the mesh, but its cotangent may.
        return made, varying_like(log_det, cotangents[1])

    _, pull = jax.vjp(as_cotangents, params, x, cond)
    return x, pull(cotangents)


def varying_like(value: Array, like: Array) -> Array:
    """`value`. Inside `jax.shard_map` its type says that it may vary over the mesh, if `like` may."""
    return jnp.where(False, like, value)


def add_gradients(a: Any, b: Any) -> Any:
    """The sum of two trees of gradients. Leaves without a gradient (dtype float0) stay as they are."""
    return jax.tree.map(lambda a, b: a if a.dtype == jax.dtypes.float0 else a + b, a, b)


def pixels(x: Array) -> int:
    """The number of spatial positions of a (batch, ..., channels) array: H W, or 1 for a vector."""
    return math.prod(x.shape[1:-1])


def per_sample(value: Array, x: Array) -> LogDet:
    """A log-det () that all samples share, as an array (batch,) of x's dtype."""
    return jnp.broadcast_to(value.astype(x.dtype), x.shape[:1])


def check_channels(name: str, x: Array, expected: tuple[int, ...]) -> None:
    """Checks that the channels of x fit parameters of shape `expected` (channels last).

    Raises:
      InputError: they do not; the message names the bijector and both shapes.
    """
    if x.ndim < 2 or x.shape[-1] != expected[-1]:
        raise InputError(
            f"{name}: x of shape {tuple(x.shape)} does not fit parameters of shape {tuple(expected)}; "
            f"x must be (batch, ..., {expected[-1]})"
        )


def check_same(name: str, x: Array, other: Array, what: str) -> None:
    """Checks that `other` has the shape of x.

    Args:
      name: the name of the bijector.
      x: an array.
      other: another array.
      what: what `other` is, for the message.

    Raises:
      InputError: it does not; the message names the bijector and both shapes.
    """
    if x.shape != other.shape:
        raise InputError(
            f"{name}: x has shape {tuple(x.shape)} but {what} has shape {tuple(other.shape)}; both must be the same"
        )
