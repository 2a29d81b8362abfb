"""Brings a checkpoint and a calibration set from a model hub, resumed and verified.

Plain HTTP, which every mirror serves. The variables are those of Hugging Face's own client:
HF_ENDPOINT (a mirror), HF_TOKEN (else the token that `hf auth login` left), HF_HUB_OFFLINE, and
those for proxies. A file grows in a `.part` file, which a later run continues.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from http.client import HTTPException
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, TypeVar
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import HTTPRedirectHandler, Request, build_opener

from pydantic import BaseModel, Field, ValidationError

from vacc_gen.generator.calibration.texts import calibration_targets
from vacc_gen.generator.files import check_disk, move_into_place, open_in_place
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.errors import StageError
from vacc_gen.schema.json_files import sha256_of
from vacc_gen.schema.preset import CalibrationSet
from vacc_gen.schema.recipe import TextSource

CHECKPOINT_FILES = (
    "*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json",
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "chat_template.jinja", "merges.txt", "vocab.json",
)  # fmt: skip
"""What a weight folder needs: no code, no .bin files, no subfolders."""

_Answer = TypeVar("_Answer")

ATTEMPTS = 4
"""Tries without progress; the wait doubles from a second on, unless the server names another."""
LONGEST_WAIT_SECONDS = 60
"""A server that asks for more is answered with an error instead."""
TIMEOUT_SECONDS = 30
CHUNK_BYTES = 1 << 18
"""Less than this is no progress."""
LARGEST_LISTING_BYTES = 32 << 20
_DIGEST = re.compile('"?([0-9a-f]{64}|[0-9a-f]{40})"?')
_NUMBER = re.compile("[0-9]{1,18}")
_TEMPORARY_STATUSES = (429, 500, 502, 503, 504)
_AGAIN = "run it again to resume"
_OTHER_HUB = "name another hub in HF_ENDPOINT"
_TOKEN_HINT = "check the name; a private or gated repository needs `hf auth login` or HF_TOKEN"
_REFUSALS = {
    401: ("does not give out", _TOKEN_HINT),
    403: ("does not give out", _TOKEN_HINT),
    404: ("has no", "check the name and revision; HF_ENDPOINT decides which hub is asked"),
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
    size_bytes: int
    digest: str | None
    """sha256 of a large file, git's SHA-1 of a small one, as the hub states it; None: neither."""

    def is_at(self, path: Path) -> bool:
        """Whether a file has the size that the hub states and, where it states one, the digest."""
        if path.stat().st_size != self.size_bytes:
            return False
        if self.digest is None:
            return True
        if len(self.digest) == 64:
            return sha256_of(path) == self.digest
        content = path.read_bytes()
        computed = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
        return computed.hexdigest() == self.digest

    def partial_path(self, path: Path) -> Path:
        """Where it grows. Its digest is in the name: another version is never continued."""
        return path.with_name(f".{path.name}.{(self.digest or 'unversioned')[:12]}.part")

    def started_bytes(self, path: Path) -> int:
        partial = self.partial_path(path)
        return partial.stat().st_size if partial.exists() else 0


class Repository:
    """A repository at one commit, on the hub that HF_ENDPOINT names."""

    def __init__(
        self, id_: str, kind: Literal["model", "dataset"], revision: str, progress: Progress
    ) -> None:
        """Raises:
        StageError: HF_HUB_OFFLINE is set, there is none of that name and revision, or the hub
            does not answer.
        """
        if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE"):
            raise StageError("HF_HUB_OFFLINE is set", hint="unset it to fetch")
        self.endpoint = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
        self.progress = progress
        self._token = _token()
        self._opener = build_opener(_RedirectHandler)
        what, commit = f"{kind} {id_}", quote(revision, safe="")
        url = f"{self.endpoint}/api/{kind}s/{id_}/revision/{commit}"
        content = self._retried(what, lambda: self._open(url).read(LARGEST_LISTING_BYTES))
        try:
            listing = _Listing.model_validate_json(content)
        except ValidationError as error:
            problem = f"{self.endpoint} answers for {what} with something else than its files"
            raise StageError(problem, f"{_AGAIN}, or {_OTHER_HUB}") from error
        self.names = tuple(file.rfilename for file in listing.siblings)
        prefix = "datasets/" if kind == "dataset" else ""
        self._files_url = f"{self.endpoint}/{prefix}{id_}/resolve/{listing.sha or commit}"

    def file(self, name: str) -> RemoteFile:
        """Ask for a file's size and digest.

        Raises:
            StageError: it is not there, or the hub does not answer.
        """
        url = f"{self._files_url}/{quote(name)}"
        headers = self._retried(name, lambda: self._open(url, method="HEAD").headers)
        # A large file lies elsewhere: what its storage says of it is not the hub's word.
        digest = _DIGEST.fullmatch(headers.get("X-Linked-Etag") or headers.get("ETag") or "")
        size = headers.get("X-Linked-Size") or headers.get("Content-Length") or ""
        if not _NUMBER.fullmatch(size):
            raise StageError(f"{self.endpoint} states no size for {name}: {size!r}", _OTHER_HUB)
        return RemoteFile(name, url, int(size), digest[1] if digest else None)

    def download(self, file: RemoteFile, path: Path) -> None:
        """Bring a file to `path`, from where an earlier run stopped; it comes there checked.

        Raises:
            StageError: the hub does not answer, the connection broke for good, or it is not the
                file that the hub states. What arrived stays, but for the last case.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = file.partial_path(path)
        self.progress.say(path.name)
        with open_in_place(partial) as output:
            self._retried(file.name, lambda: self._append(file, output), output.tell)
        self.progress.say(f"checking {file.name}")
        if not file.is_at(partial):
            partial.unlink()
            raise StageError(
                f"{file.name} arrived with another checksum than the {file.digest} that "
                f"{self.endpoint} states; it was removed",
                hint="run it again; if that does not help, the mirror serves another file",
            )
        move_into_place(partial, path)

    def _append(self, file: RemoteFile, output: BinaryIO) -> None:
        start = output.tell()
        if start >= file.size_bytes:
            return
        with self._open(file.url, {"Range": f"bytes={start}-"} if start else {}) as response:
            if start and response.status != 206:  # the whole file again
                output.seek(0)
                output.truncate()
                self.progress.advance(-start)
            while chunk := response.read1(min(CHUNK_BYTES, file.size_bytes - output.tell())):
                output.write(chunk)
                self.progress.advance(len(chunk))
        output.flush()
        if output.tell() < file.size_bytes:
            raise ConnectionError("the connection was cut")

    def _open(self, url: str, headers: dict[str, str] | None = None, method: str = "GET") -> Any:
        request = Request(url, headers={"User-Agent": "vacc-gen", **(headers or {})}, method=method)
        if self._token:
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        response = self._opener.open(request, timeout=TIMEOUT_SECONDS)
        if response.headers.get_content_type() == "text/html":
            response.close()
            raise StageError(
                f"{self.endpoint} answers with a web page in place of {url}",
                "does this network ask you to log in first, or a proxy stand in between? "
                f"Otherwise {_OTHER_HUB}",
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
                if position() >= reached + CHUNK_BYTES:
                    attempt = 1
                reached = position()
                is_final = isinstance(error, HTTPError) and error.code not in _TEMPORARY_STATUSES
                wait_seconds = _retry_after(error) or 2 ** (attempt - 1)
                if is_final or attempt == ATTEMPTS or wait_seconds > LONGEST_WAIT_SECONDS:
                    raise self._explain(what, error) from error
            attempt += 1
            self.progress.say(f"{self.endpoint} is busy: {what} again in {wait_seconds} s")
            time.sleep(wait_seconds)

    def _explain(self, what: str, error: Exception) -> StageError:
        if isinstance(error, HTTPError):
            after = _retry_after(error)
            again = f"wait {after} s, then {_AGAIN}" if after else _AGAIN
            verb, hint = _REFUSALS.get(error.code, ("fails to serve", again))
            return StageError(f"{self.endpoint} {verb} {what} ({error.code})", hint)
        reason = getattr(error, "reason", error)  # urllib's error says little beside its cause
        reason = getattr(reason, "strerror", None) or reason
        return StageError(
            f"fetching {what} from {self.endpoint} failed: {reason or type(reason).__name__}",
            hint=f"check the network, or name a mirror in HF_ENDPOINT; then {_AGAIN}",
        )


class _RedirectHandler(HTTPRedirectHandler):
    """Follows redirects, but stops at the answer that states a large file's digest."""

    def http_error_302(self, req: Request, fp: Any, code: int, msg: str, headers: Any) -> Any:
        if req.get_method() == "HEAD" and "X-Linked-Etag" in headers:
            return fp
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_307 = http_error_308 = http_error_302

    def redirect_request(self, req: Request, *answer: Any) -> Request | None:
        following = super().redirect_request(req, *answer)
        ours = (req.type, req.host)  # a token goes nowhere else
        if following is not None and (following.type, following.host) == ours:
            following.unredirected_hdrs.update(req.unredirected_hdrs)
        return following


def _token() -> str | None:
    home = os.environ.get("HF_HOME", "~/.cache/huggingface")
    path = Path(os.environ.get("HF_TOKEN_PATH", f"{home}/token")).expanduser()
    token = os.environ.get("HF_TOKEN") or ""
    if not token and path.is_file():
        token = path.read_text(encoding="utf-8", errors="replace")
    token = token.strip()
    if not (token.isascii() and token.isprintable()):
        raise StageError("the hub's token has characters that no token has", "hf auth login")
    return token or None


def _retry_after(error: Exception) -> int | None:
    value = error.headers.get("Retry-After", "") if isinstance(error, HTTPError) else ""
    return int(value) if _NUMBER.fullmatch(value) else None


@dataclass(frozen=True)
class FetchedFile:
    path: Path
    state: str
    """`fetched`, `resumed` or `present`."""
    verified: bool
    """False where the hub states no digest to compare with."""


def fetch_checkpoint(
    repository: str, folder: Path, progress: Progress, revision: str, force: bool
) -> Iterator[FetchedFile]:
    """Bring the safetensors, config and tokenizer files of a model repository into `folder`.

    Each is yielded once it is there and checked.

    Raises:
        StageError: the hub does not give a file, a file is not the published one, or another file
            stands in its place (without `force`), or the disk is too small.
    """
    hub = Repository(repository, "model", revision, progress)
    top = [name for name in hub.names if "/" not in name and name.isprintable()]
    names = [name for name in top if any(fnmatch(name, wanted) for wanted in CHECKPOINT_FILES)]
    for needed in ("*.safetensors", "config.json"):
        if not any(fnmatch(name, needed) for name in names):
            raise StageError(
                f"{repository} holds no {needed}",
                hint="vacc-gen reads safetensors checkpoints; is there a converted repository?",
            )
    yield from _bring({folder / name: hub.file(name) for name in sorted(names)}, hub, force)


def fetch_calibration_set(
    preset: CalibrationSet, source: TextSource, root: Path, progress: Progress, force: bool
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
    missing = {}
    for path, file in wanted.items():
        hub.progress.say(f"checking {file.name}")
        if path.exists() and file.is_at(path):
            continue
        if path.exists() and not force:
            problem = f"{path} exists and is not the file that {hub.endpoint} has"
            raise StageError(problem, "move it away, or let --force replace it")
        missing[path] = file
    total_bytes = sum(file.size_bytes for file in missing.values())
    started_bytes = sum(file.started_bytes(path) for path, file in missing.items())
    check_disk(next(iter(wanted)).parent, total_bytes - started_bytes)
    hub.progress.start("fetching", total_bytes)
    hub.progress.advance(started_bytes)
    for path, file in wanted.items():
        state = "present"
        if path in missing:
            state = "resumed" if file.started_bytes(path) else "fetched"
            hub.download(file, path)
        yield FetchedFile(path, state, file.digest is not None)
