"""The training step: a jitted function of the state and the global batch. It draws all its noise on the device."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Key, Shaped, UInt8
from ml_collections import ConfigDict

from hcflow_jax import likelihood
from hcflow_jax.keys import root_key
from hcflow_jax.models import ImageModel
from hcflow_jax.training import schedule as schedules
from hcflow_jax.training import sharding
from hcflow_jax.training.groups import Packed, labels
from hcflow_jax.training.optimizer import Optimizer, ema_update, select
from hcflow_jax.training.schedule import Schedule
from hcflow_jax.training.state import TrainState

Metrics = dict[str, Float[Array, ""]]

T = TypeVar("T")

# The random stream of the initialisation. It is a step number that no run reaches, so no step has the same draws.
INIT_STREAM = 2**32 - 1


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Numbers:
    """The arguments of a training step besides state and images.

    Attributes:
      seed: the seed of the run, uint32.
      schedule: the numbers of the schedule.
    """

    seed: Array | np.ndarray
    schedule: schedules.Numbers


TrainStep = Callable[[TrainState, UInt8[Array, "B R R 3"], Numbers], tuple[TrainState, Metrics]]


def numbers_of(config: ConfigDict, schedule: Schedule, mesh: Mesh) -> Numbers:
    """The numbers of a run, on every device of the mesh.

    Args:
      config: the whole config; `seed` is used.
      schedule: the schedule of the run.
      mesh: from `sharding.make_mesh`.
    """
    own = Numbers(np.asarray(config.seed % 2**32, np.uint32), schedule.numbers())
    return sharding.place(sharding.replicated(mesh), own)


def sample_keys(key: Key[Array, ""], batch_size: int, first: int | Array = 0) -> Key[Array, " B"]:
    """The keys of the samples of a step, by position in the global batch. All random draws for a sample use its key.

    Args:
      key: fold_in(key(seed), step).
      batch_size: B, the number of samples.
      first: the position of the first sample.
    """
    return jax.vmap(jax.random.fold_in, (None, 0))(key, first + jnp.arange(batch_size, dtype=jnp.int32))


def mean_over_runs(compute: Callable[[Array | int, Array], T], batch: Shaped[Array, "b ..."], runs: int) -> T:
    """Computes equal parts of a batch one after another, to save memory, and returns the mean.

    The parts keep the order of the samples. If the size of a part is a multiple of the batch unit, no unit is split.

    Args:
      compute: (first, part) -> a tree of float arrays that are means over the samples of the part. `first` is the
        position of the part in the batch; the part has b / runs samples.
      batch: the batch; b is a multiple of `runs`.
      runs: the number of parts, at least 1.

    Returns:
      A tree like that of `compute`. It equals compute(0, batch) up to the rounding of sums.
    """
    if runs == 1:
        return compute(0, batch)
    size = batch.shape[0] // runs
    cut = batch.reshape(runs, size, *batch.shape[1:])

    def add(total: T, numbered: tuple[Array, Array]) -> tuple[T, None]:
        number, run = numbered
        return jax.tree.map(jnp.add, total, compute(number * size, run)), None

    shapes = jax.eval_shape(compute, jnp.int32(0), cut[0])
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    total, _ = jax.lax.scan(add, zeros, (jnp.arange(runs, dtype=jnp.int32), cut))
    return jax.tree.map(lambda value: value / runs, total)


def without_gradient(params: Any, model: ImageModel, group: str | None) -> Any:
    """The parameters; those of one rate group get no gradient.

    Args:
      params: the parameters.
      model: the model; its `rate_groups` are used.
      group: the name of the group; None: all parameters get gradients.
    """

    def cut(leaf: Array, label: str) -> Array:
        return jax.lax.stop_gradient(leaf) if label == group else leaf

    return jax.tree.map(cut, params, labels(params, model.rate_groups))


def make_train_step(
    model: ImageModel,
    optimizer: Optimizer,
    config: ConfigDict,
    schedule: Schedule,
    mesh: Mesh,
    *,
    frozen: bool = False,
) -> TrainStep:
    """Makes the training step, a jitted function. It minimises the loss (docs/model.md, Eq. N) and donates the state.

    Each device of the mesh computes a part of the batch, in `train.accumulate` micro-batches one after another.
    Gradients and metrics are averaged over all devices and micro-batches.

    If the loss or the gradient norm is not finite, the step only increases the step number. A group that does not
    learn (`Schedule.learns`) keeps its parameters and moments, and does not count in the norm of the gradient.

    Args:
      model: the model.
      optimizer: the optimizer of its parameters.
      config: the whole config.
      schedule: rates, freeze and EMA decay by step.
      mesh: from `sharding.make_mesh`.
      frozen: whether to leave the frozen group out of the backward pass. This is a second program, which is worth
        compiling in a long run. The group stops learning at the freeze epoch in both cases.

    Returns:
      (state, images (B, R, R, 3) uint8, numbers) -> (state, metrics). `numbers` come from `numbers_of`. They are not
      part of the program, so runs that differ only in seed or schedule share it. The metrics are scalars on the
      device: `loss` (bits, weighted), `bits_per_dim` and `bits/LEVEL` (bits per dimension of the image), `grad_norm`
      (before clipping, of the parameters that learn), `grad_norm/GROUP`, `rate/GROUP`, and `skipped` (the number of
      skipped updates in the whole run so far).
    """
    packing, groups = optimizer.packing, optimizer.groups

    def loss_fn(params: Any, images: Array, keys: Any) -> tuple[Float[Array, ""], Any]:
        if frozen:
            params = without_gradient(params, model, model.frozen_group)
        loss, result = likelihood.mean_loss(model, params, images, keys, config.data)
        return loss, likelihood.by_name(result)

    def of_run(params: Any, step_key: Array, first: Array, images: UInt8[Array, "b R R 3"]) -> tuple[Packed, Metrics]:
        """Gradients and metrics of the images [first, first + b) of the batch."""
        keys = sample_keys(step_key, images.shape[0], first)
        (_, result), grads = jax.value_and_grad(loss_fn, has_aux=True)(params, images, keys)
        return packing.pack(grads), {name: jnp.mean(values) for name, values in result.items()}

    def gradients(params: Any, step: Array, seed: Any, images: UInt8[Array, "b R R 3"]) -> tuple[Packed, Metrics]:
        """Gradients and metrics of a device's part of the batch, averaged over all devices."""
        step_key = jax.random.fold_in(root_key(seed), step)
        first = jax.lax.axis_index(sharding.BATCH) * images.shape[0]
        mean = mean_over_runs(
            lambda at, run: of_run(params, step_key, first + at, run), images, config.train.accumulate
        )
        return jax.lax.pmean(mean, sharding.BATCH)

    one, run = PartitionSpec(), PartitionSpec(sharding.BATCH)
    # check_vma is not needed: the only collective operation is the average at the end.
    gradients = jax.shard_map(
        gradients, mesh=mesh, in_specs=(one, one, one, run), out_specs=(one, one), check_vma=False
    )

    def train_step(
        state: TrainState, images: UInt8[Array, "B R R 3"], numbers: Numbers
    ) -> tuple[TrainState, Metrics]:
        plan = numbers.schedule
        old = state.params
        grads, means = gradients(packing.unpack(old), state.step, numbers.seed, images)
        learns = {group: schedule.learns(state.step, group, plan) for group in groups}
        if frozen and model.frozen_group is not None:
            learns[model.frozen_group] = False
        nothing = jax.tree.map(jnp.zeros_like, grads)
        grads = {group: select(learns[group], grads[group], nothing[group]) for group in groups}
        grad_norm = optax.tree.norm(grads)
        rates = schedule.rates(state.step, plan)
        params, opt_state = optimizer.update(grads, state.opt_state, old, rates)
        params = {group: select(learns[group], params[group], old[group]) for group in groups}
        opt_state = {group: select(learns[group], opt_state[group], state.opt_state[group]) for group in groups}
        ema = ema_update(state.ema, params, schedule.ema_decay(state.step, plan))

        good = jnp.isfinite(means["loss"]) & jnp.isfinite(grad_norm)
        new_state = TrainState(
            step=state.step + 1,
            params=select(good, params, old),
            opt_state=select(good, opt_state, state.opt_state),
            ema=select(good, ema, state.ema),
        )
        metrics = {
            **means,
            "grad_norm": grad_norm,
            **{f"grad_norm/{group}": optax.tree.norm(grads[group]) for group in groups},
            **{f"rate/{group}": rates[group] for group in groups},
            "skipped": new_state.step - optimizer.updates_done(new_state.opt_state, model.frozen_group),
        }
        return new_state, metrics

    everywhere, spread = sharding.replicated(mesh), sharding.split(mesh)
    return jax.jit(
        train_step, donate_argnums=0, in_shardings=(everywhere, spread, everywhere), out_shardings=everywhere
    )
