"""A model hub as we need it: what a repository holds, and one file of it, resumed and verified.

The `huggingface_hub` client does the talking, so its environment counts: HF_ENDPOINT (a mirror),
HF_TOKEN, proxies. Files come over plain HTTP, which every mirror serves, into a `.part` file that a
later run goes on with; the client's own downloads keep nothing of an interrupted file.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from vacc_gen.generator.progress import Progress
from vacc_gen.schema.errors import FetchError, MissingExtraError

RepositoryKind = Literal["model", "dataset"]
_Answer = TypeVar("_Answer")

ATTEMPTS = 4
"""Tries of one question; the wait doubles from a second on, unless the server names another."""
LONGEST_WAIT_SECONDS = 60
"""A server that asks for more is answered with an error instead."""
TIMEOUT_SECONDS = 30
CHUNK_BYTES = 1 << 18
"""What a cut connection loses at the most; the client's own chunks are of 10 MB."""
_PASSING_STATUSES = (429, 500, 502, 503, 504)
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Repository:
    """A repository at one commit."""

    id: str
    kind: RepositoryKind
    commit: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository."""

    name: str
    url: str
    size_bytes: int | None
    digest: str | None
    """sha256 of a large file, git's SHA-1 of a small one, as the hub states it; None: neither."""


class Hub:
    """The hub that HF_ENDPOINT names."""

    def __init__(self, progress: Progress) -> None:
        """Load the client.

        Raises:
            MissingExtraError: huggingface_hub is not installed.
        """
        try:
            import huggingface_hub
            import huggingface_hub.constants
            import huggingface_hub.errors
            import huggingface_hub.utils
        except ImportError as error:
            raise MissingExtraError("huggingface_hub", "fetching") from error
        self._client: Any = huggingface_hub
        self._client.utils.disable_progress_bars()  # ours takes their place
        self._client.constants.DOWNLOAD_CHUNK_SIZE = CHUNK_BYTES
        self._progress = progress
        self.endpoint: str = self._client.constants.ENDPOINT
        # The base is the transport's own error: of requests or httpx, by the client's version.
        bases = self._client.utils.HfHubHTTPError.__bases__
        self._errors: tuple[type[BaseException], ...] = (OSError, *bases)

    def repository(self, id_: str, kind: RepositoryKind, revision: str) -> Repository:
        """List a repository.

        Raises:
            FetchError: there is none of that name and revision, or the hub does not answer.
        """
        what = f"{kind} {id_}"
        info = self._ask(
            what,
            lambda: self._client.HfApi().repo_info(
                id_, repo_type=kind, revision=revision, timeout=TIMEOUT_SECONDS
            ),
        )
        names = tuple(sibling.rfilename for sibling in info.siblings or ())
        return Repository(id_, kind, info.sha or revision, names)

    def file(self, repository: Repository, name: str) -> RemoteFile:
        """Ask for a file's size and digest.

        Raises:
            FetchError: it is not there, or the hub does not answer.
        """
        url = self._client.hf_hub_url(
            repository.id, name, repo_type=repository.kind, revision=repository.commit
        )
        metadata = self._ask(
            f"{name} of {repository.id}",
            lambda: self._client.get_hf_file_metadata(url, timeout=TIMEOUT_SECONDS),
        )
        digest = metadata.etag if _hash_of_kind(metadata.etag or "") else None
        return RemoteFile(name, url, metadata.size, digest)

    def download(self, file: RemoteFile, partial: Path) -> None:
        """Bring a file's content into `partial`, going on where that ends.

        Raises:
            FetchError: the hub does not answer, or the connection broke for good. `partial` stays.
        """
        self._ask(file.name, lambda: self._append(file, partial))

    def _append(self, file: RemoteFile, partial: Path) -> None:
        from huggingface_hub.file_download import http_get

        # A compressed answer could not be resumed.
        headers = {**self._client.utils.build_hf_headers(), "Accept-Encoding": "identity"}
        with _ReportingWriter(partial, self._progress) as writer:
            http_get(
                file.url,
                writer,
                resume_size=writer.tell(),
                headers=headers,
                expected_size=file.size_bytes,
            )

    def _ask(self, what: str, question: Callable[[], _Answer]) -> _Answer:
        """Ask until there is an answer or no hope of one."""
        for attempt in range(1, ATTEMPTS + 1):
            with self._explained(what):
                try:
                    return question()
                except self._errors as error:
                    wait_seconds = _wait_seconds(error, attempt)
                    offline = isinstance(error, self._client.errors.OfflineModeIsEnabled)
                    if wait_seconds is None or attempt == ATTEMPTS or offline:
                        raise
            self._progress.say(f"{self.endpoint} is busy: {what} again in {wait_seconds} s")
            time.sleep(wait_seconds)
        raise AssertionError("the last attempt answers or raises")

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise self._explain(what, error) from error

    def _explain(self, what: str, error: BaseException) -> FetchError:
        status = _status(error)
        again = "run it again: it goes on where it stopped"
        if status == 429:
            after = _retry_after(error)
            return FetchError(
                f"{self.endpoint} limits requests (429) and refuses {what} for now",
                hint=f"wait {after} s, then {again}" if after else f"wait a while, then {again}",
            )
        if status in (401, 403):
            return FetchError(
                f"{self.endpoint} does not give out {what} ({status})",
                hint="check the name; for a private or gated repository, accept its terms and "
                "`hf auth login`, or set HF_TOKEN",
            )
        if status == 404:
            return FetchError(
                f"{self.endpoint} has no {what} (404)",
                hint="check the name and revision; HF_ENDPOINT decides which hub is asked",
            )
        if status is not None:
            return FetchError(f"{self.endpoint} fails to serve {what} ({status})", hint=again)
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        return FetchError(
            f"fetching {what} from {self.endpoint} failed: {reason}",
            hint=f"check the network, or name a mirror in HF_ENDPOINT; then {again}",
        )


class _ReportingWriter(io.BufferedWriter):
    """Appends to a file and tells of each write."""

    def __init__(self, path: Path, progress: Progress) -> None:
        super().__init__(io.FileIO(path, "ab"))
        self.seek(0, io.SEEK_END)
        self._progress = progress

    def write(self, data: Any, /) -> int:
        count = super().write(data)
        self._progress.advance(count)
        return count


def has_digest(path: Path, digest: str, progress: Progress) -> bool:
    """Whether a file has the `digest` that a hub states for it."""
    computed = _hash_of_kind(digest)
    if computed is None:
        raise ValueError(f"{digest!r} is neither a sha256 nor a SHA-1")
    if computed.name == "sha1":
        computed.update(b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            computed.update(chunk)
            progress.advance(len(chunk))
    return bool(computed.hexdigest() == digest)


def _hash_of_kind(digest: str) -> Any:
    """An empty hash of the kind that `digest` is; None where it is none that we know."""
    if not all(character in "0123456789abcdef" for character in digest):
        return None
    if len(digest) == 64:
        return hashlib.sha256()
    return hashlib.sha1(usedforsecurity=False) if len(digest) == 40 else None


def _status(error: BaseException) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _retry_after(error: BaseException) -> int | None:
    headers = getattr(getattr(error, "response", None), "headers", {})
    value = str(headers.get("Retry-After", "")).strip()
    return int(value) if value.isdigit() else None


def _wait_seconds(error: BaseException, attempt: int) -> int | None:
    """How long to wait before asking again; None: asking again is of no use."""
    status = _status(error)
    if status is not None and status not in _PASSING_STATUSES:
        return None
    asked = _retry_after(error)
    wait_seconds = 2 ** (attempt - 1) if asked is None else max(asked, 1)
    return wait_seconds if wait_seconds <= LONGEST_WAIT_SECONDS else None
