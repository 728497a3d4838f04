"""Invertible 1x1 mixing of channels: with any matrix, and with an orthogonal matrix by the matrix exponential.

Matrices, inverses and determinants are always computed in float32 (float64 for float64 parameters) and at the highest
matmul precision, even if the networks use less: the error of a 508 x 508 exponential is 0.03 in TF32 and 0.4 in
bfloat16.
"""

import abc
from typing import ClassVar

import jax
import jax.numpy as jnp

from hcflow_jax import parameters
from hcflow_jax.flows.annotations import Array
from hcflow_jax.flows.base import Bijector, Cond, LogDet, Params, bijector, check_channels, per_sample, pixels
from hcflow_jax.flows.checking import at_least_float32
from hcflow_jax.flows.exponential import Matrix, expm_skew, matmul


def _apply(matrix: Matrix, x: Array) -> Array:
    """x K^T over channels."""
    return jnp.einsum("...j,ij->...i", x, matrix, precision=jax.lax.Precision.HIGHEST)


class MixingBase(Bijector):
    """forward: x K^T; inverse: z K^-T; log_det = H W log|det K|. Prepared: K, its inverse and log|det K|."""

    keeps_shape: ClassVar[bool] = True
    takes_cond: ClassVar[bool] = False

    @abc.abstractmethod
    def prepare(self, params: Params) -> Params:
        """{"matrix": K, "inverse": its inverse, "log_abs_det": log|det K|}; idempotent."""

    def forward(self, params: Params, x: Array, cond: Cond = None) -> tuple[Array, LogDet]:
        ready = self.prepare(params)
        check_channels(type(self).__name__, x, ready["matrix"].shape)
        return _apply(ready["matrix"], x), per_sample(pixels(x) * ready["log_abs_det"], x)

    def inverse(self, params: Params, z: Array, cond: Cond = None) -> tuple[Array, LogDet]:
        ready = self.prepare(params)
        check_channels(type(self).__name__, z, ready["matrix"].shape)
        return _apply(ready["inverse"], z), per_sample(-pixels(z) * ready["log_abs_det"], z)


@bijector
class Mixing(MixingBase):
    """Free-form 1x1 mixing (docs/model.md, Eq. E): K = M K0. K0 starts as a random orthogonal matrix / M.

    >>> import jax.numpy as jnp
    >>> from hcflow_jax import flows
    >>> params = {"kernel": jnp.array([[0.0, 2.0], [1.0, 0.0]])}
    >>> flows.Mixing(1.0).forward(params, jnp.array([[3.0, 4.0]]))[0].tolist()
    [[8.0, 3.0]]

    Attributes:
      multiplier: M, the learning-rate multiplier. With 1 it is the 1x1 convolution of Glow.
    """

    multiplier: float = 0.3

    def create(self, key: Array, x: Array, cond: Cond = None) -> Params:
        del cond
        return {"kernel": parameters.orthogonal(key, x.shape[-1], 1 / self.multiplier)}

    def prepare(self, params: Params) -> Params:
        if "matrix" in params:
            return params
        matrix = self.multiplier * params["kernel"].astype(at_least_float32(params["kernel"]))
        with jax.default_matmul_precision("highest"):
            inverse = jnp.linalg.inv(matrix)
            log_abs_det = jnp.linalg.slogdet(matrix).logabsdet
        # One Newton step, X <- X (2 I - K X), reduces the error of the float32 inverse to its rounding error.
        inverse = matmul(inverse, 2 * jnp.eye(matrix.shape[-1], dtype=matrix.dtype) - matmul(matrix, inverse))
        return {"matrix": matrix, "inverse": inverse, "log_abs_det": log_abs_det}


@bijector
class OrthogonalMixing(MixingBase):
    """Orthogonal 1x1 mixing: K = expm(M (U - U^T)), with U ~ N(0, 1) / M at first. K^-1 is K^T; log_det is 0.

    See docs/model.md, Eq. F.
    A float32 exponential is orthogonal to about 5e-6 (508 x 508). After one Newton-Schulz step,
    K <- 1.5 K - 0.5 K K^T K, K^T is the inverse of K up to rounding. Forward and inverse use this same K.

    >>> import jax.numpy as jnp
    >>> from hcflow_jax import flows
    >>> quarter_turn = {"generator": jnp.array([[0.0, 5 * jnp.pi], [0.0, 0.0]])}
    >>> z, _ = flows.OrthogonalMixing(0.1).forward(quarter_turn, jnp.array([[1.0, 2.0]]))
    >>> z.round(3).tolist()
    [[2.0, -1.0]]

    Attributes:
      multiplier: M, the learning-rate multiplier.
    """

    multiplier: float = 0.1

    def create(self, key: Array, x: Array, cond: Cond = None) -> Params:
        del cond
        return {"generator": parameters.normal(key, (x.shape[-1],) * 2, 1 / self.multiplier)}

    def prepare(self, params: Params) -> Params:
        if "matrix" in params:
            return params
        u = self.multiplier * params["generator"].astype(at_least_float32(params["generator"]))
        k = expm_skew(u - u.T)
        k = 1.5 * k - 0.5 * matmul(matmul(k, k.T), k)
        return {"matrix": k, "inverse": k.T, "log_abs_det": jnp.zeros((), k.dtype)}
