"""The optimizer: clipping by the global norm, and then Adam, Adamax or Muon for each rate group (Table 2).

Its state is packed on the device (`groups.Packing`), but stored in the structure of the parameter tree. So
checkpoints do not depend on the packing.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int
from ml_collections import ConfigDict

from hcflow_jax.models import ImageModel
from hcflow_jax.models.execution import resolve_execution
from hcflow_jax.parameters import path_name
from hcflow_jax.training.groups import Packed, Packing
from hcflow_jax.training.muon import muon

Params = Any
State = dict[str, Any]  # {group: optax's state over {chunk: array}}

OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "adam": optax.scale_by_adam,
    "adamax": optax.scale_by_adamax,
    "muon": muon,
}


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """Clips gradients and updates parameters, by rate group, on packed trees.

    Attributes:
      packing: the packing of the parameter tree.
      inner: the transformation of each group, without the learning rate. Every group has its own state.
      clip_norm: the largest global norm of the gradients.
    """

    packing: Packing
    inner: dict[str, optax.GradientTransformation]
    clip_norm: float

    @classmethod
    def of(cls, model: ImageModel, config: ConfigDict) -> "Optimizer":
        """Makes the optimizer of a model.

        Args:
          model: the model; its `shapes` and `rate_groups` are used.
          config: the whole config; `train` is used.
        """
        train = config.train
        execution = resolve_execution(config.execution)
        stack = train.optimizer == "muon"
        packing = Packing.of(model.shapes(), model.rate_groups, update=execution["update"], stack=stack)
        given = dict(b1=train.adam_b1, b2=train.adam_b2, eps=train.adam_eps)
        made, unroll = partial(OPTIMIZERS[train.optimizer], **given), execution["loop"] == "unroll"
        inner = {
            group: made(columns, unroll=unroll) if stack else made() for group, columns in packing.columns.items()
        }
        return cls(packing, inner, train.clip_norm)

    @property
    def shapes(self) -> Params:
        """The shapes of the parameter tree, float32."""
        leaves = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in self.packing.shapes]
        return jax.tree.unflatten(self.packing.structure, leaves)

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the rate groups."""
        return self.packing.groups

    def init(self, params: Packed) -> State:
        """The state at step 0, for packed parameters."""
        return {group: self.inner[group].init(parts) for group, parts in params.items()}

    def update(
        self, grads: Packed, state: State, params: Packed, rates: Mapping[str, Float[Array, ""]]
    ) -> tuple[Packed, State]:
        """One update of all parameters.

        Args:
          grads: the packed gradients; zero for parameters that do not learn, so that they do not count in the norm.
          state: from `init` or the previous update.
          params: the packed parameters.
          rates: the learning rates by group. They do not come from a count of updates, because a skipped update also
            advances the schedule.

        Returns:
          The new parameters and the new state, packed.
        """
        clipped, _ = optax.clip_by_global_norm(self.clip_norm).update(grads, optax.EmptyState())
        new_params, new_state = {}, {}
        for group in self.groups:
            updates, new_state[group] = self.inner[group].update(clipped[group], state[group], params[group])  # pyright: ignore
            updates = jax.tree.map(lambda u, rate=rates[group]: -rate * u, updates)
            new_params[group] = optax.apply_updates(params[group], updates)
        return new_params, new_state

    def to_stored(self, state: State) -> dict[str, Any]:
        """Converts the state to the form of a checkpoint.

        Returns:
          {name: tree} for each field of optax's state: moments ("mu", "nu") in the structure of the parameter tree,
          and "count", which has one number per group, as {group: number}.
        """

        fields: dict[str, dict[str, Any]] = {}
        for group in self.groups:
            for path, value in jax.tree_util.tree_leaves_with_path(state[group], is_leaf=_is_packed):
                fields.setdefault(path_name(path), {})[group] = value
        return {
            name: self.packing.unpack(held) if _is_packed(held[self.groups[0]]) else held
            for name, held in fields.items()
        }

    def from_stored(self, stored: Mapping[str, Any]) -> State:
        """The inverse of `to_stored`."""
        like = jax.eval_shape(lambda params: self.init(self.packing.pack(params)), self.shapes)
        state = {}
        for group in self.groups:

            def take(path: Any, leaf: Any, group: str = group) -> Any:
                held = stored[path_name(path)]
                return self.packing.pack(held)[group] if _is_packed(leaf) else held[group]

            state[group] = jax.tree_util.tree_map_with_path(take, like[group], is_leaf=_is_packed)
        return state

    def updates_done(self, state: State, frozen_group: str | None = None) -> Int[Array, ""]:
        """The number of applied updates, without skipped ones. It is the count of a group that never freezes."""
        group = next(group for group in self.groups if group != frozen_group)
        return optax.tree.get(state[group], "count")


def _is_packed(node: Any) -> bool:
    return isinstance(node, dict)


def select(which: Bool[Array, ""] | bool, new: Any, old: Any) -> Any:
    """`new` if `which` is True, else `old`, for each leaf."""
    if isinstance(which, bool):
        return new if which else old
    return jax.tree.map(lambda n, o: jnp.where(which, n, o), new, old)


def ema_update(ema: Params, params: Params, decay: Float[Array, ""]) -> Params:
    """decay * ema + (1 - decay) * params. If the decay is 0, the result is exactly `params`."""
    return optax.incremental_update(params, ema, 1.0 - decay)
