"""The form of a training state in a checkpoint: `step`, `params`, `opt_state` and `ema`, as trees of parameters.

Version 0.1 stored the state of the optimizer as vectors that contain many tensors. Such checkpoints can be read, too.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Sharding

from hcflow_jax.training.groups import Packing, RateGroups
from hcflow_jax.training.optimizer import Optimizer
from hcflow_jax.training.state import TrainState, create

_CHUNK_0_1 = 2_000_000  # the approximate number of elements of a vector in version 0.1


class Storage:
    """Converts a state to its stored form and back."""

    def __init__(self, optimizer: Optimizer, rate_groups: RateGroups, where: Sharding):
        """Args:
        optimizer: the optimizer of the run.
        rate_groups: the rate groups of the model.
        where: the sharding of a state.
        """
        self._optimizer, self._where = optimizer, where
        self._shapes = optimizer.shapes
        self._packing_0_1 = Packing.of(self._shapes, rate_groups, _CHUNK_0_1)
        self.stored = jax.jit(self._stored, out_shardings=where)
        self._state = jax.jit(self._read, out_shardings=where)
        self._state_0_1 = jax.jit(self._read_0_1, out_shardings=where)

    def template(self, stored: Mapping[str, Any]) -> Any:
        """Shapes and shardings of the stored arrays, for Orbax, in the form that the checkpoint has.

        Args:
          stored: the tree in the checkpoint's description.
        """
        rest = {"step": jax.ShapeDtypeStruct((), jnp.int32), "params": self._shapes, "ema": self._shapes}
        if _is_0_1(stored.get("opt_state")):
            template = rest | {"opt_state": self._opt_state_0_1()}
        else:
            created = jax.eval_shape(lambda params: create(params, self._optimizer), self._shapes)
            template = jax.eval_shape(self._stored, created)
        return jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=self._where), template)

    def state(self, arrays: Mapping[str, Any]) -> TrainState:
        """Makes the state from stored arrays, in this version's form or that of version 0.1."""
        return (self._state_0_1 if _is_0_1(arrays["opt_state"]) else self._state)(arrays)

    def _stored(self, state: TrainState) -> dict[str, Any]:
        opt_state, unpack = self._optimizer.to_stored(state.opt_state), self._optimizer.packing.unpack
        return {"step": state.step, "params": unpack(state.params), "opt_state": opt_state, "ema": unpack(state.ema)}

    def _read(self, arrays: Mapping[str, Any]) -> TrainState:
        opt_state, pack = self._optimizer.from_stored(arrays["opt_state"]), self._optimizer.packing.pack
        return TrainState(arrays["step"], pack(arrays["params"]), opt_state, pack(arrays["ema"]))

    # Version 0.1 stored the state of an optax chain of clipping and Adam by group, in the form that Orbax describes.

    def _opt_state_0_1(self) -> Any:
        packed = jax.eval_shape(self._packing_0_1.pack, self._shapes)
        count = jax.ShapeDtypeStruct((), jnp.int32)

        def adam(group: str) -> dict[str, Any]:
            moments = {name: packed[group] if name == group else None for name in packed}
            return {"inner_state": [{"count": count, "mu": moments, "nu": dict(moments)}, None]}

        return [None, {"inner_states": {group: adam(group) for group in packed}}]

    def _read_0_1(self, arrays: Mapping[str, Any]) -> TrainState:
        by_group = {g: s["inner_state"][0] for g, s in arrays["opt_state"][1]["inner_states"].items()}
        moments = {
            name: self._packing_0_1.unpack({group: adam[name][group] for group, adam in by_group.items()})
            for name in ("mu", "nu")
        }
        counts = {group: adam["count"] for group, adam in by_group.items()}
        return self._read({**arrays, "opt_state": {"count": counts, **moments}})


def _is_0_1(opt_state: Any) -> bool:
    return isinstance(opt_state, list)
