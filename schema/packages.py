"""Requirements in pip's notation as sets of versions: the part of PEP 440 and 508 that pins use.

`packaging` parses the same notation; what it cannot say is whether two requirements leave any
version at all, and that is what tells offline that pins cannot be installed together.

Ordering and matching are PEP 440's, except that a developmental release of a pre- or post-release
(`2.0.post1.dev3`) counts as any other version beside an exclusive bound.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

_VERSION = re.compile(
    r"""v?(?:(?P<epoch>\d+)!)?(?P<release>\d+(?:\.\d+)*)
        (?:[-_.]?(?P<pre>alpha|a|beta|b|preview|pre|c|rc)[-_.]?(?P<pre_number>\d*))?
        (?:-(?P<post_short>\d+)|[-_.]?(?P<post>post|rev|r)[-_.]?(?P<post_number>\d*))?
        (?:[-_.]?(?P<dev>dev)[-_.]?(?P<dev_number>\d*))?
        (?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_PRE_ORDER = {"alpha": 0, "a": 0, "beta": 1, "b": 1, "c": 2, "rc": 2, "pre": 2, "preview": 2}
_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*"
    r"(?:\[(?P<extras>[A-Za-z0-9,._\s-]*)\])?\s*(?P<specifiers>[<>=!~].*)?",
    re.ASCII,
)
_SPECIFIER = re.compile(r"\s*(===|==|!=|<=|>=|~=|<|>)\s*([^\s,]+)\s*", re.ASCII)

_BEFORE_PRE, _FINAL = -1, 3
"""Where a version without pre-release stands: a lone `dev` before `a`, a final after `rc`."""
_NO_POST = -1

Key = tuple[Any, ...]
"""(epoch, release, pre, post, dev, local); the shorter () and (inf,) lie below and above all."""
_LOWEST: Key = ()
_HIGHEST: Key = (math.inf,)


@dataclass(frozen=True, order=True)
class Version:
    """One version; compares as PEP 440 orders, and equals `1.0` where it is `1.0.0`."""

    key: Key
    text: str = field(compare=False)

    def __str__(self) -> str:
        return self.text

    def __hash__(self) -> int:
        return hash(self.key)


def parse_version(text: str) -> Version:
    """Read a version.

    Raises:
        ValueError: it is none of PEP 440.
    """
    return Version(_parts(text).key(), text.strip())


class _Parts(NamedTuple):
    epoch: int
    release: tuple[int, ...]
    pre: tuple[int, int] | None
    post: int | None
    dev: int | None
    local: str | None

    def key(self) -> Key:
        if self.pre is not None:
            pre: tuple[int, ...] = self.pre
        else:
            lone_dev = self.dev is not None and self.post is None
            pre = (_BEFORE_PRE,) if lone_dev else (_FINAL,)
        post = _NO_POST if self.post is None else self.post
        dev = (1, 0) if self.dev is None else (0, self.dev)
        return (self.epoch, _trimmed(self.release), pre, post, dev, _local_key(self.local))

    def first(self) -> Key:
        """The lowest version of this release: its `dev0`."""
        return self._replace(pre=None, post=None, dev=0, local=None).key()

    def final(self) -> _Parts:
        return self._replace(pre=None, post=None, dev=None, local=None)

    def after_locals(self) -> Key:
        """Above the version and all its local variants, such as `+cpu`."""
        return (*self._replace(local=None).key()[:-1], ((2,),))

    def after_posts(self) -> Key:
        """Above the release and all its post-releases."""
        return (self.epoch, _trimmed(self.release), (_FINAL,), math.inf)


def _parts(text: str) -> _Parts:
    match = _VERSION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text.strip()!r} is not a version")
    pre = match["pre"]
    post = match["post_short"] or (match["post_number"] or "0" if match["post"] else None)
    return _Parts(
        epoch=int(match["epoch"] or 0),
        release=tuple(int(number) for number in match["release"].split(".")),
        pre=(_PRE_ORDER[pre.lower()], int(match["pre_number"] or 0)) if pre else None,
        post=None if post is None else int(post),
        dev=int(match["dev_number"] or 0) if match["dev"] else None,
        local=match["local"],
    )


def _trimmed(release: tuple[int, ...]) -> tuple[int, ...]:
    length = len(release)
    while length > 1 and release[length - 1] == 0:
        length -= 1
    return release[:length]


def _local_key(local: str | None) -> Key:
    if local is None:
        return ()
    words = re.split(r"[-_.]", local.lower())
    return tuple((1, int(word)) if word.isdigit() else (0, word) for word in words)


class _Interval(NamedTuple):
    """Keys from `low` up to and without `high`."""

    low: Key
    high: Key


@dataclass(frozen=True)
class VersionSet:
    """A set of versions: disjoint intervals in rising order."""

    intervals: tuple[_Interval, ...]

    def __contains__(self, version: Version) -> bool:
        return any(low <= version.key < high for low, high in self.intervals)

    def __and__(self, other: VersionSet) -> VersionSet:
        return VersionSet(
            tuple(
                _Interval(max(a.low, b.low), min(a.high, b.high))
                for a in self.intervals
                for b in other.intervals
                if max(a.low, b.low) < min(a.high, b.high)
            )
        )

    def __or__(self, other: VersionSet) -> VersionSet:
        return (self.complement() & other.complement()).complement()

    def __le__(self, other: VersionSet) -> bool:
        """Whether every version of this set is in `other`."""
        return not self & other.complement()

    def __bool__(self) -> bool:
        return bool(self.intervals)

    def complement(self) -> VersionSet:
        """Return all other versions."""
        edges = [_LOWEST, *(edge for interval in self.intervals for edge in interval), _HIGHEST]
        pairs = zip(edges[::2], edges[1::2], strict=True)
        return VersionSet(tuple(_Interval(low, high) for low, high in pairs if low < high))


ANY_VERSION = VersionSet((_Interval(_LOWEST, _HIGHEST),))
NO_VERSION = VersionSet(())


def parse_specifiers(text: str) -> VersionSet:
    """Read a list such as `>=4.31.0,<4.52`; nothing means any version.

    Raises:
        ValueError: it is no such list, or uses `===`.
    """
    versions = ANY_VERSION
    for clause in text.split(",") if text.strip() else ():
        match = _SPECIFIER.fullmatch(clause)
        if match is None:
            raise ValueError(f"{clause.strip()!r} is not a version bound such as `>=1.2`")
        versions &= _versions_of(match[1], match[2])
    return versions


def _versions_of(operator: str, text: str) -> VersionSet:
    if operator == "===":
        raise ValueError("`===` compares text, not versions; use `==`")
    if operator == "!=":
        return _versions_of("==", text).complement()
    if text.endswith(".*"):
        if operator != "==":
            raise ValueError(f"`{operator}` takes no `.*`")
        return _prefix(_parts(text[:-2]), text)
    parts = _parts(text)
    if operator == "==":
        key = parts.key()
        # The lowest key above a local version is the version with one more word.
        high = parts.after_locals() if parts.local is None else (*key[:-1], (*key[-1], (-1,)))
        return VersionSet((_Interval(key, high),))
    if parts.local is not None:
        raise ValueError(f"`{operator}` takes no local version such as `{text}`")
    if operator == "~=":
        if len(parts.release) < 2:
            raise ValueError("`~=` needs two numbers at least, such as `~=1.4`")
        return _versions_of(">=", text) & _prefix(parts.final(), text, drop=1)
    if operator == "<=":
        return VersionSet((_Interval(_LOWEST, parts.after_locals()),))
    if operator == ">=":
        return VersionSet((_Interval(parts.key(), _HIGHEST),))
    return _below(parts) if operator == "<" else _above(parts)


def _prefix(parts: _Parts, text: str, drop: int = 0) -> VersionSet:
    if parts.final() != parts:
        raise ValueError(f"`.*` follows a plain release, not `{text}`")
    release = parts.release[: len(parts.release) - drop]
    following = (*release[:-1], release[-1] + 1)
    return VersionSet(
        (
            _Interval(
                parts._replace(release=release).first(), parts._replace(release=following).first()
            ),
        )
    )


def _below(parts: _Parts) -> VersionSet:
    """`<2` leaves out 2rc1, too; `<2rc1` and `<2.post1` do not leave out what lies below."""
    if parts.pre is not None or parts.dev is not None:
        return VersionSet((_Interval(_LOWEST, parts.key()),))
    below_release = _Interval(_LOWEST, parts.first())
    if parts.post is None:
        return VersionSet((below_release,))
    return VersionSet((below_release, _Interval(parts.final().key(), parts.key())))


def _above(parts: _Parts) -> VersionSet:
    """`>2` leaves out 2.post1 and 2+cpu, too."""
    low = parts.after_posts() if parts == parts.final() else parts.after_locals()
    return VersionSet((_Interval(low, _HIGHEST),))


@dataclass(frozen=True)
class Pin:
    """One requirement: a package and the versions that it may have."""

    text: str
    name: str
    """Normalized as PEP 503 says: lower case, words joined by `-`."""
    extras: tuple[str, ...]
    specifiers: str

    @cached_property
    def versions(self) -> VersionSet:
        """The versions that the requirement allows."""
        return parse_specifiers(self.specifiers)

    def __str__(self) -> str:
        return self.text


def parse_pin(text: str) -> Pin:
    """Read a requirement such as `torch==2.1.0` or `vllm[audio]>=0.11,<0.12`.

    Raises:
        ValueError: it is none; or it has a marker or a URL, which no set of pins needs: one is
            for one Python, and a lock names packages by hash.
    """
    stripped = text.strip()
    if ";" in stripped:
        raise ValueError("a requirement with a marker (`;`): pins are for one Python, leave it out")
    if "@" in stripped:
        raise ValueError("a requirement with a URL (`@`): pin a version instead")
    match = _REQUIREMENT.fullmatch(stripped)
    if match is None:
        raise ValueError(f"{stripped!r} is not a requirement such as `torch==2.1.0`")
    extras = (match["extras"] or "").split(",")
    pin = Pin(
        text=stripped,
        name=normalized_name(match["name"]),
        extras=tuple(normalized_name(extra) for extra in extras if extra.strip()),
        specifiers=(match["specifiers"] or "").strip(),
    )
    parse_specifiers(pin.specifiers)
    return pin


def normalized_name(name: str) -> str:
    """Return a package's name as an index compares it."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def versions_by_name(pins: Iterable[Pin]) -> dict[str, VersionSet]:
    """Return what all pins of a package together allow, by package."""
    allowed: dict[str, VersionSet] = {}
    for pin in pins:
        allowed[pin.name] = allowed.get(pin.name, ANY_VERSION) & pin.versions
    return allowed
