"""The workdir of a run, on this machine or in a bucket: checks that it can be written, and that one run writes."""

import json
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import jax
from clu import parameter_overview
from etils import epath
from ml_collections import ConfigDict

from hcflow_jax import buckets, paths, streams
from hcflow_jax.config import ConfigError, check_paths
from hcflow_jax.files import HeldError, locked, sync, write
from hcflow_jax.layout import HISTORY, LEASE, LOCK, PARAMETERS, SAMPLES, SKIPPED
from hcflow_jax.paths import Place
from hcflow_jax.training.lease import Lease, LeaseError
from hcflow_jax.training.mirror import Mirror

_CONTINUED = (".jsonl", ".json", ".txt")  # the endings of files that a run reads or replaces when it resumes


class Workdir:
    """The workdir of a run.

    Attributes:
      where: its path, as the user named it. Checkpoints are written there.
      folder: the folder of this machine for all other files: the same, or for a bucket one that `mirror` copies.
      mirror: copies `folder` to a bucket; None for a workdir on this machine.
    """

    def __init__(self, where: Place, folder: Path, lease: Lease | None = None) -> None:
        self.where, self.folder, self._lease = where, folder, lease
        self.mirror: Mirror | None = None

    def before_save(self) -> None:
        """Call it before a checkpoint is written: the histories, which belong to it, must not be older than it.

        They are uploaded to the bucket, or written to the disk so that they survive a crash of the machine.

        Raises:
          LeaseError: another process has taken over the workdir in its bucket.
        """
        self.check()
        if jax.process_index() > 0:
            return
        try:
            if self.mirror is not None:
                self.mirror.push(".jsonl")
            for name in (HISTORY, SKIPPED) if self.mirror is None else ():
                if (self.folder / name).exists():
                    sync(self.folder / name)
        except OSError as error:
            streams.say(f"warning: {error}; the histories follow later", sys.stderr)

    def check(self) -> None:
        """Checks that this process may still write.

        Raises:
          LeaseError: another process has taken over the workdir in its bucket.
        """
        if self._lease is not None and self._lease.lost:
            raise LeaseError(self._lease.lost)


def place(path: str | Place, config: ConfigDict | None = None) -> Place:
    """Makes the workdir if it is missing, and checks that it can be written, before any work is done.

    Args:
      path: the path of a directory, or gs://BUCKET/NAME.
      config: the config of a run in it. Its paths are checked before the directory is made.

    Returns:
      The absolute path.

    Raises:
      ConfigError: the directory cannot be written.
      InputError: the path, or a field of the config, is not allowed (see `paths.place`).
      StoreError: the store of the bucket refuses or does not answer.
    """
    if config is not None:
        check_paths(config)
    where = paths.absolute(paths.place(path, "--workdir"))
    if not isinstance(where, Path):
        _probe(where)
        return where
    try:
        where.mkdir(parents=True, exist_ok=True)
        probe = where / f".writable-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink(missing_ok=True)  # a process of another host may have the same number
    except OSError as error:
        raise ConfigError(f"--workdir={path} cannot be written ({error.strerror}): name another") from error
    return where


def _probe(where: epath.Path) -> None:
    probe = where / f".writable-{uuid.uuid4().hex[:12]}"
    with buckets.named_errors(where):
        store = buckets.files_of(where)
        store.pipe_file(str(probe), b"")
        store.rm_file(str(probe))


@contextmanager
def opened(where: Place, *, alone: bool = True) -> Iterator[Workdir]:
    """Opens a workdir. When the block ends, all files are in it.

    If a run has several processes, the first one holds the lock or the lease for all.

    Args:
      where: from `place`.
      alone: whether no other run may write in it meanwhile.

    Raises:
      ConfigError: another process holds the lock; the message names the process.
      LeaseError: another process holds the lease.
      StoreError: the store of the bucket refuses or does not answer.
    """
    alone = alone and jax.process_index() == 0
    if isinstance(where, Path):
        with only_run(where) if alone else nullcontext():
            yield Workdir(where, where)
        return
    with Lease(where) if alone else nullcontext() as lease:
        folder = Path(tempfile.mkdtemp(prefix="hcflow-"))
        paths.stands_in(folder, where)
        workdir = Workdir(where, folder, lease)
        workdir.mirror = mirror = Mirror(folder, where, workdir.check)
        try:
            mirror.fetch(_to_continue(where))
            if jax.process_index() == 0:
                mirror.start()
            yield workdir
        except BaseException:
            _end(workdir, mirror, failed=True)
            raise
        _end(workdir, mirror)


def _to_continue(where: epath.Path) -> list[str]:
    """The files in a bucket that a run needs when it resumes: those at the top, and the newest sheet."""
    found = buckets.listing(where)
    top = [name for name in found if "/" not in name and name.endswith(_CONTINUED) and not name.startswith(".")]
    sheets = sorted(name for name in found if name.startswith(f"{SAMPLES}/"))
    return [name for name in top if name != LEASE] + sheets[-1:]


def _end(workdir: Workdir, mirror: Mirror, failed: bool = False) -> None:
    """Uploads the last files and removes the folder. Keeps it if that fails."""
    try:
        mirror.close()
    except (LeaseError, OSError) as error:
        kept = f"{error}; files that are not there yet are kept in {mirror.folder}"
        if not failed:
            raise buckets.StoreError(kept) from error
        streams.say(f"warning: {kept}", sys.stderr)
        return
    shutil.rmtree(mirror.folder, ignore_errors=True)


@contextmanager
def only_run(workdir: Path) -> Iterator[None]:
    """Holds the lock WORKDIR/.lock (see `files.locked`).

    Raises:
      ConfigError: another process holds the lock; the message names the process.
    """
    try:
        with locked(workdir / LOCK):
            yield
    except HeldError as error:
        raise ConfigError(
            f"--workdir={workdir}: process {error.holder} is training in it; stop it, or name another workdir"
        ) from None


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes a JSON file completely or not at all. With several processes, only the first writes."""
    if jax.process_index() > 0:
        return
    write(path, lambda file: file.write(f"{json.dumps(value, indent=2)}\n".encode()))


def write_parameters(workdir: Path, params: Any) -> None:
    """Writes WORKDIR/parameters.txt, a table of all parameters: name, shape, dtype and size.

    With several processes, only the first writes.
    """
    if jax.process_index() > 0:
        return
    table = parameter_overview.get_parameter_overview(params, include_stats=False)
    write(workdir / PARAMETERS, lambda file: file.write(f"{table}\n".encode()))
