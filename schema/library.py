"""What programs call; `vacc-gen validate` prints what this returns."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from vacc_gen.presets import KNOWN
from vacc_gen.schema.lint.check import CheckResult, Selection, check_paths
from vacc_gen.schema.lint.rule import codes_in

AnyPath = str | os.PathLike[str]


def validate(
    paths: AnyPath | Iterable[AnyPath],
    *,
    select: str | Sequence[str] = (),
    ignore: str | Sequence[str] = (),
) -> CheckResult:
    """Check recipes, compile YAMLs, workspaces and weight folders, each and all of them together.

    `select` and `ignore` are codes of rules or their beginnings (`VG1`): which alone run, and which
    do not; pyproject.toml is not read. What cannot be read is in `unreadable` of the result.

    Raises:
        UsageError: no rule has such a code.
        UnreadableError: `-` is among the paths and the standard input is closed.
    """
    paths = [paths] if isinstance(paths, str | os.PathLike) else paths
    selection = Selection(codes_in(select), codes_in(ignore))
    return check_paths([os.fspath(path) for path in paths], KNOWN, selection, with_checkpoints=True)
