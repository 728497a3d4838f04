"""The HTTP part of `gcs_server`: reads requests of Google Cloud Storage's JSON interface and writes the answers."""

import email.parser
import json
import re
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gcs_server import GcsServer


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def query_of(text: str) -> dict[str, str]:
    return {key: values[-1] for key, values in urllib.parse.parse_qs(text, keep_blank_values=True).items()}


def parts_of(headers: Any, body: bytes) -> list[tuple[dict[str, str], bytes]]:
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


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: "GcsServer"

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

    def _named(self, body: bytes) -> str:
        """The name of an object that is not in the address of an upload, after a blank."""
        if upload := self.server_state.uploads.get(self.path):
            return f" {upload[1]}"
        found = re.search(rb'"name": *"([^"]+)"', body[:2000]) if "uploadType" in self.path else None
        return f" {found[1].decode()}" if found else ""

    def _handle(self) -> None:
        state, body = self.server_state, self._body()
        request = f"{self.command} {urllib.parse.unquote(self.path)}{self._named(body)}"
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
            self._route(path, query_of(query), body)
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
        here = urllib.parse.unquote(source[0]), urllib.parse.unquote(source[1])
        there = urllib.parse.unquote(target[0]), urllib.parse.unquote(target[1])
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
            (_, about), (head, content) = parts_of(self.headers, body)
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
        return self._answer(308, b"", **({"Range": f"bytes=0-{len(content) - 1}"} if content else {}))

    def _batch(self, body: bytes) -> None:
        answers = []
        for head, content in parts_of(self.headers, body):
            line = content.split(b"\n", 1)[0].decode().split()
            path, _, query = line[1].partition("?")
            status = 204
            try:
                found = re.fullmatch(r"/storage/v1/b/([^/]+)/o/(.+)", path)
                assert found and line[0] == "DELETE", line
                self.server_state.requests.append(f"{line[0]} {urllib.parse.unquote(line[1])}")
                name = urllib.parse.unquote(found[2])
                self.server_state.delete(urllib.parse.unquote(found[1]), name, query_of(query))
            except Refused as error:
                status = error.status
            identity = head.get("Content-ID", "<x>").replace("<", "<response-")
            answers.append(
                f"--batch\r\nContent-Type: application/http\r\nContent-ID: {identity}\r\n\r\n"
                f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n\r\n"
            )
        text = "".join(answers) + "--batch--\r\n"
        self._answer(200, text.encode(), "multipart/mixed; boundary=batch")
