"""How far a flow is from losing digits: the scales of its actnorms, and the conditioning of its mixings.

A flow inverts as exactly as its steps do. An actnorm that shrinks or stretches by orders of magnitude, or a mixing
matrix that is nearly singular, shows in the round trip and in the gradients long before it shows in the loss.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hcflow_jax.keys import root_key
from hcflow_jax.parameters import path_name

POWER_STEPS = 40  # of the power iteration: a norm to about a per cent, with no singular value decomposition

Scales = dict[str, Float[Array, ""]]


def _norm(matrices: Float[Array, "n c c"]) -> Float[Array, " n"]:
    """Largest singular values, from below, by products with vectors alone: it compiles small on every backend."""
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
    """Scales and conditioning of every level's flow; to be jitted.

    Args:
      by_level: from `ImageModel.flow_params`, of prepared parameters.

    Returns:
      Scalars: `scale_min/LEVEL` and `scale_max/LEVEL`, of exp(s) of the level's actnorms, the factor of their
      inverse; `condition/LEVEL`, the largest condition number (2-norm) of its mixing matrices. A level without
      them has no such entry.
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
