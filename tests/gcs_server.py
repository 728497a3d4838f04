"""A server on this machine that answers like Google Cloud Storage (its JSON interface), for tests.

It has what gcsfs, google-cloud-storage and TensorStore use: objects with generations and preconditions, ranges,
listing by pages, folders by delimiter, uploads in one request, in parts and resumable, copies, and batches. A test
can let requests fail (`Fault`) and reads what was asked for (`GcsServer.requests`).

It does not show: credentials and permissions as Google checks them, hierarchical namespaces, zonal buckets, rate
limits of one object, time to the first byte, and failures within Google's own retries.
"""

import base64
import dataclasses
import datetime
import email.parser
import hashlib
import json
import re
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PAGE = 50  # the number of names on one page of a listing: small, so that tests see several


@dataclasses.dataclass(frozen=True)
class Stored:
    """One object."""

    content: bytes
    generation: int
    updated: float
    kind: str

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
            "md5Hash": base64.b64encode(hashlib.md5(self.content).digest()).decode(),
            "crc32c": crc32c(self.content),
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


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


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
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"server_state": self}))
        self._http.daemon_threads = True
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


def _query(text: str) -> dict[str, str]:
    return {key: values[-1] for key, values in urllib.parse.parse_qs(text, keep_blank_values=True).items()}


def _parts(headers: Any, body: bytes) -> list[tuple[dict[str, str], bytes]]:
    """The parts of a body that consists of several: their headers and contents."""
    boundary = re.search(r'boundary="?([^";]+)"?', headers["Content-Type"])
    assert boundary, headers
    found = []
    for part in re.split(rb"\r?\n?--" + re.escape(boundary[1].encode()) + rb"(?:--)?\r?\n?", body):
        if part.strip():
            head, _, content = re.sub(rb"\A\r?\n", b"", part).partition(
                b"\r\n\r\n" if b"\r\n\r\n" in part else b"\n\n"
            )
            found.append((dict(email.parser.Parser().parsestr(head.decode()).items()), content))
    return found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: GcsServer

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            chunks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, body: bytes = b"", kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(body)

    def _json(self, value: Any, status: int = 200, **headers: str) -> None:
        self._answer(status, json.dumps(value).encode(), **headers)

    def _handle(self) -> None:
        state, body = self.server_state, self._body()
        request = f"{self.command} {urllib.parse.unquote(self.path)}"
        state.requests.append(request)
        for fault in list(state.faults):
            if fault.hits(request):
                time.sleep(fault.seconds)
                if fault.passes:
                    continue
                if not fault.status:
                    self.close_connection = True
                    return
                self._refuse(Refused(fault.status, "a fault of the test"))
                return
        path, _, query = self.path.partition("?")
        try:
            self._route(path, _query(query), body)
        except Refused as error:
            self._refuse(error)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _refuse(self, error: Refused) -> None:
        reason = {"code": error.status, "message": str(error), "errors": [{"message": str(error), "reason": "x"}]}
        self._json({"error": reason}, error.status)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _handle

    def _route(self, path: str, query: dict[str, str], body: bytes) -> None:
        if path.startswith("/batch"):
            return self._batch(body)
        if path.startswith("/resumable/"):
            return self._resume(path, body)
        found = re.fullmatch(
            r"(?:/upload|/download)?(?:/storage/v1)?/b/([^/]+)(?:/(o|storageLayout)(?:/(.+))?)?/?", path
        )
        if not found:
            raise Refused(404, f"unknown path {path}")
        bucket, what, name = urllib.parse.unquote(found[1]), found[2], found[3] or ""
        if what is None or what == "storageLayout":
            self.server_state._objects(bucket)
            return self._json({"kind": "storage#bucket", "name": bucket, "id": bucket, "location": "US"})
        if self.command == "POST" and path.startswith("/upload"):
            return self._upload(bucket, query, body)
        copied = re.fullmatch(r"(.+)/(rewriteTo|copyTo|moveTo)(?:/b/([^/]+))?/o/(.+)", name)
        if self.command == "POST" and copied:
            source, how, other, target = copied.groups()
            return self._copy(how, (bucket, source), (other or bucket, target), query)
        name = urllib.parse.unquote(name)
        if not name:
            return self._json(self.server_state.listing(bucket, query))
        if self.command == "DELETE":
            self.server_state.delete(bucket, name, query)
            return self._answer(204)
        return self._read(bucket, name, query)

    def _copy(self, how: str, source: tuple[str, str], target: tuple[str, str], query: dict[str, str]) -> None:
        here, there = (tuple(urllib.parse.unquote(part) for part in where) for where in (source, target))
        made = self.server_state.copy(here, there, query)
        if how == "moveTo":
            self.server_state.delete(*here, {})
        if how != "rewriteTo":
            return self._json(made)
        size = {"totalBytesRewritten": made["size"], "objectSize": made["size"]}
        return self._json({"kind": "storage#rewriteResponse", "done": True, "resource": made, **size})

    def _read(self, bucket: str, name: str, query: dict[str, str]) -> None:
        stored = self.server_state.find(bucket, name, query)
        about = stored.about(bucket, name)
        if query.get("alt") != "media":
            return self._json(about)
        headers = {
            "x_goog_generation": about["generation"],
            "x_goog_metageneration": "1",
            "x_goog_hash": f"crc32c={about['crc32c']},md5={about['md5Hash']}",
            "x_goog_stored_content_length": about["size"],
            "ETag": about["etag"],
        }
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        content, size = stored.content, len(stored.content)
        if not wanted:
            return self._answer(200, content, stored.kind, **headers)
        first, last = wanted[1], wanted[2]
        start = int(first) if first else max(size - int(last), 0)
        end = min(int(last) + 1, size) if first and last else size
        if start >= size:
            return self._answer(416, b"", **headers, Content_Range=f"bytes */{size}")
        where = f"bytes {start}-{end - 1}/{size}"
        return self._answer(206, content[start:end], stored.kind, **headers, Content_Range=where)

    def _upload(self, bucket: str, query: dict[str, str], body: bytes) -> None:
        state, how = self.server_state, query.get("uploadType", "media")
        kind = self.headers.get("Content-Type", "application/octet-stream")
        if how == "multipart":
            (_, about), (head, content) = _parts(self.headers, body)
            name = query.get("name") or json.loads(about)["name"]
            return self._json(state.insert(bucket, name, content, head.get("Content-Type", kind), query))
        if how == "resumable":
            name = query.get("name") or json.loads(body)["name"]
            state.precondition(bucket, name, query)
            key = f"/resumable/{len(state.uploads)}-{time.time_ns()}"
            state.uploads[key] = (bucket, name, query, bytearray())
            return self._answer(200, Location=state.address + key, X_GUploader_UploadID=key)
        return self._json(state.insert(bucket, query["name"], body, kind, query))

    def _resume(self, path: str, body: bytes) -> None:
        state = self.server_state
        if path not in state.uploads:
            raise Refused(404, "no such upload")
        if self.command == "DELETE":
            del state.uploads[path]
            return self._answer(204)
        bucket, name, query, content = state.uploads[path]
        where = re.fullmatch(
            r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", self.headers.get("Content-Range", "") or "bytes */*"
        )
        if where and where[1]:
            content[int(where[1]) :] = body
        elif not where or body:
            content[:] = body
        total = where[3] if where else "*"
        if (total != "*" and len(content) >= int(total)) or not self.headers.get("Content-Range"):
            made = state.insert(bucket, name, bytes(content), "application/octet-stream", query)
            del state.uploads[path]
            return self._json(made)
        return self._answer(308, **({"Range": f"bytes=0-{len(content) - 1}"} if content else {}))

    def _batch(self, body: bytes) -> None:
        answers = []
        for head, content in _parts(self.headers, body):
            line = content.split(b"\n", 1)[0].decode().split()
            path, _, query = line[1].partition("?")
            status = 204
            try:
                found = re.fullmatch(r"/storage/v1/b/([^/]+)/o/(.+)", path)
                assert found and line[0] == "DELETE", line
                self.server_state.requests.append(f"{line[0]} {urllib.parse.unquote(line[1])}")
                name = urllib.parse.unquote(found[2])
                self.server_state.delete(urllib.parse.unquote(found[1]), name, _query(query))
            except Refused as error:
                status = error.status
            identity = head.get("Content-ID", "<x>").replace("<", "<response-")
            answers.append(
                f"--batch\r\nContent-Type: application/http\r\nContent-ID: {identity}\r\n\r\n"
                f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n\r\n"
            )
        text = "".join(answers) + "--batch--\r\n"
        self._answer(200, text.encode(), "multipart/mixed; boundary=batch")
