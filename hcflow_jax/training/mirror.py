"""Copies the small files of a run to its workdir in a bucket. An object cannot be extended, so files grow here first.

History, TensorBoard's files, sheets, traces and JSON files are written to a folder of this machine. A thread uploads
those that have changed. Checkpoints do not take this way: Orbax writes them to the bucket itself.
"""

import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from etils import epath

from hcflow_jax import buckets, streams
from hcflow_jax.files import PARTIAL
from hcflow_jax.training.lease import LeaseError

EVERY_SECONDS = 30.0


class Mirror:
    """Keeps the files in a bucket equal to those in a folder."""

    def __init__(self, folder: Path, remote: epath.Path, check: Callable[[], object] = lambda: None) -> None:
        """Args:
        folder: a folder of this machine.
        remote: the workdir in a bucket.
        check: is called before each file is uploaded. It raises a `LeaseError` if this process may not write.
        """
        self.folder, self.remote, self._check = folder, remote, check
        self._known: dict[str, tuple[int, int]] = {}  # the size and the time of the files that are equal
        self._lock, self._done = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._repeat, daemon=True, name="copying files to the bucket")

    def fetch(self, names: Iterable[str]) -> None:
        """Downloads files.

        Args:
          names: their paths below the workdir.

        Raises:
          StoreError: the store refuses or does not answer.
        """
        for name in names:
            buckets.download(self.remote / name, self.folder / name)
            self._known[name] = _state(self.folder / name)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def push(self, ending: str = "") -> None:
        """Uploads the files that have changed.

        Args:
          ending: how the names of the files end.

        Raises:
          LeaseError: this process may not write.
          StoreError: the store refuses or does not answer. The next call tries again.
        """
        with self._lock:
            for file in sorted(self.folder.rglob("*")):
                name = str(file.relative_to(self.folder))
                kept_here = file.name.startswith(".") or file.name.endswith(PARTIAL)
                if kept_here or not file.is_file() or not file.name.endswith(ending):
                    continue
                state = _state(file)
                if self._known.get(name) != state:
                    self._check()
                    buckets.upload(file, self.remote / name)
                    self._known[name] = state

    def _repeat(self) -> None:
        failing = False
        while not self._done.wait(EVERY_SECONDS):
            try:
                self.push()
                failing = False
            except OSError as error:
                if not failing:
                    streams.say(f"warning: {error}; its files are kept in {self.folder}", sys.stderr)
                failing = True
            except LeaseError:
                return

    def close(self) -> None:
        """Stops the thread, and uploads what has changed.

        Raises:
          LeaseError: this process may not write.
          StoreError: the store refuses or does not answer.
        """
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()
        self.push()


def _state(file: Path) -> tuple[int, int]:
    about = file.stat()
    return about.st_size, about.st_mtime_ns
