"""Signs that a flow loses precision: the scales of its actnorms, and the condition numbers of its mixing matrices.

A flow inverts only as exactly as its steps do. An actnorm that scales by orders of magnitude, or a mixing matrix that
is nearly singular, damages round trips and gradients long before the loss shows it.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hcflow_jax.keys import root_key
from hcflow_jax.parameters import path_name

POWER_STEPS = 40  # steps of the power iteration; they give a norm to about 1 %

Scales = dict[str, Float[Array, ""]]


def _norm(matrices: Float[Array, "n c c"]) -> Float[Array, " n"]:
    """The largest singular value of each matrix, by power iteration. The estimate is never too large.

    It uses only products with vectors. Unlike a singular value decomposition, it compiles to a small program on every
    backend.
    """
    precise = jax.lax.Precision.HIGHEST
    start = jax.random.normal(root_key(0), matrices.shape[:-1], jnp.float32)

    def unit(vectors: Array) -> Array:
        return vectors / jnp.linalg.norm(vectors, axis=-1, keepdims=True)

    def step(_: Any, vectors: Array) -> Array:
        image = jnp.einsum("nij,nj->ni", matrices, vectors, precision=precise)
        return unit(jnp.einsum("nij,ni->nj", matrices, image, precision=precise))

    vectors = jax.lax.fori_loop(0, POWER_STEPS, step, unit(start))
    return jnp.linalg.norm(jnp.einsum("nij,nj->ni", matrices, vectors, precision=precise), axis=-1)


def flow_scales(by_level: Mapping[str, Any]) -> Scales:
    """Scales and condition numbers of every level's flow. Jit this function.

    Args:
      by_level: from `ImageModel.flow_params`, for prepared parameters.

    Returns:
      Scalars by name. `scale_min/LEVEL` and `scale_max/LEVEL` are the extremes of exp(s) over the level's actnorms;
      an actnorm's inverse multiplies by exp(s). `condition/LEVEL` is the largest condition number (2-norm) of the
      level's mixing matrices. A level without actnorms or mixings has no such entry.
    """
    scales: dict[str, list[Array]] = {}
    conditions: dict[str, list[Array]] = {}
    for level, params in by_level.items():
        leaves = {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
        for name, leaf in leaves.items():
            if f"/{name}".endswith("/actnorm/scale"):
                scales.setdefault(level, []).append(leaf.reshape(-1))
            elif f"/{name}".endswith("/mixing/matrix"):
                both = (leaf, leaves[name.removesuffix("matrix") + "inverse"])
                norms = [_norm(each.reshape(-1, *each.shape[-2:])) for each in both]
                conditions.setdefault(level, []).append(norms[0] * norms[1])
    named: Scales = {}
    for level, found in scales.items():
        factors = jnp.exp(jnp.concatenate(found))
        named |= {f"scale_min/{level}": jnp.min(factors), f"scale_max/{level}": jnp.max(factors)}
    return named | {f"condition/{level}": jnp.max(jnp.concatenate(found)) for level, found in conditions.items()}
