"""`--mode=check`: says what a run would be, and finds what would end it, without training or writing anything."""

import hashlib
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from hcflow_jax import buckets, checkpoint, data, devices, likelihood, models, paths, settings
from hcflow_jax.config import ConfigError, check_paths, flat
from hcflow_jax.data import pipeline, portraits
from hcflow_jax.evaluation import measure
from hcflow_jax.layout import CHECKPOINTS
from hcflow_jax.models import ImageModel
from hcflow_jax.training import initialise, resumption, sharding, state, workdir
from hcflow_jax.training.groups import count_by_group
from hcflow_jax.training.metrics import say
from hcflow_jax.training.optimizer import Optimizer
from hcflow_jax.training.schedule import Schedule, schedule
from hcflow_jax.training.step import sample_keys
from hcflow_jax.training.stored import Storage
from hcflow_jax.training.trace import Trace

_GIGA = 1e9
_LARGEST = 1 << 16  # devices
_LITTLE = 0.01  # of a learning rate


@settings.own()
def check(
    config: ConfigDict,
    path: str | Path,
    *,
    profile: tuple[int, int] | None = None,
    allow_config_change: bool = False,
) -> None:
    """Prints the resolved config, the model, the images, the memory and the workdir of a run.

    It does what a run does before its first step, in the same order, except compiling: so it raises the same errors.

    Args:
      config, path, profile, allow_config_change: as in `loop.train`.

    Raises:
      ConfigError, CheckpointError, DataError, InputError: as in `loop.train`.
    """
    check_paths(config)
    devices.start()
    for name, value in flat(config).items():
        say(f"config.{name} = {value!r}")
    model = models.build(config)
    _say_model(model)
    mesh = sharding.make_mesh(config, model.batch_unit)
    optimizer = Optimizer.of(model, config)
    images, _ = _images(config, "train", "training"), _images(config, "eval", "held-out")
    _check_measuring(config)
    storage = Storage(optimizer, model.rate_groups, sharding.replicated(mesh))
    found = _say_workdir(config, path, storage, images, allow_config_change)
    if found is None and not config.train.init_from:
        _check_init_images(config, images)
    start = 0 if found is None else found.step
    count = config.data.train_images if images is None else len(images)
    plan = schedule(config, count, 0, model.frozen_group)
    plan.numbers()
    Trace(profile, Path(path), start=start, num_steps=config.train.num_steps)
    _say_length(config, model, count, start)
    _say_schedule(plan)
    _say_memory(config, model, optimizer, config.train.batch_size // config.train.accumulate // mesh.size)
    say("nothing in this config would be refused on this machine")


def _images(config: ConfigDict, split: data.Split, name: str) -> data.Source | None:
    """Opens images and says how many there are. None: illustrations that are not made yet; they are not made here."""
    if config.data.source == "portraits" and (folder := portraits.not_made(config.data, split)) is not None:
        count = config.data[f"{split}_images"]
        say(f"{name} images: {count:,} illustrations, which the run would make in {folder}")
        return None
    source = data.open_source(config, split)
    first = hashlib.sha256(source[0].tobytes()).hexdigest()[:16]
    say(f"{name} images: {len(source):,} of {source.name}, the first with digest {first}")
    return source


def _say_model(model: ImageModel) -> None:
    counts = count_by_group(model.shapes(), model.rate_groups)
    by_group = ", ".join(f"{group} {count:,}" for group, count in counts.items())
    say(f"parameters: {sum(counts.values()):,} ({by_group})")
    shapes = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in model.latent_shapes.items())
    say(f"latents, coarse to fine: {shapes}")


def _check_measuring(config: ConfigDict) -> None:
    """Finds unknown metrics; and weights that are missing, if the run measures while it trains."""
    names, _, extractor = measure.wanted(config)
    if config.train.measure_every > 0 and any(name != "bits" for name in names):
        extractor()


def _check_init_images(config: ConfigDict, images: data.Source | None) -> None:
    """Reads the images that initialise the model. Only a fresh run needs them."""
    if images is not None:
        pipeline.init_images(config, images)
    elif config.train.init_images > (count := config.data.train_images):
        raise ConfigError(f"train.init_images is {config.train.init_images}: expected 1 to the {count} images")


def _say_workdir(
    config: ConfigDict, path: str | Path, storage: Storage, images: data.Source | None, allow: bool
) -> checkpoint.Checkpoint | None:
    """Says whether the run would begin, resume, or start from other weights. Returns what it would resume from."""
    directory = paths.absolute(paths.place(path, "--workdir"))
    if isinstance(directory, Path):
        there = next(parent for parent in (directory, *directory.parents) if parent.exists())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            raise ConfigError(
                f"--workdir={path} cannot be written ({there} is no folder that you may write): name another"
            )
    else:
        say(f"workdir: asking the store for {directory}; if it does not answer, this takes a minute")
        workdir.place(directory)
    found = None
    if buckets.is_folder(directory / CHECKPOINTS):
        accept = lambda before: resumption.check(before, config, allow)  # noqa: E731
        found = checkpoint.newest(directory, storage.template, accept)
    if found is not None:
        if images is not None:
            resumption.check_images(found.metadata.get("data"), images, config.data)
        resumption.check_length(config, found.step, directory)
        say(f"workdir: {directory} has step {found.step}, and the run would resume there")
        for change in resumption.changes(found.config, config):
            say(f"  a field changed since it was saved: {change}")
    elif config.train.init_from:
        initialise.find(config)
        say(f"workdir: {directory} has no checkpoint; the run would start from {config.train.init_from}")
    else:
        say(f"workdir: {directory} has no checkpoint; the run would start with fresh parameters")
    return found


def _say_length(config: ConfigDict, model: ImageModel, count: int, start: int) -> None:
    train = config.train
    steps, shared = max(0, train.num_steps - start), math.gcd(train.batch_size, config.eval.batch_size)
    fits = [n for n in range(1, min(shared, _LARGEST) + 1) if shared % (n * model.batch_unit) == 0]
    seen = steps * train.batch_size
    say(f"steps: {steps:,} of {train.batch_size} images, which see each training image {seen / count:,.1f} times")
    say(f"devices: these batches can be split over {', '.join(map(str, fits))}; here {jax.device_count()}")


def _say_schedule(plan: Schedule) -> None:
    train = plan.train
    epochs = train.num_steps * train.batch_size / plan.images_per_epoch
    say(f"epochs: {epochs:,.1f} of {plan.images_per_epoch:,} images each (train.images_per_epoch)")
    if plan.freeze_step is not None and plan.freeze_step < train.num_steps:
        say(f"  from step {plan.freeze_step:,} on, the group {plan.frozen_group} does not learn (train.freeze_epoch)")
    for group in train.learning_rate:
        step = plan.fallen(group, _LITTLE)
        if step is not None and not (group == plan.frozen_group and plan.frozen(step)):
            say(f"  from step {step:,} on, the learning rate of {group} is at most 1 % of the first (train.decay)")


def _say_memory(config: ConfigDict, model: ImageModel, optimizer: Optimizer, share: int) -> None:
    kept = jax.eval_shape(lambda params: state.create(params, optimizer), optimizer.shapes)
    fixed = (_size(kept) + _size(optimizer.shapes)) / _GIGA
    most = _size(activations(config, share)) / _GIGA
    say(f"memory on each device: {fixed:.2f} GB for parameters, EMA, optimizer and gradients")
    say(f"  at most {most:.1f} GB for the activations of {share} images; the compiled program needs less")


def activations(config: ConfigDict, count: int) -> Any:
    """The arrays that the backward pass of `count` images keeps, in the arithmetic of a GPU; nothing is computed.

    Returns:
      A tree of `jax.ShapeDtypeStruct`.
    """
    config = config.copy_and_resolve_references()
    if "preset" in config.execution and config.execution.preset == "auto":
        with config.unlocked():
            config.execution.preset = "gpu"
    model = models.build(config)
    keys = jax.eval_shape(lambda: sample_keys(jax.random.key(0), count))
    images = jax.ShapeDtypeStruct((count, *model.image_shape), jnp.uint8)

    def backward(params: Any, images: Any, keys: Any) -> Callable[..., Any]:
        loss = lambda params: jnp.mean(likelihood.objective(model, params, images, keys, config.data).loss)  # noqa: E731
        return jax.vjp(loss, params)[1]

    return jax.eval_shape(backward, model.shapes(), images, keys)


def _size(tree: Any) -> int:
    """Bytes of the arrays of a tree."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)]
    return sum(math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize for leaf in leaves)
