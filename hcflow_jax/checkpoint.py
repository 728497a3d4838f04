"""Save and restore: the only module that knows Orbax.

A step lies in WORKDIR/checkpoints/STEP and carries its config and the versions that wrote it, so a path is
all that is needed to use a model. The sizes of its files are written beside them once all are there: a copy
that was cut short is noticed, and the file named, before anything is read.
"""

import dataclasses
import importlib.metadata
import json
import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from hcflow_jax import config as schema

CHECKPOINTS = "checkpoints"
UNREADABLE = "unreadable"
SIZES = "sizes.json"

_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
_log = logging.getLogger(__name__)


class CheckpointError(Exception):
    """A checkpoint that is missing, incomplete or of another model; named, with what to do."""


class _OtherModelError(CheckpointError):
    """Whole, but of another model: an older step will not do either."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What was read.

    Attributes:
      step: steps done when it was written.
      config: the config it was trained with, locked.
      arrays: what was asked for, such as {"ema": params}, or the whole state in the shape of a template.
      metadata: `step`, `next_index` (first position of the data order not yet used), `data` (the training set;
        older checkpoints lack it), `versions` of the libraries.
    """

    step: int
    config: ConfigDict
    arrays: Any
    metadata: Mapping[str, Any]


def config_to_plain(config: ConfigDict) -> dict[str, Any]:
    """A config as JSON's own types."""
    return json.loads(config.to_json())


def config_from_plain(plain: Mapping[str, Any]) -> ConfigDict:
    """The config that `config_to_plain` wrote, locked. JSON has no tuples, and a config has no lists."""

    def tuples(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: tuples(v) for name, v in value.items()}
        return tuple(tuples(v) for v in value) if isinstance(value, list) else value

    return ConfigDict(schema.with_fields_of_today(tuples(plain))).lock()


def _handlers() -> dict[str, Any]:
    return {
        "state": ocp.PyTreeCheckpointHandler(),
        "config": ocp.JsonCheckpointHandler(),
        "metadata": ocp.JsonCheckpointHandler(),
    }


def _manager(root: Path, **options: Any) -> ocp.CheckpointManager:
    return ocp.CheckpointManager(root, options=ocp.CheckpointManagerOptions(**options), item_handlers=_handlers())


def _files(directory: Path) -> dict[str, int]:
    return {
        str(file.relative_to(directory)): file.stat().st_size
        for file in sorted(directory.rglob("*"))
        if file.is_file() and file.name != SIZES
    }


def _check_files(directory: Path) -> None:
    for part in ("state", "config", "metadata"):
        if not (directory / part).is_dir():
            raise CheckpointError(f"{directory / part} is missing: copy the step again, or use another one")
    try:
        sizes = json.loads((directory / SIZES).read_text())
    except FileNotFoundError:  # written by a process that was killed right after
        return
    except ValueError as error:
        raise CheckpointError(f"{directory / SIZES} cannot be read ({error}): copy the step again") from error
    there = _files(directory)
    for name, size in sizes.items():
        if there.get(name) != size:
            found = f"has {there[name]}" if name in there else "is missing"
            raise CheckpointError(
                f"{directory / name} {found}, not its {size} bytes: copy the step again, or use another"
            )


def _check_shapes(directory: Path, stored: Any, wanted: Any) -> None:
    def shapes(tree: Any) -> dict[str, tuple[int, ...]]:
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        return {jax.tree_util.keystr(p, simple=True, separator="/"): leaf.shape for p, leaf in leaves}

    here, there = shapes(wanted), shapes(stored)
    for name in sorted(here.keys() | there.keys()):
        if here.get(name) != there.get(name):
            raise _OtherModelError(
                f"{directory} is of another model: {name} is {there.get(name, 'missing')} there and "
                f"{here.get(name, 'missing')} in this config; use its own config, or another workdir"
            )


def _placed(tree: Any) -> Any:
    """Shapes with a place, which is said because a checkpoint may come from other devices."""
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

    def place(leaf: Any) -> jax.ShapeDtypeStruct:
        sharding = getattr(leaf, "sharding", None)
        known = isinstance(sharding, jax.sharding.Sharding)  # Orbax describes a stored array's in its own way
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding if known else here)

    return jax.tree.map(place, tree)


def _read(manager: ocp.CheckpointManager, step: int, template: Any, parts: Iterable[str]) -> Checkpoint:
    directory = Path(manager.directory) / str(step)
    _check_files(directory)
    try:
        stored = dict(manager.item_metadata(step)["state"].tree)
        if template is None:
            template = {name: stored[name] for name in parts}
        else:
            _check_shapes(directory, stored, template)
        target = _placed(template)
        read = manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.PyTreeRestore(
                    target,
                    restore_args=ocp.checkpoint_utils.construct_restore_args(target),
                    partial_restore=True,
                ),
                config=ocp.args.JsonRestore(),
                metadata=ocp.args.JsonRestore(),
            ),
        )
    except CheckpointError:
        raise
    except Exception as error:  # Orbax, TensorStore and json each raise their own
        named = re.findall(r'local file "([^"]+)"', str(error))
        text = str(error).strip()
        reason = text.splitlines()[0][:200] if text else type(error).__name__
        raise CheckpointError(
            f"{named[-1] if named else directory} cannot be read: copy it again, or use another ({reason})"
        ) from error
    return Checkpoint(step, config_from_plain(read["config"]), read["state"], read["metadata"])


def _read_newest(manager: ocp.CheckpointManager, template: Any, parts: Iterable[str]) -> Checkpoint | None:
    """The newest step that can be read, with a warning for each that cannot; None if there is none at all."""
    steps = sorted(manager.all_steps(), reverse=True)
    problems = []
    for step in steps:
        try:
            return _read(manager, step, template, parts)
        except _OtherModelError:
            raise
        except CheckpointError as error:
            problems.append(str(error))
            _log.warning("checkpoint %d cannot be used: %s; trying the one before it", step, error)
    if steps:
        raise CheckpointError(f"{manager.directory}: none of its {len(steps)} steps can be read: {problems[0]}")
    return None


class Checkpoints:
    """The checkpoints of a run, for the process that writes them.

    Saving returns once the arrays are copied off the device; they are written meanwhile. Closing waits for
    that.
    """

    def __init__(self, workdir: str | Path, keep: int):
        """Opens WORKDIR/checkpoints, making it if need be; the newest `keep` steps are kept."""
        self.root = Path(workdir).absolute() / CHECKPOINTS
        self.root.mkdir(parents=True, exist_ok=True)
        policy = ocp.checkpoint_managers.LatestN(keep)
        self._options = dict(preservation_policy=policy, cleanup_tmp_directories=True)
        self._manager = _manager(self.root, **self._options)
        self._unsealed: int | None = None

    def steps(self) -> list[int]:
        """The steps that were saved, oldest first."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: Any, config: ConfigDict, position: Mapping[str, Any] | None = None) -> None:
        """Saves a step, unless it is there. `state` may be donated then; `position` goes into the metadata."""
        self.wait()
        if step in self._manager.all_steps():
            return
        metadata = {
            "step": step,
            "next_index": step * config.train.batch_size,
            **(position or {}),
            "versions": {name: importlib.metadata.version(name) for name in _LIBRARIES},
        }
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.PyTreeSave(state),
                config=ocp.args.JsonSave(config_to_plain(config)),
                metadata=ocp.args.JsonSave(metadata),
            ),
        )
        self._unsealed = step

    def restore_latest(self, template: Any) -> Checkpoint | None:
        """The newest step that can be read, `arrays` being a tree like `template` (arrays or shapes).

        Steps that cannot be read are moved out of the way, to WORKDIR/unreadable, since the run will come to
        save under their number again.

        Returns:
          None if nothing was saved yet.

        Raises:
          CheckpointError: no step can be read, or the newest is of another model.
        """
        found = _read_newest(self._manager, template, ())
        bad = [step for step in self.steps() if found and step > found.step]
        multihost_utils.sync_global_devices("the newest checkpoint was found")
        for step in bad if jax.process_index() == 0 else ():
            target = self.root.parent / UNREADABLE / str(step)
            while target.exists():
                target = target.with_name(target.name + "_")
            target.parent.mkdir(exist_ok=True)
            (self.root / str(step)).rename(target)
            _log.warning("moved %s to %s", self.root / str(step), target)
        if bad:
            multihost_utils.sync_global_devices("checkpoints that cannot be read were moved")
            self._manager.close()
            self._manager = _manager(self.root, **self._options)
        return found

    def wait(self) -> None:
        """Returns once everything saved is on disk."""
        self._manager.wait_until_finished()
        if self._unsealed is not None:
            directory = self.root / str(self._unsealed)
            if jax.process_index() == 0:
                (directory / SIZES).write_text(json.dumps(_files(directory), indent=1))
            self._unsealed = None

    def close(self) -> None:
        """Waits, then lets go of the directory."""
        self.wait()
        self._manager.close()


def load(path: str | Path, parts: Iterable[str] = ("ema",)) -> Checkpoint:
    """Reads a trained model.

    Args:
      path: a workdir (its newest step that can be read), or one step in its `checkpoints/`.
      parts: which parts of the training state: "ema", "params", "opt_state", "step".

    Returns:
      The checkpoint, its arrays keyed by part, on this process's first device.

    Raises:
      CheckpointError: there is none, or it is incomplete.
    """
    path = Path(path).absolute()
    parts = tuple(parts)
    if not path.is_dir():
        raise CheckpointError(f"{path}: no such directory; give a workdir, or one step in its {CHECKPOINTS}/")
    if path.parent.name == CHECKPOINTS and path.name.isdigit():
        root, step = path.parent, int(path.name)
    else:
        root, step = (path if path.name == CHECKPOINTS else path / CHECKPOINTS), None
    if not root.is_dir():
        raise CheckpointError(f"{path}: no {CHECKPOINTS}/ in it; give a workdir, or one step in its {CHECKPOINTS}/")
    manager = _manager(root, create=False)
    try:
        found = _read(manager, step, None, parts) if step is not None else _read_newest(manager, None, parts)
    finally:
        manager.close()
    if found is None:
        raise CheckpointError(f"{root}: nothing was saved in it yet; train first, or give another workdir")
    return found
