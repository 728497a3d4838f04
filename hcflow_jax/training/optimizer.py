"""The optimizer: clipping by the global norm, then Adam or Adamax for each rate group (Section 6, Table 2).

Its state is packed on the device (`groups.Packing`), but stored in the shape of the parameter tree. So checkpoints do
not depend on how the optimizer is made fast.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int
from ml_collections import ConfigDict

from hcflow_jax.models import ImageModel
from hcflow_jax.parameters import path_name
from hcflow_jax.training.groups import Packed, Packing

Params = Any
State = dict[str, Any]  # {group: optax's state over {chunk: vector}}

OPTIMIZERS = {"adam": optax.scale_by_adam, "adamax": optax.scale_by_adamax}


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """Clipping, and one transformation per rate group, over packed trees.

    Attributes:
      packing: the packing of the parameter tree.
      inner: optax's transformation, without the learning rate; every group has its own state.
      clip_norm: largest global norm of the gradients.
    """

    packing: Packing
    inner: optax.GradientTransformation
    clip_norm: float

    @classmethod
    def of(cls, model: ImageModel, config: ConfigDict) -> "Optimizer":
        """Makes the optimizer of a model.

        Args:
          model: its `shapes` and `rate_groups` are read.
          config: the whole config; `train` says which optimizer.
        """
        train = config.train
        inner = OPTIMIZERS[train.optimizer](b1=train.adam_b1, b2=train.adam_b2, eps=train.adam_eps)
        return cls(Packing.of(model.shapes(), model.rate_groups), inner, train.clip_norm)

    @property
    def shapes(self) -> Params:
        """The parameter tree's shapes."""
        leaves = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in self.packing.shapes]
        return jax.tree.unflatten(self.packing.structure, leaves)

    @property
    def groups(self) -> tuple[str, ...]:
        """The rate groups' names."""
        return self.packing.groups

    def init(self, params: Params) -> State:
        """The state at step 0, of a parameter tree."""
        return {group: self.inner.init(parts) for group, parts in self.packing.pack(params).items()}

    def update(
        self, grads: Packed, state: State, params: Packed, rates: Mapping[str, Float[Array, ""]]
    ) -> tuple[Packed, State]:
        """One update.

        Args:
          grads: packed gradients; zero for parameters that do not learn, so that they do not count in the norm.
          state: from `init` or the previous update.
          params: packed parameters.
          rates: learning rates by group. They are not computed from a count of updates, because a skipped update
            advances the schedule, too.

        Returns:
          The new parameters and state, packed.
        """
        clipped, _ = optax.clip_by_global_norm(self.clip_norm).update(grads, optax.EmptyState())
        new_params, new_state = {}, {}
        for group in self.groups:
            updates, new_state[group] = self.inner.update(clipped[group], state[group], params[group])  # pyright: ignore
            updates = jax.tree.map(lambda u, rate=rates[group]: -rate * u, updates)
            new_params[group] = optax.apply_updates(params[group], updates)
        return new_params, new_state

    def to_stored(self, state: State) -> dict[str, Any]:
        """Converts the state to the form of a checkpoint.

        Returns:
          {name: tree} for each field of optax's state: moments ("mu", "nu") in the shape of the parameter tree; a
          field with one number per group ("count") as {group: number}.
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
        like = jax.eval_shape(self.init, self.shapes)
        state = {}
        for group in self.groups:

            def take(path: Any, leaf: Any, group: str = group) -> Any:
                held = stored[path_name(path)]
                return self.packing.pack(held)[group] if _is_packed(leaf) else held[group]

            state[group] = jax.tree_util.tree_map_with_path(take, like[group], is_leaf=_is_packed)
        return state

    def updates_done(self, state: State, frozen_group: str | None = None) -> Int[Array, ""]:
        """The number of applied updates, without skipped ones: the count of a group that never freezes."""
        group = next(group for group in self.groups if group != frozen_group)
        return optax.tree.get(state[group], "count")


def _is_packed(node: Any) -> bool:
    return isinstance(node, dict)


def select(which: Bool[Array, ""] | bool, new: Any, old: Any) -> Any:
    """`new` where `which`, else `old`, leaf by leaf."""
    if isinstance(which, bool):
        return new if which else old
    return jax.tree.map(lambda n, o: jnp.where(which, n, o), new, old)


def ema_update(ema: Params, params: Params, decay: Float[Array, ""]) -> Params:
    """decay * ema + (1 - decay) * params; exactly `params` if the decay is 0."""
    return optax.incremental_update(params, ema, 1.0 - decay)
