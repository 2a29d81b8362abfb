"""VG8: will the paths be found elsewhere? Opt-in, for the published configs are full of these."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vacc_gen.schema.lint import fixes as edits
from vacc_gen.schema.lint.diagnostics import Severity
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.subject import Finding, Subject

_PATHS = (
    ("frontend", "checkpoint"),
    ("dataset", "path"),
    ("workspace", "path"),
)
_PLACEHOLDER = re.compile(r"(^|/)path/to(/|$)")
_AUTHORS = re.compile(r"^(/home/|/root/|/Users/|/data\d*/|/mnt/|/nfs/|[A-Za-z]:\\|~)")


def _paths(subject: Subject) -> Iterator[tuple[tuple[str, str], str]]:
    for steps in _PATHS:
        path = subject.get(*steps)
        if isinstance(path, str):
            yield steps, path


@rule("VG801", Severity.INFO, "placeholder path", default=False)
def placeholder(subject: Subject) -> Iterator[Finding]:
    """`/path/to` stands for a path that is still to be written.

    Bad:
        workspace:
          path: /path/to/output
    Good:
        workspace:
          path: ./output
        frontend:
          checkpoint: ./weights/falcon-7b-instruct
    """
    for steps, path in _paths(subject):
        if _PLACEHOLDER.search(path):
            yield Finding(subject.span(*steps), f"`{path}` is a placeholder")


@rule("VG802", Severity.INFO, "path of one machine", default=False)
def local_path(subject: Subject) -> Iterator[Finding]:
    """A home or a mount of one machine is not there on the next.

    Bad:
        workspace:
          path: /home/me/output
    Good:
        workspace:
          path: ./output
    """
    for steps, path in _paths(subject):
        if _AUTHORS.match(path):
            yield Finding(
                subject.span(*steps), f"`{path}` is on one machine", "write it relative to the file"
            )


@rule("VG803", Severity.INFO, "doubled slash", default=False, fix="safe")
def doubled_slash(subject: Subject) -> Iterator[Finding]:
    """`//` means the same as `/` and looks like a part that was left out.

    Bad:
        workspace:
          path: ./output//falcon
    Good:
        workspace:
          path: ./output/falcon
    """
    for steps, path in _paths(subject):
        if "//" in path and "://" not in path:
            span = subject.span(*steps)
            written = subject.document.text[span.start : span.end]
            fix = edits.replace(span, re.sub("/{2,}", "/", written))
            yield Finding(span, f"`{path}` has a doubled slash", None, fix)
