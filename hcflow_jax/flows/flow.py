"""A density: a bijector and the base distribution of its latents."""

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
    """The distribution of latents. z is an array, or a tuple of arrays if latents leave the flow early."""

    def log_prob(self, z: Latent) -> Float[Array, " batch"]:
        """log p(z), (batch,), nats."""
        ...

    def sample(self, key: Array, n: int, dtype: Any = jnp.float32) -> Latent:
        """Draws n latents, (n, ...), of a dtype."""
        ...


@bijector
class StandardNormal:
    """The standard normal distribution: all dimensions are independent N(0, 1).

    >>> import jax
    >>> from hcflow_jax import flows
    >>> flows.StandardNormal((8, 8, 3)).sample(jax.random.key(0), 5).shape
    (5, 8, 8, 3)
    >>> [z.shape for z in flows.StandardNormal(((4, 4, 2), (2, 2, 4))).sample(jax.random.key(0), 5)]
    [(5, 4, 4, 2), (5, 2, 2, 4)]

    Attributes:
      shape: the shape of z without the batch, such as (2,) for points of the plane. If z is a tuple, a tuple of
        shapes.
    """

    shape: Any  # Shape | tuple[Shape, ...]; `__post_init__` refuses anything else

    def __post_init__(self) -> None:
        """Checks the shape.

        Raises:
          InputError: it is not a tuple, or it is empty.
        """
        if not isinstance(self.shape, tuple) or not self.shape:
            raise InputError(
                f"StandardNormal: shape must be that of z without the batch, such as (2,), not {self.shape!r}"
            )

    def log_prob(self, z: Latent) -> Float[Array, " batch"]:
        """log p(z), (batch,), nats.

        Raises:
          InputError: z has another shape.
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
        """Draws latents; the arrays of a tuple come from one draw.

        Args:
          key: a typed key.
          n: the number of latents.
          dtype: float32 or float64.

        Returns:
          (n, *shape), or a tuple of such arrays.
        """
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
    """The density of x = inverse(z), with z from the base (Eq. 1): log p(x | cond) = log p(z) + log|det dz/dx|.

    You can compile all methods: `jax.jit(flow.log_prob)`.

    >>> import jax
    >>> from hcflow_jax import flows
    >>> flow = flows.Flow(flows.chain(actnorm=flows.Actnorm(), mixing=flows.Mixing()), flows.StandardNormal((2,)))
    >>> params = flow.init(jax.random.key(0), jax.random.normal(jax.random.key(1), (64, 2)))
    >>> x, log_prob = flow.sample_and_log_prob(params, jax.random.key(2), 5)
    >>> x.shape, log_prob.shape
    ((5, 2), (5,))

    Attributes:
      bijector: maps data to latents.
      base: the distribution of the latents, such as `StandardNormal`.
    """

    bijector: Bijector = constant()
    base: Any = constant()

    def init(self, key: Array, x: Input, cond: Cond = None) -> Params:
        """Fresh parameters of the bijector, initialised from data.

        Args:
          key: a typed key.
          x: data, (batch, ..., channels).
          cond: the conditioning of the data, if the flow is conditional; otherwise None.

        Raises:
          InputError: x or cond does not fit the bijector, or z does not fit the base.
        """
        params, z = self.bijector.init(key, x, cond)
        jax.eval_shape(self.base.log_prob, z)
        return params

    def log_prob(self, params: Params, x: Input, cond: Cond = None) -> Float[Array, " batch"]:
        """log p(x | cond), (batch,), nats.

        Args:
          params: from `init`, or trained.
          x: data, (batch, ..., channels).
          cond: the conditioning, or None.
        """
        z, log_det = self.bijector.forward(params, x, cond)
        return self.base.log_prob(z) + log_det

    def sample(self, params: Params, key: Array, n: int, cond: Cond = None) -> Array:
        """Draws n samples, (n, ...). Arguments and errors are those of `sample_and_log_prob`."""
        return self.sample_and_log_prob(params, key, n, cond)[0]

    def sample_and_log_prob(
        self, params: Params, key: Array, n: int, cond: Cond = None
    ) -> tuple[Array, Float[Array, " n"]]:
        """Draws samples, and gives log p(x | cond) of each. It costs no more than `sample`.

        Args:
          params: from `init`, or trained.
          key: a typed key.
          n: the number of samples.
          cond: the conditioning of each sample, arrays (n, ...); or None.

        Returns:
          The samples, (n, ...), and their log-densities, (n,), nats.

        Raises:
          InputError: an array of `cond` does not have n entries.
        """
        if any(jnp.shape(leaf)[:1] != (n,) for leaf in jax.tree.leaves(cond)):
            raise InputError(f"Flow: for {n} samples cond must have {n} entries, but has shape {describe(cond)}")
        floats = [leaf.dtype for leaf in jax.tree.leaves(params) if jnp.issubdtype(leaf.dtype, jnp.floating)]
        dtype = jnp.float64 if jnp.float64 in floats else jnp.float32
        z = self.base.sample(key, n, dtype)
        x, log_det = self.bijector.inverse(params, z, cond)
        return x, self.base.log_prob(z) - log_det
