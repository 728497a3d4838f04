"""The lease of a workdir in a bucket: the right of one process to write there, renewed as long as it runs.

Files on a disk have locks, which end with their process. Objects in a bucket have none. So the process writes a
small object and renews it; each write succeeds only if the object is still its own (a precondition on the object's
generation). A lease that is not renewed for `EXPIRES_SECONDS` has ended, and another process may take it.
"""

import importlib
import json
import os
import socket
import sys
import threading
import time
import uuid
from types import TracebackType
from typing import Any

from etils import epath

from hcflow_jax import buckets, streams
from hcflow_jax.errors import HcflowError
from hcflow_jax.layout import LEASE

EXPIRES_SECONDS = 60.0
RENEW_SECONDS = 10.0
_SILENT_SECONDS = 20.0  # after so long without an answer, a line says so


def _library(name: str) -> Any:
    """A module of the extra `gcs`, which the checkers of types may not have."""
    return importlib.import_module(name)


class LeaseError(HcflowError):
    """Another process writes in the workdir."""


class Lease:
    """Holds the lease of a workdir inside a `with` block.

    A thread renews it. If the store does not answer for a while, lines on stderr say when that begins and ends.

    Attributes:
      lost: why this process has lost the lease, in one line; "" while it holds it.
    """

    def __init__(self, workdir: epath.Path) -> None:
        """Does not take the lease yet.

        Args:
          workdir: the workdir, gs://BUCKET/NAME.

        Raises:
          StoreError: there are no credentials.
        """
        self.lost = ""
        self._workdir = workdir
        bucket, _, name = str(workdir).partition("://")[2].partition("/")
        with buckets.named_errors(workdir):
            self._bucket: Any = _library("google.cloud.storage").Client().bucket(bucket)
        self._name, self._probe = f"{name}/{LEASE}".lstrip("/"), f"{name}/.now-{uuid.uuid4().hex[:12]}".lstrip("/")
        holder = {"host": socket.gethostname(), "process": os.getpid(), "id": uuid.uuid4().hex}
        self._content = json.dumps(holder)
        self._generation = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True, name="lease of the workdir")

    def __enter__(self) -> "Lease":
        """Takes the lease. Waits for a lease that is not renewed any more to end.

        Raises:
          LeaseError: another process renews it.
          StoreError: the store refuses or does not answer.
        """
        silent = f"{self._workdir}: no answer for {_SILENT_SECONDS:.0f} s; still trying"
        patience = threading.Timer(_SILENT_SECONDS, streams.say, (silent, sys.stderr))
        patience.start()
        try:
            with buckets.named_errors(self._workdir):
                self._bucket.get_blob(self._name)  # the library asks again for two minutes
        finally:
            patience.cancel()
        with buckets.named_errors(self._workdir):
            self._take()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Gives the lease back. If the store does not answer, the lease ends by itself."""
        self._done.set()
        self._thread.join()
        if not self.lost:
            try:
                self._bucket.blob(self._name).delete(if_generation_match=self._generation, retry=None)
            except Exception as problem:  # the lease ends by itself
                streams.say(f"warning: {self._workdir / LEASE} stays: {buckets.reason(problem)}", sys.stderr)

    def _take(self) -> None:
        first, said = None, False
        while True:
            found = self._bucket.get_blob(self._name)
            generation = 0 if found is None else found.generation
            first = first or generation
            if found is not None:
                left = EXPIRES_SECONDS - (self._now() - found.updated.timestamp())
                if generation != first:  # it was renewed while this process waited
                    raise LeaseError(
                        f"{self._workdir}: {self._holder(found)} is training in it; stop it, or name another workdir"
                    )
                if left > 0:
                    if not said:
                        streams.say(
                            f"{self._workdir}: {self._holder(found)} held it {EXPIRES_SECONDS - left:.0f} s ago; "
                            f"waiting at most {left:.0f} s for a sign of it",
                            sys.stderr,
                        )
                    said = True
                    time.sleep(min(left, RENEW_SECONDS / 4))
                    continue
            try:
                self._generation = self._write(generation)
                return
            except _library("google.api_core.exceptions").PreconditionFailed:
                continue

    def _write(self, generation: int, **how: Any) -> int:
        """Writes the lease if it still has this generation (0: if there is none). Returns the new one."""
        blob = self._bucket.blob(self._name)
        blob.upload_from_string(self._content, "application/json", if_generation_match=generation, timeout=10, **how)
        return blob.generation

    def _now(self) -> float:
        """The time of the store's clock, in seconds. The clocks of two machines differ, and this one they share."""
        blob = self._bucket.blob(self._probe)
        blob.upload_from_string("")
        blob.delete()
        return blob.updated.timestamp()

    def _holder(self, found: Any) -> str:
        try:
            about = json.loads(found.download_as_bytes())
            return f"process {about['process']} of {about['host']}"
        except Exception:  # it has just ended, or the content is not that of a lease
            return "another process"

    def _renew(self) -> None:
        answered, told = time.monotonic(), False
        while not self._done.wait(RENEW_SECONDS):
            try:
                self._generation = self._renewed()
            except Exception as error:
                silent = time.monotonic() - answered
                if silent > _SILENT_SECONDS and not told:
                    told = True
                    why = buckets.reason(error)
                    streams.say(
                        f"{self._workdir}: no answer for {silent:.0f} s ({why}); training goes on", sys.stderr
                    )
                continue
            if self.lost:
                return
            if told:
                silent = time.monotonic() - answered
                streams.say(f"{self._workdir}: the store answers again, after {silent:.0f} s", sys.stderr)
            answered, told = time.monotonic(), False

    def _renewed(self) -> int:
        try:
            return self._write(self._generation, retry=None)  # the thread itself tries again
        except _library("google.api_core.exceptions").PreconditionFailed:
            found = self._bucket.get_blob(self._name, retry=None, timeout=10)
            content = b"" if found is None else found.download_as_bytes()
            if found is not None and content.decode() == self._content:
                return found.generation  # an earlier write had succeeded, although its answer was lost
            holder = "nobody" if found is None else self._holder(found)
            self.lost = f"{self._workdir}: this process has lost it, {holder} holds it now; nothing more is written"
            return 0
