"""A server on this machine that answers like Google Cloud Storage (its JSON interface), for tests.

It has what gcsfs, google-cloud-storage and TensorStore use: objects with generations and preconditions, ranges,
listing by pages, folders by delimiter, uploads in one request, in parts and resumable, copies, and batches. A test
can let requests fail (`Fault`) and reads what was asked for (`GcsServer.requests`).

It does not show: credentials and permissions as Google checks them, hierarchical namespaces, zonal buckets, rate
limits of one object, time to the first byte, and failures within Google's own retries.
"""
# pyright: reportMissingImports=false

import base64
import dataclasses
import datetime
import functools
import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from etils import epath
from gcs_http import Handler, Refused

from hcflow_jax import paths

PAGE = 50  # the number of names on one page of a listing: small, so that tests see several


@dataclasses.dataclass(frozen=True)
class Stored:
    """One object."""

    content: bytes
    generation: int
    updated: float
    kind: str

    @functools.cached_property
    def checksums(self) -> dict[str, str]:
        """Both checksums, as Google writes them."""
        return {
            "md5Hash": base64.b64encode(hashlib.md5(self.content).digest()).decode(),
            "crc32c": crc32c(self.content),
        }

    def about(self, bucket: str, name: str) -> dict[str, Any]:
        """What the server says about it."""
        stamp = datetime.datetime.fromtimestamp(self.updated, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "kind": "storage#object",
            "id": f"{bucket}/{name}/{self.generation}",
            "bucket": bucket,
            "name": name,
            "size": str(len(self.content)),
            "generation": str(self.generation),
            "metageneration": "1",
            "contentType": self.kind,
            "storageClass": "STANDARD",
            "timeCreated": stamp,
            "updated": stamp,
            **self.checksums,
            "etag": f"e{self.generation}",
        }


def crc32c(content: bytes) -> str:
    """The checksum as Google writes it."""
    import google_crc32c

    return base64.b64encode(google_crc32c.Checksum(content).digest()).decode()


@dataclasses.dataclass
class Fault:
    """Requests that fail.

    Attributes:
      pattern: a regular expression for "METHOD path?query", decoded.
      status: the status of the answer; 0: the connection is closed without one.
      times: how many requests fail; None: all.
      after: the number of requests that succeed first.
      seconds: waits so long before the answer.
      passes: answers as usual after the wait.
      seen: the number of requests so far.
    """

    pattern: str
    status: int = 503
    times: int | None = None
    after: int = 0
    seconds: float = 0.0
    passes: bool = False
    seen: int = 0

    def hits(self, request: str) -> bool:
        if not re.search(self.pattern, request):
            return False
        self.seen += 1
        return self.seen > self.after and (self.times is None or self.seen <= self.after + self.times)


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: clients may close a connection, and processes of tests are killed."""


class GcsServer:
    """The server, with its buckets in memory.

    Attributes:
      buckets: {bucket: {name: object}}.
      requests: every request so far, "METHOD path?query", decoded.
      faults: the requests that fail.
      address: "http://127.0.0.1:PORT".
    """

    def __init__(self, *buckets: str) -> None:
        self.buckets: dict[str, dict[str, Stored]] = {bucket: {} for bucket in buckets}
        self.requests: list[str] = []
        self.faults: list[Fault] = []
        self.lock = threading.RLock()
        self.uploads: dict[str, tuple[str, str, dict[str, str], bytearray]] = {}
        self._generation = int(time.time() * 1e6)
        self._http = _Http(("127.0.0.1", 0), type("Handler", (Handler,), {"server_state": self}))
        self.address = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which libraries find the server, and do not look for credentials."""
        return {
            "STORAGE_EMULATOR_HOST": self.address,
            "TENSORSTORE_GCS_HTTP_URL": self.address,
            "GOOGLE_CLOUD_PROJECT": "tests",
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
            "NO_GCE_CHECK": "true",
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "abc",
        }

    @contextmanager
    def failing(self, pattern: str, **how: Any) -> Iterator[Fault]:
        """Lets requests fail inside the block."""
        fault = Fault(pattern, **how)
        self.faults.append(fault)
        try:
            yield fault
        finally:
            self.faults.remove(fault)

    def names(self, bucket: str, prefix: str = "") -> list[str]:
        """The names of the objects, sorted."""
        with self.lock:
            return sorted(name for name in self.buckets[bucket] if name.startswith(prefix))

    def age(self, bucket: str, name: str, seconds: float) -> None:
        """Lets an object look as if it had been written so many seconds earlier."""
        with self.lock:
            stored = self.buckets[bucket][name]
            self.buckets[bucket][name] = dataclasses.replace(stored, updated=stored.updated - seconds)

    def content(self, bucket: str, name: str) -> bytes:
        """The content of an object."""
        with self.lock:
            return self.buckets[bucket][name].content

    def put(self, bucket: str, name: str, content: bytes, kind: str = "application/octet-stream") -> Stored:
        """Writes an object."""
        with self.lock:
            self._generation += 1
            stored = Stored(bytes(content), self._generation, time.time(), kind)
            self.buckets[bucket][name] = stored
            return stored

    # What requests ask for.

    def _objects(self, bucket: str) -> dict[str, Stored]:
        if bucket not in self.buckets:
            raise Refused(404, f"The specified bucket does not exist: {bucket}")
        return self.buckets[bucket]

    def find(self, bucket: str, name: str, query: dict[str, str]) -> Stored:
        found = self._objects(bucket).get(name)
        if found is None or query.get("generation", str(found.generation)) != str(found.generation):
            raise Refused(404, f"No such object: {bucket}/{name}")
        self.precondition(bucket, name, query, reading=True)
        return found

    def precondition(self, bucket: str, name: str, query: dict[str, str], *, reading: bool = False) -> None:
        found = self._objects(bucket).get(name)
        generation = found.generation if found else 0
        if "ifGenerationMatch" in query and int(query["ifGenerationMatch"]) != generation:
            raise Refused(412, "At least one of the pre-conditions you specified did not hold.")
        if "ifGenerationNotMatch" in query and int(query["ifGenerationNotMatch"]) == generation:
            raise Refused(304 if reading else 412, "not modified")

    def insert(self, bucket: str, name: str, content: bytes, kind: str, query: dict[str, str]) -> dict[str, Any]:
        with self.lock:
            self.precondition(bucket, name, query)
            return self.put(bucket, name, content, kind).about(bucket, name)

    def delete(self, bucket: str, name: str, query: dict[str, str]) -> None:
        with self.lock:
            self.find(bucket, name, {})
            self.precondition(bucket, name, query)
            del self.buckets[bucket][name]

    def copy(self, source: tuple[str, str], target: tuple[str, str], query: dict[str, str]) -> dict[str, Any]:
        with self.lock:
            found = self.find(*source, {})
            return self.insert(*target, found.content, found.kind, query)

    def listing(self, bucket: str, query: dict[str, str]) -> dict[str, Any]:
        """One page of a listing."""
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        with self.lock:
            objects = self._objects(bucket)
            entries: list[tuple[str, dict[str, Any] | None]] = []
            for name in sorted(objects):
                if not name.startswith(prefix) or name < query.get("startOffset", ""):
                    continue
                if query.get("endOffset") and name >= query["endOffset"]:
                    continue
                rest = name[len(prefix) :]
                if delimiter and delimiter in rest:
                    folder = prefix + rest.split(delimiter, 1)[0] + delimiter
                    if not entries or entries[-1][0] != folder:
                        entries.append((folder, None))
                    if not (query.get("includeTrailingDelimiter") == "true" and name == folder):
                        continue
                entries.append((name, objects[name].about(bucket, name)))
        start = int(query.get("pageToken", "0"))
        end = start + min(int(query.get("maxResults", PAGE)), PAGE)
        page = entries[start:end]
        answer: dict[str, Any] = {"kind": "storage#objects"}
        answer["items"] = [about for _, about in page if about]
        answer["prefixes"] = [name for name, about in page if about is None]
        return answer | ({"nextPageToken": str(end)} if end < len(entries) else {})


def remote(text: str) -> epath.Path:
    """The path of an object or folder in a bucket."""
    found = paths.place(text)
    assert not isinstance(found, Path)
    return found
