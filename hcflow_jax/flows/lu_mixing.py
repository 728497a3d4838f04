"""1x1 mixing in LU decomposition (Glow, Section 3.2): the log-det is a sum, so no determinant is computed."""

import jax
import jax.numpy as jnp
from jax.scipy.linalg import lu, solve_triangular

from hcflow_jax import parameters
from hcflow_jax.flows.annotations import Array
from hcflow_jax.flows.base import Cond, Params, bijector
from hcflow_jax.flows.mixing import MixingBase, matmul


@bijector
class LUMixing(MixingBase):
    """K = P L (U + diag(sign exp(log_s))); log_det = H W sum(log_s). K starts as a random orthogonal matrix.

    L is unit lower triangular, U is strictly upper triangular; only these parts of `lower` and `upper` are used. P
    and the signs are not trained. Row i of K is row argsort(order)[i] of L (U + diag(...)), and of `sign` only the
    sign is used. So they remain a permutation and signs, even if an optimizer changes the arrays.

    >>> import jax
    >>> from hcflow_jax import flows
    >>> mixing = flows.LUMixing()
    >>> params, z = mixing.init(jax.random.key(0), jax.random.normal(jax.random.key(1), (2, 4)))
    >>> sorted(params)
    ['log_s', 'lower', 'order', 'sign', 'upper']
    """

    def create(self, key: Array, x: Array, cond: Cond = None) -> Params:
        del cond
        p, lower, upper = lu(parameters.orthogonal(key, x.shape[-1], 1.0).value)
        diagonal = jnp.diagonal(upper)
        return {
            "lower": jnp.tril(lower, -1),
            "upper": jnp.triu(upper, 1),
            "log_s": jnp.log(jnp.abs(diagonal)),
            "sign": jnp.sign(diagonal),
            "order": jnp.argmax(p, 0).astype(x.dtype),  # row j of L U is row order[j] of K
        }

    def prepare(self, params: Params) -> Params:
        if "matrix" in params:
            return params
        size = params["log_s"].shape[-1]
        identity = jnp.eye(size, dtype=params["log_s"].dtype)
        lower = jnp.tril(params["lower"], -1) + identity
        scale = jnp.where(jax.lax.stop_gradient(params["sign"]) < 0, -1, 1) * jnp.exp(params["log_s"])
        upper = jnp.triu(params["upper"], 1) + jnp.diag(scale)
        order = jax.lax.stop_gradient(params["order"])
        rows = jnp.argsort(order)
        matrix = matmul(lower, upper)[rows]
        with jax.default_matmul_precision("highest"):
            inverse = solve_triangular(upper, solve_triangular(lower, identity, lower=True, unit_diagonal=True))
        return {"matrix": matrix, "inverse": inverse[:, rows], "log_abs_det": jnp.sum(params["log_s"])}
