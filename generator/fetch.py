"""Brings a checkpoint and a calibration set from a model hub, resumed and verified.

Plain HTTP, which every mirror serves. The variables are those of Hugging Face's own client:
HF_ENDPOINT (a mirror), HF_TOKEN (else the token that `hf auth login` left), HF_HUB_OFFLINE, and
those for proxies. A file grows in a `.part` file, which a later run continues.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from http.client import HTTPException
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import HTTPRedirectHandler, Request, build_opener

from pydantic import BaseModel, Field, ValidationError

from vacc_gen.generator.calibration.texts import calibration_targets
from vacc_gen.generator.files import check_disk, move_into_place, open_in_place
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.errors import FetchError
from vacc_gen.schema.json_files import sha256_of
from vacc_gen.schema.preset import CalibrationSet
from vacc_gen.schema.recipe import TextSource

CHECKPOINT_FILES = (
    "*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json",
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "chat_template.jinja", "merges.txt", "vocab.json",
)  # fmt: skip
"""What a weight folder needs: no code, no .bin files, no subfolders."""

RepositoryKind = Literal["model", "dataset"]
_Answer = TypeVar("_Answer")

ATTEMPTS = 4
"""Tries without progress; the wait doubles from a second on, unless the server names another."""
LONGEST_WAIT_SECONDS = 60
"""A server that asks for more is answered with an error instead."""
TIMEOUT_SECONDS = 30
CHUNK_BYTES = 1 << 18
"""Less than this is no progress."""
LARGEST_LISTING_BYTES = 32 << 20
SHA256_DIGITS = 64
_DIGEST = re.compile(r'^"?([0-9a-f]{64}|[0-9a-f]{40})"?$')
_NUMBER = re.compile("[0-9]{1,18}")
_TOKEN = re.compile("[!-~]*")
_TEMPORARY_STATUSES = (429, 500, 502, 503, 504)
_TOKEN_HINT = "check the name; a private or gated repository needs `hf auth login` or HF_TOKEN"
_ENDPOINT_HINT = "name another hub in HF_ENDPOINT"
_REFUSALS = {
    401: ("does not give out", _TOKEN_HINT),
    403: ("does not give out", _TOKEN_HINT),
    404: ("has no", "check the name and revision; HF_ENDPOINT decides which hub is asked"),
    416: ("has less than it states of", _ENDPOINT_HINT),
}
"""What a hub does with a request by its status, and what to do about it."""


class _Listed(BaseModel):
    rfilename: str


class _Listing(BaseModel):
    """What is used of a hub's answer about a repository."""

    siblings: tuple[_Listed, ...] = ()
    sha: Annotated[str, Field(pattern="^[0-9a-f]+$")] | None = None


@dataclass(frozen=True)
class RemoteFile:
    name: str
    url: str
    size_bytes: int | None
    digest: str | None
    """sha256 of a large file, git's SHA-1 of a small one, as the hub states it; None: neither."""


class Repository:
    """A repository at one commit, on the hub that HF_ENDPOINT names."""

    def __init__(self, id_: str, kind: RepositoryKind, revision: str, progress: Progress) -> None:
        """Raises:
        FetchError: HF_HUB_OFFLINE is set, there is none of that name and revision, or the hub
            does not answer.
        """
        if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE"):
            raise FetchError("HF_HUB_OFFLINE is set", hint="unset it to fetch")
        self.endpoint = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
        self.id = id_
        self.progress = progress
        self._token = _token()
        self._opener = build_opener(_RedirectHandler)
        url = f"{self.endpoint}/api/{kind}s/{id_}/revision/{quote(revision, safe='')}"
        try:
            listing = _Listing.model_validate(
                self._retried(f"{kind} {id_}", lambda: self._json(url))
            )
        except ValidationError as error:
            what = f"{self.endpoint} answers for {kind} {id_} with something else than its files"
            raise FetchError(what, _ENDPOINT_HINT) from error
        self.names = tuple(file.rfilename for file in listing.siblings)
        prefix = "datasets/" if kind == "dataset" else ""
        commit = listing.sha or quote(revision, safe="")
        self._files_url = f"{self.endpoint}/{prefix}{id_}/resolve/{commit}"

    def file(self, name: str) -> RemoteFile:
        """Ask for a file's size and digest.

        Raises:
            FetchError: it is not there, or the hub does not answer.
        """
        if not name.isprintable():
            raise FetchError(f"{self.endpoint} lists a file called {name!r}", _ENDPOINT_HINT)
        url = f"{self._files_url}/{quote(name)}"
        headers = self._retried(f"{name} of {self.id}", lambda: self._headers(url))
        # A large file lies elsewhere: what its storage says of it is not the hub's word.
        digest = _DIGEST.search(headers.get("X-Linked-Etag") or headers.get("ETag") or "")
        size = headers.get("X-Linked-Size") or headers.get("Content-Length")
        if size is not None and not _NUMBER.fullmatch(size):
            raise FetchError(f"{self.endpoint} states no size for {name}: {size!r}", _ENDPOINT_HINT)
        return RemoteFile(name, url, int(size) if size else None, digest[1] if digest else None)

    def download(self, file: RemoteFile, partial: Path) -> None:
        """Bring a file's content into `partial`, continuing where that ends.

        Raises:
            FetchError: the hub does not answer, or the connection broke for good. `partial` stays.
        """
        with open_in_place(partial) as output:
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
            while chunk := response.read1(CHUNK_BYTES):
                output.write(chunk)
                self.progress.advance(len(chunk))
                if output.tell() > (file.size_bytes or math.inf):
                    output.truncate(0)
                    what = f"{self.endpoint} sends more of {file.name} than the size that it states"
                    raise FetchError(what, _ENDPOINT_HINT)
        output.flush()
        if output.tell() < (file.size_bytes or 0):
            raise ConnectionError("the connection was cut")

    def _json(self, url: str) -> Any:
        with self._open(url) as response:
            content = response.read(LARGEST_LISTING_BYTES)
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise ConnectionError("the answer is cut short, or is not JSON") from None

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
        response = self._opener.open(request, timeout=TIMEOUT_SECONDS)
        if response.headers.get_content_type() == "text/html":
            response.close()
            raise FetchError(
                f"{self.endpoint} answers with a web page in place of {url}",
                "does this network ask you to log in first, or a proxy stand in between? "
                f"Otherwise {_ENDPOINT_HINT}",
            )
        return response

    def _retried(
        self, what: str, question: Callable[[], _Answer], position: Callable[[], int] = lambda: 0
    ) -> _Answer:
        """Ask until there is an answer, or no attempt gets beyond the position of the last."""
        attempt, reached = 1, position()
        while True:
            try:
                return question()
            except (OSError, HTTPException, ValueError) as error:
                has_progressed = position() >= reached + CHUNK_BYTES
                attempt, reached = (1 if has_progressed else attempt), position()
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
            if 300 <= error.code < 400:
                wait = f"it redirects without end; {_ENDPOINT_HINT}"
            verb, hint = _REFUSALS.get(error.code, ("fails to serve", wait))
            return FetchError(f"{self.endpoint} {verb} {what} ({error.code})", hint)
        reason = getattr(error, "reason", error)  # urllib's error says little beside its cause
        reason = getattr(reason, "strerror", None) or reason
        return FetchError(
            f"fetching {what} from {self.endpoint} failed: {reason or type(reason).__name__}",
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
        ours = (req.type, req.host)  # a token goes nowhere else
        if following is not None and (following.type, following.host) == ours:
            following.unredirected_hdrs.update(req.unredirected_hdrs)
        return following


def _token() -> str | None:
    home = os.environ.get("HF_HOME", "~/.cache/huggingface")
    path = Path(os.environ.get("HF_TOKEN_PATH", f"{home}/token")).expanduser()
    token = os.environ.get("HF_TOKEN") or ""
    if not token and path.is_file():
        token = path.read_bytes().decode("ascii", errors="replace")
    token = token.strip()
    if not _TOKEN.fullmatch(token):
        raise FetchError("the hub's token has characters that no token has", "hf auth login")
    return token or None


def has_digest(path: Path, file: RemoteFile, progress: Progress) -> bool:
    """Whether the file at `path` has the digest that the hub states; so it is without one."""
    progress.say(f"checking {file.name}")
    if file.digest is None:
        return True
    if len(file.digest) == SHA256_DIGITS:
        return sha256_of(path) == file.digest
    content = path.read_bytes()
    computed = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    return computed.hexdigest() == file.digest


def _retry_after(error: Exception) -> int | None:
    value = error.headers.get("Retry-After", "").strip() if isinstance(error, HTTPError) else ""
    return int(value) if _NUMBER.fullmatch(value) else None


def _wait_seconds(error: Exception, attempt: int) -> int | None:
    """How long to wait before asking again; None: asking again is of no use."""
    if isinstance(error, HTTPError) and error.code not in _TEMPORARY_STATUSES:
        return None
    if isinstance(error, URLError) and isinstance(error.reason, ConnectionRefusedError):
        return None
    asked = _retry_after(error)
    wait_seconds = 2 ** (attempt - 1) if asked is None else max(asked, 1)
    return wait_seconds if wait_seconds <= LONGEST_WAIT_SECONDS else None


@dataclass(frozen=True)
class FetchedFile:
    path: Path
    state: Literal["fetched", "resumed", "present"]
    verified: bool
    """False where the hub states no digest to compare with."""


def fetch_checkpoint(
    repository: str, folder: Path, progress: Progress, revision: str = "main", force: bool = False
) -> Iterator[FetchedFile]:
    """Bring the safetensors, config and tokenizer files of a model repository into `folder`.

    Each is yielded once it is there and checked.

    Raises:
        FetchError: the hub does not give a file, a file is not the published one, or another file
            stands in its place (without `force`).
        StageError: the disk is too small.
    """
    hub = Repository(repository, "model", revision, progress)
    top = [name for name in hub.names if "/" not in name]
    names = [name for name in top if any(fnmatch(name, wanted) for wanted in CHECKPOINT_FILES)]
    for needed in ("*.safetensors", "config.json"):
        if not any(fnmatch(name, needed) for name in names):
            raise FetchError(
                f"{repository} holds no {needed}",
                hint="vacc-gen reads safetensors checkpoints; is there a converted repository?",
            )
    yield from _bring({folder / name: hub.file(name) for name in sorted(names)}, hub, force)


def fetch_calibration_set(
    preset: CalibrationSet, source: TextSource, root: Path, progress: Progress, force: bool = False
) -> Iterator[FetchedFile]:
    """Bring a published set to `source.path`, relative to `root`; as `fetch_checkpoint`."""
    hub = Repository(preset.huggingface_id, "dataset", "main", progress)
    targets = calibration_targets(preset, source)
    wanted = {root / path: hub.file(str(name)) for name, path in targets.items()}
    yield from _bring(wanted, hub, force)


def _bring(wanted: dict[Path, RemoteFile], hub: Repository, force: bool) -> Iterator[FetchedFile]:
    """Bring the files that are missing; what would not fit or is not ours fails before the first.

    `wanted` has the remote file of each path; all of them go to one folder.
    """
    missing = {path: file for path, file in wanted.items() if not _is_there(path, file, hub, force)}
    total_bytes = sum(file.size_bytes or 0 for file in missing.values())
    started_bytes = sum(_started(path, file) for path, file in missing.items())
    check_disk(next(iter(wanted)).parent, total_bytes - started_bytes)
    hub.progress.start("fetching", total_bytes)
    hub.progress.advance(started_bytes)
    for path, file in wanted.items():
        if path in missing:
            yield _fetch(path, file, hub)
        else:
            yield FetchedFile(path, "present", file.digest is not None)


def _is_there(path: Path, file: RemoteFile, hub: Repository, force: bool) -> bool:
    if not path.exists():
        return False
    if file.size_bytes in (None, path.stat().st_size) and has_digest(path, file, hub.progress):
        return True
    if force:
        return False
    raise FetchError(
        f"{path} exists and is not the file that {hub.endpoint} has",
        hint="move it away, or let --force replace it",
    )


def _fetch(path: Path, file: RemoteFile, hub: Repository) -> FetchedFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path, file)
    if file.size_bytes is None or _started(path, file) > file.size_bytes:
        hub.progress.advance(-_started(path, file))
        partial.unlink(missing_ok=True)
    started_bytes = _started(path, file)
    hub.progress.say(path.name)
    hub.download(file, partial)
    if not has_digest(partial, file, hub.progress):
        partial.unlink()
        raise FetchError(
            f"{file.name} arrived with another checksum than the {file.digest} that "
            f"{hub.endpoint} states; it was removed",
            hint="run it again; if that does not help, the mirror serves another file",
        )
    move_into_place(partial, path)
    return FetchedFile(path, "resumed" if started_bytes else "fetched", file.digest is not None)


def partial_path(path: Path, file: RemoteFile) -> Path:
    """Where a file grows. Its digest is in the name: another version is never continued."""
    version = (file.digest or "unversioned")[:12]
    return path.with_name(f".{path.name}.{version}.part")


def _started(path: Path, file: RemoteFile) -> int:
    partial = partial_path(path, file)
    return partial.stat().st_size if partial.exists() else 0
