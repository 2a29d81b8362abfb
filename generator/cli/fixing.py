"""`validate --fix`: put right what can be put right, and check what came of it before writing."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from vacc_gen.generator.files import write_atomically
from vacc_gen.schema.lint.check import CheckResult
from vacc_gen.schema.lint.repair import repaired
from vacc_gen.schema.printable import on_one_line


def fix_all(result: CheckResult, *, unsafe: bool, only_show: bool) -> None:
    """Apply the fixes of a check to its files, each file at once or not at all."""
    by_path = {path: text for path, text in result.texts.items() if Path(path).is_file()}
    for path, text in by_path.items():
        fixes = [
            found.fix
            for found in result.diagnostics
            if found.path == path and found.fix is not None and (found.fix.safe or unsafe)
        ]
        changed = repaired(text, path, fixes)
        if changed is None:
            continue
        if only_show:
            _show(path, text, changed)
        else:
            write_atomically(Path(path), changed)
            typer.echo(f"fixed {on_one_line(path)}", err=True)


def _show(path: str, before: str, after: str) -> None:
    from difflib import unified_diff

    name = on_one_line(path)
    sys.stdout.writelines(
        line if line.endswith("\n") else line + "\n"
        for line in unified_diff(
            before.splitlines(keepends=True), after.splitlines(keepends=True), name, name
        )
    )
