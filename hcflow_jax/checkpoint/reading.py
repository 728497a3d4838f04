"""Reads a checkpoint: compares its files with the seal, reads the config and then the arrays, and names bad files."""

import logging
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath
from ml_collections import ConfigDict

from hcflow_jax import buckets, parameters, paths
from hcflow_jax.checkpoint import files
from hcflow_jax.checkpoint.files import WEIGHTS, CheckpointError
from hcflow_jax.checkpoint.loading import Checkpoint
from hcflow_jax.config import ConfigError, config_from_plain
from hcflow_jax.paths import Place

_log = logging.getLogger(__name__)


class OtherModelError(CheckpointError):
    """The checkpoint is complete, but it belongs to another model or has only weights.

    Older steps are not tried, because they have the same problem.
    """


class UnequalError(CheckpointError):
    """The processes of a run do not find the same steps, or only some of them can read a step.

    Older steps are not tried, because all processes must restore the same step.
    """


def _handlers() -> dict[str, Any]:
    return {
        "state": ocp.PyTreeCheckpointHandler(),
        "config": ocp.JsonCheckpointHandler(),
        "metadata": ocp.JsonCheckpointHandler(),
    }


def open_manager(root: Place, **options: Any) -> ocp.CheckpointManager:
    """Orbax's manager for the steps in a directory that exists.

    Args:
      root: the directory.
      **options: options of Orbax's manager.
    """
    where = paths.plain(root) if isinstance(root, Path) else root
    return ocp.CheckpointManager(where, options=ocp.CheckpointManagerOptions(**options), item_handlers=_handlers())


def root_of(manager: ocp.CheckpointManager) -> Place:
    """The directory of a manager from `open_manager`: its own path, not that of a link to it (`paths.plain`)."""
    where = str(manager.directory)
    return epath.Path(where) if paths.is_remote(where) else Path(paths.own_names(where))


def _check_shapes(directory: Place, stored: Any, wanted: Any) -> None:
    if found := parameters.first_difference(stored, wanted):
        name, there, here = found
        raise OtherModelError(
            f"{directory} belongs to another model: {name} is {'missing' if there is None else there} there and "
            f"{'missing' if here is None else here} in this config; use its own config, or another workdir"
        )


def _check_parts(directory: Place, stored: Iterable[str], template: Any, parts: Iterable[str]) -> None:
    if template is not None and set(stored) == {WEIGHTS}:
        raise OtherModelError(
            f"{directory} contains only weights, without a training state to resume from: "
            f"name another workdir, and start from the weights with train.init_from={directory.parent.parent}"
        )
    for name in parts if template is None else ():
        if name not in stored:
            raise CheckpointError(f"{directory} has no {name}: it holds {', '.join(sorted(stored))}")


def _placed(tree: Any) -> Any:
    """Gives each shape without a sharding the first device, because the checkpoint may come from other devices."""
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

    def place(leaf: Any) -> jax.ShapeDtypeStruct:
        sharding = getattr(leaf, "sharding", None)
        known = isinstance(sharding, jax.sharding.Sharding)  # for stored arrays, Orbax has its own description
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding if known else here)

    return jax.tree.map(place, tree)


def any_config(config: ConfigDict) -> None:
    """Accepts any config: the default of `accept` in `read_step`."""


def read_step(
    manager: ocp.CheckpointManager,
    step: int,
    template: Any,
    parts: Iterable[str] = (),
    accept: Callable[[ConfigDict], None] = any_config,
    *,
    verify: bool = True,
    arrays: bool = True,
) -> Checkpoint:
    """Reads one step.

    Args:
      manager: from `open_manager`.
      step: the number of the step.
      template: a tree of arrays or shapes with the structure of the whole state, or a function that returns it for
        the tree in the checkpoint's description. None: read only some parts.
      parts: the parts to read if `template` is None.
      accept: is called with the config of the step before its arrays are read. It may raise a ConfigError.
      verify: whether to compare the files with their seal first (`files.check`).
      arrays: whether to read the arrays. If not, everything else is checked, and the result has no arrays.

    Raises:
      CheckpointError: the step is incomplete, damaged or of another model.
      ConfigError: from `accept`.
    """
    directory = root_of(manager) / str(step)
    if verify:
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
        if not arrays:
            return Checkpoint(step, config, {}, described["metadata"])
        target = _placed(template)
        how = ocp.checkpoint_utils.construct_restore_args(target)
        restore = ocp.args.PyTreeRestore(target, restore_args=how, partial_restore=True)
        restored = manager.restore(step, args=ocp.args.Composite(state=restore))["state"]
    except (CheckpointError, ConfigError, buckets.StoreError):
        raise
    except Exception as error:  # Orbax, TensorStore and json raise many kinds of errors
        if paths.is_remote(directory) and buckets.is_outage(error):
            raise buckets.OutageError(f"{directory}: {buckets.reason(error)}") from error
        named = re.findall(r'local file "([^"]+)"', str(error))
        where, why = (paths.own_names(text) for text in (named[-1] if named else str(directory), reason(error)))
        raise CheckpointError(f"{where} cannot be read: copy it again, or use another ({why})") from error
    return Checkpoint(step, config, restored, described["metadata"])


def reason(error: BaseException) -> str:
    """The first line of an error of another library."""
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


def read_newest(manager: ocp.CheckpointManager, read: Callable[[int], Checkpoint]) -> Checkpoint | None:
    """Reads the newest step that can be read, and warns about each newer step that cannot.

    Args:
      manager: from `open_manager`.
      read: reads a step.

    Returns:
      The checkpoint; None if there is no step.

    Raises:
      CheckpointError: no step can be read.
      OtherModelError: the step belongs to another model, or has only weights.
      UnequalError: from `read`.
    """
    steps = sorted(manager.all_steps(), reverse=True)
    problems = []
    for step in steps:
        try:
            return read(step)
        except (OtherModelError, UnequalError):
            raise
        except CheckpointError as error:
            problems.append(str(error))
            _log.warning("checkpoint %d cannot be used: %s; trying the previous one", step, error)
    if steps:
        raise CheckpointError(f"{root_of(manager)}: none of its {len(steps)} steps can be read: {problems[0]}")
    return None
