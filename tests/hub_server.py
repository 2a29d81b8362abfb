"""A model hub on this machine: the routes that clients ask, and the faults that networks have."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request for a file."""

    status: int = 0
    """Answer with this instead of the file."""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    """Close the connection after so many bytes of the answer."""
    stall: bool = False
    """Send nothing more where the connection would be closed."""
    replace_with: bytes | None = None
    """Send this instead of the content, whatever range was asked for."""


class Request(NamedTuple):
    path: str
    host: str
    range: str | None
    authorization: str | None


class Hub(ThreadingHTTPServer):
    """Serves repositories at 127.0.0.1, large files from another origin, as hubs do."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repositories: dict[str, dict[str, bytes]] = {}
        """Files by `<models|datasets>/<id>`."""
        self.faults: dict[str, list[Fault]] = {}
        """What goes wrong with the next requests for a file (its name) or a listing ("api")."""
        self.lies: dict[str, dict[str, str]] = {}
        """What the headers say of a large file instead of the truth."""
        self.requests: list[Request] = []
        """All but those in which a client asks about itself."""
        self.stalled = threading.Event()

    def ranges(self, name: str) -> list[str | None]:
        """The ranges in which a large file's content was asked for."""
        asked = [one for one in self.requests if one.path.startswith("/cdn/")]
        return [one.range for one in asked if one.path.endswith(f"/{name}")]


def is_small(name: str) -> bool:
    """Whether git holds the file itself."""
    return not name.endswith((".safetensors", ".gz", ".zip", ".bin"))


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        self.close_connection = True
        path = unquote(urlsplit(self.path).path)
        first, *rest = path.strip("/").split("/")
        if first == "api" and rest[0] not in ("models", "datasets"):
            self._send(404)
            return
        asked = (self.headers[name] for name in ("Host", "Range", "Authorization"))
        self.server.requests.append(Request(path, *asked))
        if first == "api":
            self._listing("/".join(rest[:3]), rest[3:])
        elif first == "cdn":
            name = "/".join(rest[3:])
            self._content(name, self.server.repositories["/".join(rest[:3])][name], {})
        else:
            kind = "datasets" if first == "datasets" else "models"
            id_, _, place = path.strip("/").removeprefix("datasets/").partition("/resolve/")
            self._file(f"{kind}/{id_}", place.partition("/")[2])

    do_HEAD = do_GET  # noqa: N815

    def _listing(self, id_: str, route: list[str]) -> None:
        if self._failed("api"):
            return
        files = self.server.repositories.get(id_)
        if files is None:
            self._send(404, headers={"X-Error-Code": "RepoNotFound"})
        elif route[:1] == ["tree"]:
            self._send_json([_tree_entry(name, content) for name, content in files.items()])
        elif route in ([], ["revision", "main"], ["revision", COMMIT]):
            siblings = [{"rfilename": name} for name in files]
            self._send_json({"id": id_.partition("/")[2], "sha": COMMIT, "siblings": siblings})
        else:
            self._send(404, headers={"X-Error-Code": "RevisionNotFound"})

    def _file(self, id_: str, name: str) -> None:
        content = self.server.repositories.get(id_, {}).get(name)
        if content is None:
            self._send(404, headers={"X-Error-Code": "EntryNotFound"})
        elif is_small(name):
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{git_sha1(content)}"'}
            self._content(name, content, headers)
        else:
            headers = {
                "X-Repo-Commit": COMMIT,
                "X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"',
                "X-Linked-Size": str(len(content)),
                "Location": f"http://localhost:{self.server.server_port}"
                + quote(f"/cdn/{id_}/{name}"),
            }
            self._send(302, headers={**headers, **self.server.lies.get(name, {})})

    def _content(self, name: str, content: bytes, headers: Mapping[str, str]) -> None:
        """Send a file from where it is asked for, or what a fault makes of it."""
        fault = None if self.command == "HEAD" else self._next_fault(name)
        if fault and fault.status:
            self._send(fault.status, headers=fault.headers)
            return
        start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if fault and fault.replace_with is not None:
            start, content = 0, fault.replace_with
        if start and start >= len(content):
            self._send(416)
            return
        answer = content[start:]
        headers = {**headers, "Content-Length": str(len(answer))}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._send(206 if start else 200, answer[: fault.cut_after if fault else None], headers)
        if fault and fault.stall:
            self.wfile.flush()
            self.server.stalled.set()
            time.sleep(30)

    def _failed(self, name: str) -> bool:
        """Whether the next fault was sent in place of a listing."""
        fault = self._next_fault(name)
        if fault is not None:
            self._send(fault.status or 200, fault.replace_with or b"", fault.headers)
        return fault is not None

    def _next_fault(self, name: str) -> Fault | None:
        faults = self.server.faults.get(name)
        return faults.pop(0) if faults else None

    def _send_json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode())

    def _send(self, status: int, body: bytes = b"", headers: Mapping[str, str] = {}) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def _tree_entry(name: str, content: bytes) -> dict[str, object]:
    size = len(content)
    large = {"oid": hashlib.sha256(content).hexdigest(), "size": size, "pointerSize": 135}
    entry = {"type": "file", "path": name, "size": size, "oid": git_sha1(content)}
    return entry if is_small(name) else {**entry, "lfs": large}


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that answers as long as the context lasts."""
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
