"""What programs call; `vacc-gen validate` prints what this returns."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from vacc_gen import presets
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
    do not. `[tool.vacc-gen]` of pyproject.toml is the command's, and not read. Files with findings
    raise nothing, nor do those that cannot be read: they are in `unreadable` of the result.

    Raises:
        UsageError: no rule has such a code.
        UnreadableError: `-` is among the paths and the standard input is closed.
    """
    named = [paths] if isinstance(paths, str | os.PathLike) else paths
    selection = Selection(codes_in(select), codes_in(ignore))
    return check_paths(list(map(os.fspath, named)), presets.KNOWN, selection, with_checkpoints=True)
