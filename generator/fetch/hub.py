"""A model hub as we need it: what a repository holds, and one file of it, resumed and verified.

Plain HTTP, which every mirror serves. The variables are those of Hugging Face's own client:
HF_ENDPOINT (a mirror), HF_TOKEN (else the token that `hf auth login` left), HF_HUB_OFFLINE, and
those for proxies. A file grows in a `.part` file, which a later run continues.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import HTTPRedirectHandler, Request, build_opener

from vacc_gen.generator.files import sha256_of
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.errors import FetchError

RepositoryKind = Literal["model", "dataset"]
_Answer = TypeVar("_Answer")

ATTEMPTS = 4
"""Tries without progress; the wait doubles from a second on, unless the server names another."""
LONGEST_WAIT_SECONDS = 60
"""A server that asks for more is answered with an error instead."""
TIMEOUT_SECONDS = 30
CHUNK_BYTES = 1 << 18
"""A cut connection loses at most this much."""
SHA256_DIGITS = 64
_DIGEST = re.compile(r'^"?([0-9a-f]{64}|[0-9a-f]{40})"?$')
_TEMPORARY_STATUSES = (429, 500, 502, 503, 504)
_TOKEN_HINT = "check the name; a private or gated repository needs `hf auth login` or HF_TOKEN"
_REFUSALS = {
    401: ("does not give out", _TOKEN_HINT),
    403: ("does not give out", _TOKEN_HINT),
    404: ("has no", "check the name and revision; HF_ENDPOINT decides which hub is asked"),
}
"""What a hub does with a request by its status, and what to do about it."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository."""

    name: str
    url: str
    size_bytes: int | None
    digest: str | None
    """sha256 of a large file, git's SHA-1 of a small one, as the hub states it; None: neither."""


class Repository:
    """A repository at one commit, on the hub that HF_ENDPOINT names."""

    def __init__(self, id_: str, kind: RepositoryKind, revision: str, progress: Progress) -> None:
        """List it.

        Raises:
            FetchError: HF_HUB_OFFLINE forbids it, there is none of that name and revision, or the
                hub does not answer.
        """
        if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE"):
            raise FetchError("HF_HUB_OFFLINE is set", hint="unset it to fetch")
        self.endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
        self.id = id_
        self.progress = progress
        self._token = _token()
        self._opener = build_opener(_RedirectHandler)
        url = f"{self.endpoint}/api/{kind}s/{id_}/revision/{quote(revision, safe='')}"
        info = self._retried(f"{kind} {id_}", lambda: self._json(url))
        self.names: tuple[str, ...] = tuple(file["rfilename"] for file in info.get("siblings", ()))
        prefix = "datasets/" if kind == "dataset" else ""
        self._files_url = f"{self.endpoint}/{prefix}{id_}/resolve/{info.get('sha', revision)}"

    def file(self, name: str) -> RemoteFile:
        """Ask for a file's size and digest.

        Raises:
            FetchError: it is not there, or the hub does not answer.
        """
        url = f"{self._files_url}/{quote(name)}"
        headers = self._retried(f"{name} of {self.id}", lambda: self._headers(url))
        # A large file lies elsewhere: what its storage says of it is not the hub's word.
        digest = _DIGEST.search(headers.get("X-Linked-Etag") or headers.get("ETag") or "")
        size = headers.get("X-Linked-Size") or headers.get("Content-Length")
        return RemoteFile(name, url, int(size) if size else None, digest[1] if digest else None)

    def download(self, file: RemoteFile, partial: Path) -> None:
        """Bring a file's content into `partial`, continuing where that ends.

        Raises:
            FetchError: the hub does not answer, or the connection broke for good. `partial` stays.
        """
        with partial.open("ab") as output:
            self._retried(file.name, lambda: self._append(file, output), output.tell)

    def _append(self, file: RemoteFile, output: Any) -> None:
        start = output.tell()
        if start == file.size_bytes:
            return
        with self._open(file.url, {"Range": f"bytes={start}-"} if start else {}) as response:
            if start and response.status != 206:  # the whole file again
                output.seek(0)
                output.truncate()
                self.progress.advance(-start)
            while chunk := response.read(CHUNK_BYTES):
                output.write(chunk)
                self.progress.advance(len(chunk))
        output.flush()
        if output.tell() < (file.size_bytes or 0):
            raise ConnectionError("the connection was cut")

    def _json(self, url: str) -> Any:
        with self._open(url) as response:
            return json.load(response)

    def _headers(self, url: str) -> Any:
        try:
            with self._open(url, method="HEAD") as response:
                return response.headers
        except HTTPError as answer:
            if "X-Linked-Etag" in answer.headers:
                return answer.headers
            raise

    def _open(self, url: str, headers: dict[str, str] | None = None, method: str = "GET") -> Any:
        request = Request(url, headers={"User-Agent": "vacc-gen", **(headers or {})}, method=method)
        if self._token:
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        return self._opener.open(request, timeout=TIMEOUT_SECONDS)

    def _retried(
        self, what: str, question: Callable[[], _Answer], position: Callable[[], int] = lambda: 0
    ) -> _Answer:
        """Ask until there is an answer, or no attempt gets beyond the position of the last."""
        attempt, reached = 1, position()
        while True:
            try:
                return question()
            except (OSError, HTTPException, ValueError) as error:
                attempt, reached = (1 if position() > reached else attempt), position()
                wait_seconds = _wait_seconds(error, attempt)
                if wait_seconds is None or attempt == ATTEMPTS:
                    raise self._explain(what, error) from error
            attempt += 1
            self.progress.say(f"{self.endpoint} is busy: {what} again in {wait_seconds} s")
            time.sleep(wait_seconds)

    def _explain(self, what: str, error: Exception) -> FetchError:
        again = "run it again to resume"
        if isinstance(error, HTTPError):
            after = _retry_after(error)
            wait = f"wait {after} s, then {again}" if after else again
            verb, hint = _REFUSALS.get(error.code, ("fails to serve", wait))
            return FetchError(f"{self.endpoint} {verb} {what} ({error.code})", hint)
        return FetchError(
            f"fetching {what} from {self.endpoint} failed: {error or type(error).__name__}",
            hint=f"check the network, or name a mirror in HF_ENDPOINT; then {again}",
        )


class _RedirectHandler(HTTPRedirectHandler):
    """Follows redirects, but stops at the answer that states a large file's digest."""

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        if req.get_method() == "HEAD" and "X-Linked-Etag" in headers:
            return None
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None and following.host == req.host:  # a token goes nowhere else
            following.unredirected_hdrs.update(req.unredirected_hdrs)
        return following


def _token() -> str | None:
    home = os.environ.get("HF_HOME", "~/.cache/huggingface")
    path = Path(os.environ.get("HF_TOKEN_PATH", f"{home}/token")).expanduser()
    token = os.environ.get("HF_TOKEN") or (path.read_text() if path.is_file() else "")
    return token.strip() or None


def has_digest(path: Path, file: RemoteFile, progress: Progress) -> bool:
    """Whether the file at `path` has the digest that the hub states; so it is without one."""
    progress.start(f"check {file.name}")
    if file.digest is None:
        return True
    if len(file.digest) == SHA256_DIGITS:
        return sha256_of(path) == file.digest
    content = path.read_bytes()
    computed = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    return computed.hexdigest() == file.digest


def _retry_after(error: Exception) -> int | None:
    value = error.headers.get("Retry-After", "").strip() if isinstance(error, HTTPError) else ""
    return int(value) if value.isdigit() else None


def _wait_seconds(error: Exception, attempt: int) -> int | None:
    """How long to wait before asking again; None: asking again is of no use."""
    if isinstance(error, HTTPError) and error.code not in _TEMPORARY_STATUSES:
        return None
    if isinstance(error, URLError) and isinstance(error.reason, ConnectionRefusedError):
        return None
    asked = _retry_after(error)
    wait_seconds = 2 ** (attempt - 1) if asked is None else max(asked, 1)
    return wait_seconds if wait_seconds <= LONGEST_WAIT_SECONDS else None
