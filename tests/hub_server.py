"""A model hub on this machine: the routes that clients ask, and the faults that networks have."""

from __future__ import annotations

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
    cut_after: int = -1
    """Close the connection after so many bytes of the answer."""
    stall: bool = False
    """Send nothing more where the connection would be closed."""
    replace_with: bytes | None = None
    """Send this instead of the content."""


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
        self.repositories: dict[str, dict[str, bytes]] = {}
        """Files by `<models|datasets>/<id>`."""
        self.faults: dict[str, list[Fault]] = {}
        """What goes wrong with the next requests for a file (its name) or a listing ("api")."""
        self.lies: dict[str, dict[str, str]] = {}
        """What the headers say of a large file instead of the truth."""
        self.requests: list[Request] = []
        """All but those in which a client asks about itself."""
        self.stalled = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

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
        parts = path.strip("/").split("/")
        if parts[0] == "api" and parts[1] not in ("models", "datasets"):
            self._send(404, b"{}")
            return
        asked = (self.headers[name] for name in ("Host", "Range", "Authorization"))
        self.server.requests.append(Request(path, *asked))
        if parts[0] == "api":
            self._listing(parts[1:])
        elif parts[0] == "cdn":
            name = "/".join(parts[4:])
            content = self.server.repositories["/".join(parts[1:4])][name]
            if not self._failed(name, content):
                self._send_content(content, {})
        else:
            kind = "datasets" if parts[0] == "datasets" else "models"
            repository, _, rest = "/".join(parts).removeprefix("datasets/").partition("/resolve/")
            self._file(f"{kind}/{repository}", rest.partition("/")[2])

    do_HEAD = do_GET  # noqa: N815

    def _listing(self, parts: list[str]) -> None:
        repository = self.server.repositories.get("/".join(parts[:3]))
        if self._failed("api"):
            return
        if repository is None:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif parts[3:4] == ["tree"]:
            entries = [_tree_entry(name, content) for name, content in repository.items()]
            self._send(200, json.dumps(entries).encode())
        elif parts[3:] in ([], ["revision", "main"], ["revision", COMMIT]):
            siblings = [{"rfilename": name} for name in repository]
            info = {"id": "/".join(parts[1:3]), "sha": COMMIT, "siblings": siblings}
            self._send(200, json.dumps(info).encode())
        else:
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})

    def _file(self, repository: str, name: str) -> None:
        content = self.server.repositories.get(repository, {}).get(name)
        if content is None:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        headers = {"X-Repo-Commit": COMMIT}
        if is_small(name):
            headers["ETag"] = f'"{git_sha1(content)}"'
            if self.command == "HEAD":
                self._send(200, content, headers)
            elif not self._failed(name, content, headers):
                self._send_content(content, headers)
            return
        headers["X-Linked-Etag"] = f'"{hashlib.sha256(content).hexdigest()}"'
        headers |= {"X-Linked-Size": str(len(content)), **self.server.lies.get(name, {})}
        place = quote(f"/cdn/{repository}/{name}")
        headers["Location"] = f"http://localhost:{self.server.server_port}{place}"
        self._send(302, b"", headers)

    def _failed(self, name: str, content: bytes = b"", headers: Mapping[str, str] = {}) -> bool:
        faults = self.server.faults.get(name)
        if not faults:
            return False
        fault = faults.pop(0)
        if fault.status:
            self._send(fault.status, b"", fault.headers)
        elif fault.replace_with is not None:
            length = {"Content-Length": str(len(fault.replace_with))}
            sent = fault.replace_with[: fault.cut_after if fault.cut_after >= 0 else None]
            self._send(200, sent, {**headers, **length})
        else:
            self._send_content(content, headers, fault)
        return True

    def _send_content(
        self, content: bytes, headers: Mapping[str, str], fault: Fault | None = None
    ) -> None:
        start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if start and start >= len(content):
            self._send(416, b"")
            return
        answer = content[start:]
        if start:
            where = f"bytes {start}-{len(content) - 1}/{len(content)}"
            headers = {**headers, "Content-Range": where}
        sent = answer if fault is None else answer[: fault.cut_after]
        self._send(206 if start else 200, sent, {**headers, "Content-Length": str(len(answer))})
        if fault is not None and fault.stall:
            self.wfile.flush()
            self.server.stalled.set()
            time.sleep(30)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] = {}) -> None:
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
