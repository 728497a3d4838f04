"""Permute (Real NVP, Section 3.5): a fixed permutation of the channels."""

from collections.abc import Sequence
from typing import Any, ClassVar

import jax.numpy as jnp

from hcflow_jax.errors import InputError
from hcflow_jax.flows.annotations import Array
from hcflow_jax.flows.base import Bijector, Cond, LogDet, Params, bijector, check_channels, constant


@bijector
class Permute(Bijector):
    """forward: channel i of z is channel order[i] of x; log_det = 0. Steps of a `Repeat` may differ in order.

    >>> import jax.numpy as jnp
    >>> from hcflow_jax import flows
    >>> flows.Permute((2, 0, 1)).forward({}, jnp.array([[10.0, 11.0, 12.0]]))[0].tolist()
    [[12.0, 10.0, 11.0]]

    Attributes:
      order: a permutation of 0, ..., channels - 1.

    Raises:
      InputError: `order` is not a permutation.
    """

    keeps_shape: ClassVar[bool] = True
    takes_cond: ClassVar[bool] = False

    order: Sequence[Any] = constant()

    def __post_init__(self) -> None:
        # jax flattens and unflattens bijectors, and then `order` may hold tracers or placeholders: check only ints.
        order = tuple(self.order) if isinstance(self.order, Sequence) else ()
        if all(isinstance(i, int) for i in order) and sorted(order) != list(range(len(order))):
            raise InputError(f"Permute: order must be a permutation of 0, ..., {len(order) - 1}, not {order}")

    def forward(self, params: Params, x: Array, cond: Cond = None) -> tuple[Array, LogDet]:
        return self._take(x, jnp.asarray(self.order))

    def inverse(self, params: Params, z: Array, cond: Cond = None) -> tuple[Array, LogDet]:
        return self._take(z, jnp.argsort(jnp.asarray(self.order)))

    def _take(self, x: Array, order: Array) -> tuple[Array, LogDet]:
        check_channels("Permute", x, order.shape)
        return x[..., order], jnp.zeros(x.shape[0], x.dtype)
