"""Reads a step: compares its files with the seal, reads the config before the arrays, and names a bad file."""

import logging
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from ml_collections import ConfigDict

from hcflow_jax import parameters, paths
from hcflow_jax.checkpoint import files
from hcflow_jax.checkpoint.files import WEIGHTS, CheckpointError
from hcflow_jax.checkpoint.loading import Checkpoint
from hcflow_jax.config import ConfigError, config_from_plain

_log = logging.getLogger(__name__)


class OtherModelError(CheckpointError):
    """The checkpoint is complete, but of another model or only weights, so an older step does not help."""


def _handlers() -> dict[str, Any]:
    return {
        "state": ocp.PyTreeCheckpointHandler(),
        "config": ocp.JsonCheckpointHandler(),
        "metadata": ocp.JsonCheckpointHandler(),
    }


def open_manager(root: Path, **options: Any) -> ocp.CheckpointManager:
    """Orbax's manager of the steps in a directory that is there."""
    return ocp.CheckpointManager(
        paths.plain(root), options=ocp.CheckpointManagerOptions(**options), item_handlers=_handlers()
    )


def root_of(manager: ocp.CheckpointManager) -> Path:
    """The directory of `open_manager`, by its own name."""
    return Path(paths.own_names(str(manager.directory)))


def _check_shapes(directory: Path, stored: Any, wanted: Any) -> None:
    if found := parameters.first_difference(stored, wanted):
        name, there, here = found
        raise OtherModelError(
            f"{directory} belongs to another model: {name} is {'missing' if there is None else there} there and "
            f"{'missing' if here is None else here} in this config; use its own config, or another workdir"
        )


def _check_parts(directory: Path, stored: Iterable[str], template: Any, parts: Iterable[str]) -> None:
    if template is not None and set(stored) == {WEIGHTS}:
        raise OtherModelError(
            f"{directory} contains only weights, without a training state to resume from: "
            f"name another workdir, and start from the weights with train.init_from={directory.parent.parent}"
        )
    for name in parts if template is None else ():
        if name not in stored:
            raise CheckpointError(f"{directory} has no {name}: it holds {', '.join(sorted(stored))}")


def _placed(tree: Any) -> Any:
    """Shapes with a device, because the checkpoint may come from other devices."""
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

    def place(leaf: Any) -> jax.ShapeDtypeStruct:
        sharding = getattr(leaf, "sharding", None)
        known = isinstance(sharding, jax.sharding.Sharding)  # Orbax describes a stored array's in its own way
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding if known else here)

    return jax.tree.map(place, tree)


def any_config(config: ConfigDict) -> None:
    """Accepts any config."""


def read_step(
    manager: ocp.CheckpointManager,
    step: int,
    template: Any,
    parts: Iterable[str] = (),
    accept: Callable[[ConfigDict], None] = any_config,
) -> Checkpoint:
    """Reads one step.

    Args:
      manager: from `open_manager`.
      step: its number.
      template: a tree of arrays or shapes like the whole state, or a function that gives it for the tree that the
        checkpoint describes; None for some of its parts.
      parts: which, then.
      accept: is called with the config of the step before its arrays are read; may raise ConfigError.

    Raises:
      CheckpointError: it is incomplete, damaged or of another model.
      ConfigError: from `accept`.
    """
    directory = root_of(manager) / str(step)
    files.check(directory)
    try:
        described = manager.restore(
            step, args=ocp.args.Composite(config=ocp.args.JsonRestore(), metadata=ocp.args.JsonRestore())
        )
        stored = dict(manager.item_metadata(step)["state"].tree)
        if callable(template) and set(stored) != {WEIGHTS}:
            template = template(stored)
        _check_parts(directory, stored, template, parts)
        config = config_from_plain(described["config"])
        accept(config)
        if template is None:
            template = {name: stored[name] for name in parts}
        else:
            _check_shapes(directory, stored, template)
        target = _placed(template)
        how = ocp.checkpoint_utils.construct_restore_args(target)
        restore = ocp.args.PyTreeRestore(target, restore_args=how, partial_restore=True)
        arrays = manager.restore(step, args=ocp.args.Composite(state=restore))["state"]
    except (CheckpointError, ConfigError):
        raise
    except Exception as error:  # Orbax, TensorStore and json each raise their own
        named = re.findall(r'local file "([^"]+)"', str(error))
        where, why = (paths.own_names(text) for text in (named[-1] if named else str(directory), reason(error)))
        raise CheckpointError(f"{where} cannot be read: copy it again, or use another ({why})") from error
    return Checkpoint(step, config, arrays, described["metadata"])


def reason(error: BaseException) -> str:
    """The first line of another library's error."""
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


def read_newest(manager: ocp.CheckpointManager, read: Callable[[int], Checkpoint]) -> Checkpoint | None:
    """Reads the newest step that can be read, and warns about each that cannot; None if there is no step."""
    steps = sorted(manager.all_steps(), reverse=True)
    problems = []
    for step in steps:
        try:
            return read(step)
        except OtherModelError:
            raise
        except CheckpointError as error:
            problems.append(str(error))
            _log.warning("checkpoint %d cannot be used: %s; trying the previous one", step, error)
    if steps:
        raise CheckpointError(f"{root_of(manager)}: none of its {len(steps)} steps can be read: {problems[0]}")
    return None
