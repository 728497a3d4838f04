"""The conditional affine map ("injector"): the first and the last bijector of every conditional level."""

from typing import ClassVar

import jax.numpy as jnp

from hcflow_jax.errors import InputError
from hcflow_jax.flows.affine import SCALE_LIMIT, affine_forward, affine_inverse
from hcflow_jax.flows.annotations import Array
from hcflow_jax.flows.base import Bijector, Cond, LogDet, Params, bijector, check_same
from hcflow_jax.flows.checking import describe


@bijector
class Injector(Bijector):
    """forward: z = (x - b) exp(-s); inverse: x = z exp(s) + b; log_det = -sum(s), with (b, s) = cond.

    See docs/model.md, Eq. G.
    b and s have x's shape. They come from the decoder and do not depend on x. s is clipped to [-3, 3]. There are no
    parameters. Without cond it is the identity.

    >>> import jax.numpy as jnp
    >>> from hcflow_jax import flows
    >>> x = jnp.array([[3.0, 4.0]])
    >>> flows.Injector().forward({}, x, (jnp.ones((1, 2)), jnp.zeros((1, 2))))[0].tolist()
    [[2.0, 3.0]]
    """

    keeps_shape: ClassVar[bool] = True

    def forward(self, params: Params, x: Array, cond: Cond = None) -> tuple[Array, LogDet]:
        return affine_forward(x, *self._scale_and_shift(x, cond))

    def inverse(self, params: Params, z: Array, cond: Cond = None) -> tuple[Array, LogDet]:
        return affine_inverse(z, *self._scale_and_shift(z, cond))

    def _scale_and_shift(self, x: Array, cond: Cond) -> tuple[Array, Array]:
        if cond is None:
            return jnp.zeros(()), jnp.zeros(())
        if not isinstance(cond, tuple | list) or len(cond) != 2:
            raise InputError(f"Injector: cond must be (b, s), each of x's shape {x.shape}, not {describe(cond)}")
        b, s = cond
        check_same("Injector", x, b, "cond's shift b")
        check_same("Injector", x, s, "cond's log-scale s")
        return jnp.clip(s, -SCALE_LIMIT, SCALE_LIMIT), b
