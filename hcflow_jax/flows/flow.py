"""A density: a bijector and the base that its latents follow."""

import math
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from hcflow_jax.errors import InputError
from hcflow_jax.flows.annotations import Array, Float
from hcflow_jax.flows.base import Bijector, Cond, Input, Latent, Params, bijector, constant
from hcflow_jax.flows.checking import describe

Shape = tuple[int, ...]


class Base(Protocol):
    """What latents follow. z is an array, or a tuple of arrays where latents leave the flow on the way."""

    def log_prob(self, z: Latent) -> Float[Array, " batch"]:
        """log p(z), nats."""
        ...

    def sample(self, key: Array, n: int, dtype: Any = jnp.float32) -> Latent:
        """n latents."""
        ...


@bijector
class StandardNormal:
    """Independent N(0, 1).

    >>> import jax
    >>> from hcflow_jax import flows
    >>> flows.StandardNormal((8, 8, 3)).sample(jax.random.key(0), 5).shape
    (5, 8, 8, 3)
    >>> [z.shape for z in flows.StandardNormal(((4, 4, 2), (2, 2, 4))).sample(jax.random.key(0), 5)]
    [(5, 4, 4, 2), (5, 2, 2, 4)]

    Attributes:
      shape: the shape of z without the batch, (2,) for points of the plane; a tuple of shapes where z is a tuple.
    """

    shape: Any  # Shape | tuple[Shape, ...]; what is neither gets the error below

    def __post_init__(self) -> None:
        """Refuses what is no shape.

        Raises:
          InputError: naming what was given.
        """
        if not isinstance(self.shape, tuple) or not self.shape:
            raise InputError(
                f"StandardNormal: shape must be that of z without the batch, such as (2,), not {self.shape!r}"
            )

    def log_prob(self, z: Latent) -> Float[Array, " batch"]:
        """log p(z), nats.

        Raises:
          InputError: where z has another shape.
        """
        expected = tuple(map(tuple, self._shapes())) if self._several() else tuple(self._shapes()[0])
        given = tuple(each.shape[1:] for each in z) if isinstance(z, tuple) else z.shape[1:]
        if given != expected:
            raise InputError(
                f"StandardNormal: z must have the shape {expected} after the batch, but has {describe(z)} with it"
            )
        return sum(
            jnp.sum(jax.scipy.stats.norm.logpdf(each), tuple(range(1, each.ndim))) for each in jax.tree.leaves(z)
        )  # pyright: ignore[reportReturnType]

    def sample(self, key: Array, n: int, dtype: Any = jnp.float32) -> Latent:
        """n latents, from one draw."""
        sizes = [math.prod(shape) for shape in self._shapes()]
        flat = jax.random.normal(key, (n, sum(sizes)), dtype)
        ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        parts = [flat[:, end - size : end] for size, end in zip(sizes, ends, strict=True)]
        made = tuple(part.reshape(n, *shape) for part, shape in zip(parts, self._shapes(), strict=True))
        return made if self._several() else made[0]

    def _several(self) -> bool:
        return bool(self.shape) and not isinstance(self.shape[0], int)

    def _shapes(self) -> Any:
        return self.shape if self._several() else (self.shape,)


@bijector
class Flow:
    """The density of x = inverse(z) with z from the base: log p(x | cond) = log p(z) + log|det dz/dx|.

    All methods may be compiled: `jax.jit(flow.log_prob)`.

    >>> import jax
    >>> from hcflow_jax import flows
    >>> flow = flows.Flow(flows.chain(actnorm=flows.Actnorm(), mixing=flows.Mixing()), flows.StandardNormal((2,)))
    >>> params = flow.init(jax.random.key(0), jax.random.normal(jax.random.key(1), (64, 2)))
    >>> x, log_prob = flow.sample_and_log_prob(params, jax.random.key(2), 5)
    >>> x.shape, log_prob.shape
    ((5, 2), (5,))

    Attributes:
      bijector: data -> latent.
      base: what the latents follow, such as `StandardNormal`.
    """

    bijector: Bijector = constant()
    base: Any = constant()

    def init(self, key: Array, x: Input, cond: Cond = None) -> Params:
        """Fresh parameters of the bijector, initialised from the data `x` (and `cond`, if the flow is conditional).

        Raises:
          InputError: where x or cond does not fit the bijector, or z the base.
        """
        params, z = self.bijector.init(key, x, cond)
        jax.eval_shape(self.base.log_prob, z)
        return params

    def log_prob(self, params: Params, x: Input, cond: Cond = None) -> Float[Array, " batch"]:
        """log p(x | cond), (batch,), nats."""
        z, log_det = self.bijector.forward(params, x, cond)
        return self.base.log_prob(z) + log_det

    def sample(self, params: Params, key: Array, n: int, cond: Cond = None) -> Array:
        """n samples, (n, ...); `cond` has n entries."""
        return self.sample_and_log_prob(params, key, n, cond)[0]

    def sample_and_log_prob(
        self, params: Params, key: Array, n: int, cond: Cond = None
    ) -> tuple[Array, Float[Array, " n"]]:
        """n samples and log p of each, nats, for the price of the samples.

        Raises:
          InputError: where `cond` has not n entries.
        """
        if any(jnp.shape(leaf)[:1] != (n,) for leaf in jax.tree.leaves(cond)):
            raise InputError(f"Flow: for {n} samples cond must have {n} entries, but has shape {describe(cond)}")
        floats = [leaf.dtype for leaf in jax.tree.leaves(params) if jnp.issubdtype(leaf.dtype, jnp.floating)]
        dtype = jnp.float64 if jnp.float64 in floats else jnp.float32
        z = self.base.sample(key, n, dtype)
        x, log_det = self.bijector.inverse(params, z, cond)
        return x, self.base.log_prob(z) - log_det
