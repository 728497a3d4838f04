"""One training step: a jitted function of state and global batch that draws all its noise on the device."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Key, UInt8
from ml_collections import ConfigDict

from hcflow_jax.data import preprocessing
from hcflow_jax.models import ImageModel
from hcflow_jax.training import accumulate, optimizer, sharding
from hcflow_jax.training.packing import Packed, Packing
from hcflow_jax.training.schedule import GROUPS, Schedule
from hcflow_jax.training.state import TrainState

Metrics = dict[str, Float[Array, ""]]
TrainStep = Callable[[TrainState, UInt8[Array, "B R R 3"]], tuple[TrainState, Metrics]]

# The initialisation's stream: a step number that no run reaches, so that its draws are nobody else's.
INIT_STREAM = 2**32 - 1


def root_key(seed: int) -> Key[Array, ""]:
    """key(seed), threefry whatever the jax default: draws are part of a run's definition."""
    return jax.random.key(seed, impl="threefry2x32")


def sample_keys(
    key: Key[Array, ""], batch_size: int, first: int | Array = 0
) -> tuple[Key[Array, " B"], Key[Array, " B"]]:
    """Keys of the samples of one step, by position in the global batch.

    Args:
      key: fold_in(key(seed), step).
      batch_size: B, how many.
      first: position of the first of them.

    Returns:
      data_keys, noise_keys: what augmentation and the model's noise draw from.
    """
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, first + jnp.arange(batch_size))
    data_keys, noise_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
    return data_keys, noise_keys


def augment(config: ConfigDict, keys: Key[Array, " B"], images: UInt8[Array, "B R R 3"]) -> Array:
    """Training images as x, (B, R, R, 3) float32: mirrored, dequantised and noised as `config.data` says."""
    data = config.data
    return preprocessing.augment(keys, images, bits=data.bits, noise_std=data.noise_std, flip=data.flip)


def _select(which: Bool[Array, ""], new: Any, old: Any) -> Any:
    return jax.tree.map(lambda n, o: jnp.where(which, n, o), new, old)


def make_train_step(
    model: ImageModel, config: ConfigDict, schedule: Schedule, mesh: Mesh, *, frozen: bool = False
) -> TrainStep:
    """The step of Section 5's loss under Section 6's optimizer, jitted, with the state donated.

    Each device of the mesh takes a run of the batch, in `train.accumulate` runs one after the other; gradients and
    metrics are averaged over all.

    A step whose loss or gradient norm is not finite changes nothing but the step number.

    Args:
      model: the model.
      config: the whole config.
      schedule: rates and EMA decay by step.
      mesh: from `sharding.make_mesh`.
      frozen: leave the encoder out of the backward pass: a second program, worth its compiling in a long run.
        Without it the encoder stops learning at the freeze epoch just the same.

    Returns:
      (state, images (B, R, R, 3) uint8) -> (state, metrics): scalars on the device. `loss` (bits, weighted),
      `bits_per_dim` and `bits/LEVEL` (bits per dim of the image), `grad_norm` (before clipping, of what
      learns) and `grad_norm/GROUP`, `rate/GROUP`, `skipped` (steps of the whole run so far whose update was skipped).
    """
    transformation = optimizer.make_optimizer(config)

    def loss_fn(params: Any, x: Array, keys: Any) -> tuple[Float[Array, ""], Any]:
        if frozen:
            params = {**params, "encoder": jax.lax.stop_gradient(params["encoder"])}
        result = model.objective(params, x, keys)
        return jnp.mean(result.loss), result

    def of_run(params: Any, step_key: Array, first: Array, images: UInt8[Array, "b R R 3"]) -> tuple[Packed, Metrics]:
        """Of images at [first, first + b) of the batch."""
        data_keys, noise_keys = sample_keys(step_key, images.shape[0], first)
        x = augment(config, data_keys, images)
        (loss, result), grads = jax.value_and_grad(loss_fn, has_aux=True)(params, x, noise_keys)
        means = {
            "loss": loss,
            "bits_per_dim": jnp.mean(result.bits_per_dim),
            **{f"bits/{level}": jnp.mean(bits) for level, bits in result.bits_by_level.items()},
        }
        return Packing.of(params).pack(grads), means

    def gradients(params: Any, step: Array, images: UInt8[Array, "b R R 3"]) -> tuple[Packed, Metrics]:
        """Of one device's run of the batch, averaged over all."""
        step_key = jax.random.fold_in(root_key(config.seed), step)
        first = jax.lax.axis_index(sharding.BATCH) * images.shape[0]
        mean = accumulate.mean_over_runs(
            lambda at, run: of_run(params, step_key, first + at, run), images, config.train.accumulate
        )
        return jax.lax.pmean(mean, sharding.BATCH)

    one, run = PartitionSpec(), PartitionSpec(sharding.BATCH)
    # Nothing to gain from tracking what varies over the mesh: the only collective is the average at the end.
    gradients = jax.shard_map(gradients, mesh=mesh, in_specs=(one, one, run), out_specs=(one, one), check_vma=False)

    def train_step(state: TrainState, images: UInt8[Array, "B R R 3"]) -> tuple[TrainState, Metrics]:
        grads, means = gradients(state.params, state.step, images)
        loss = means["loss"]
        packing = Packing.of(state.params)
        old, old_ema = packing.pack(state.params), packing.pack(state.ema)
        is_frozen = jnp.asarray(frozen) | schedule.is_frozen(state.step)
        grads["encoder"] = jax.tree.map(lambda g: jnp.where(is_frozen, 0.0, g), grads.get("encoder", {}))
        grad_norm = optax.tree.norm(grads)
        rates = schedule.rates(state.step)
        updates, opt_state = transformation.update(grads, state.opt_state, old, rates=rates, frozen=is_frozen)
        params = optax.apply_updates(old, updates)
        ema = optimizer.ema_update(old_ema, params, schedule.ema_decay(state.step))

        good = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
        new_state = TrainState(
            step=state.step + 1,
            params=packing.unpack(_select(good, params, old)),
            opt_state=_select(good, opt_state, state.opt_state),
            ema=packing.unpack(_select(good, ema, old_ema)),
        )
        metrics = {
            **means,
            "grad_norm": grad_norm,
            **{f"grad_norm/{group}": optax.tree.norm(grads[group]) for group in GROUPS},
            **{f"rate/{group}": rates[group] for group in GROUPS},
            "skipped": new_state.step - optimizer.updates_done(new_state.opt_state),
        }
        return new_state, metrics

    everywhere, spread = sharding.replicated(mesh), sharding.split(mesh)
    return jax.jit(train_step, donate_argnums=0, in_shardings=(everywhere, spread), out_shardings=everywhere)
