"""Muon for the weights of layers, and Adam for all other parameters.

Muon (Jordan et al., 2024) replaces the momentum of a weight matrix by the nearest matrix with orthonormal rows or
columns, by five Newton-Schulz iterations. Its size is then set to that of Adam's updates, a root mean square of 0.2
(Liu et al., 2025, Section 2.2). So Muon takes Adam's learning rates.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from optax.contrib import MuonDimensionNumbers, scale_by_muon

MOMENTUM = 0.95
_UPDATE_RMS = 0.2
_QUINTIC = (3.4445, -4.775, 2.0315)  # coefficients of an iteration (Jordan et al.)


def muon(
    columns: Mapping[str, Sequence[int]], b1: float, b2: float, eps: float, *, unroll: bool = False
) -> optax.GradientTransformation:
    """Makes the transformation of gradients, without the learning rate.

    Its trees are {chunk: array}. The state is that of Adam, but the second moment of a stack of matrices is 0, ().

    Args:
      columns: of the chunks that are stacks of matrices, (n, rows, columns), padded with zeros: the true number of
        columns of each matrix, its longer side.
      b1: Adam's decay of the first moment. Muon's is `MOMENTUM`.
      b2: Adam's decay of the second moment.
      eps: Adam's epsilon.
      unroll: whether the iterations are straight-line code instead of a loop, which compiles faster.
    """
    adam = optax.scale_by_adam(b1=b1, b2=b2, eps=eps)
    sizes = {
        chunk: _UPDATE_RMS * np.sqrt(np.asarray(own, np.float32))[:, None, None] for chunk, own in columns.items()
    }

    def split(tree: Any) -> tuple[Any, Any]:
        """The stacks of matrices, and the rest."""
        stacks = {chunk: value for chunk, value in tree.items() if chunk in sizes}
        return stacks, {chunk: value for chunk, value in tree.items() if chunk not in sizes}

    def init(params: Any) -> Any:
        state: Any = adam.init(params)
        stacks, rest = split(state.nu)
        return state._replace(nu={**{chunk: jnp.zeros(()) for chunk in stacks}, **rest})

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        (grads, others), (old_mu, mu_others), (nu, nu_others) = map(split, (updates, state.mu, state.nu))
        adams: Any = adam.update(others, state._replace(mu=mu_others, nu=nu_others))
        made, new = adams
        mu: Any = optax.tree.update_moment(grads, old_mu, MOMENTUM, 1)
        # Nesterov's momentum, each part corrected for its beginning at 0.
        of_mu, of_grad = MOMENTUM / (1 - MOMENTUM ** (new.count + 1)), (1 - MOMENTUM) / (1 - MOMENTUM**new.count)
        directions = _orthogonal({chunk: of_mu * mu[chunk] + of_grad * grad for chunk, grad in grads.items()}, unroll)
        sized = {chunk: sizes[chunk] * value for chunk, value in directions.items()}
        return {**sized, **made}, new._replace(mu={**mu, **new.mu}, nu={**nu, **new.nu})

    return optax.GradientTransformation(init, update)


def _orthogonal(stacks: dict[str, Any], unroll: bool) -> dict[str, Any]:
    """The nearest orthogonal matrices. Zeros that pad a matrix stay, and do not change the rest of it."""
    axes: Any = {chunk: MuonDimensionNumbers(1, 2) for chunk in stacks}
    rows: Any = _QUINTIC if unroll else (_QUINTIC,) * 5  # Optax makes a loop of rows, one for each iteration
    nearest = scale_by_muon(rows, beta=0.0, nesterov=False, weight_dimension_numbers=axes)  # no momentum of its own
    found: Any = nearest.update(stacks, nearest.init(stacks))
    return found[0]
