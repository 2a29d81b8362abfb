"""Checks files for `validate`, fixes them, and prints what was found."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

import typer

from vacc_gen.generator.cli.selection import selection_for
from vacc_gen.generator.files import write_atomically
from vacc_gen.presets import KNOWN
from vacc_gen.schema.errors import UsageError
from vacc_gen.schema.lint import output, sources
from vacc_gen.schema.lint.check import (
    CheckResult,
    Selection,
    check_document,
    check_paths,
    check_text,
)
from vacc_gen.schema.lint.diagnostics import Fix, has_errors
from vacc_gen.schema.lint.document import Document, load
from vacc_gen.schema.lint.fixes import fixed
from vacc_gen.schema.lint.sources import STDIN
from vacc_gen.schema.printable import on_one_line

_MOST_PASSES = 10


def check_and_report(
    paths: list[str],
    form: str,
    *,
    fix: bool,
    unsafe: bool,
    only_show: bool,
    select: Sequence[str] | None,
    ignore: Sequence[str] | None,
    strict: bool,
) -> int:
    """Check paths, fix what is asked for, print findings, and return the exit code.

    Raises:
        UsageError: the options contradict each other, or there was nothing to check.
        UnreadableError: the standard input or pyproject.toml cannot be read.
    """
    if (only_show or unsafe) and not fix:
        raise UsageError("--diff and --unsafe-fixes belong to --fix", "add --fix")
    if STDIN in paths and len(paths) > 1:
        raise UsageError("- (the standard input) is checked by itself", "drop the other paths")
    check = _Check(selection_for(paths, select, ignore), unsafe)
    if fix and paths == [STDIN]:
        return check.fix_stdin(strict, only_show=only_show)
    result = check.paths(paths)
    if fix:
        check.fix_files(result, only_show=only_show)
        result = result if only_show else check.paths(paths)
    if not only_show:
        _write(_rendered(result, form))
    return _exit_code(result, paths, strict)


@dataclass
class _Check:
    """A check with what the options chose; fixes repeat until nothing fixable is left."""

    selection: Selection
    unsafe: bool

    def paths(self, paths: list[str]) -> CheckResult:
        return check_paths(paths, KNOWN, self.selection)

    def fix_files(self, result: CheckResult, *, only_show: bool) -> None:
        """Fix each file that has a fix: at once, or not at all."""
        for path, document in result.documents.items():
            before = document.prefix + document.text
            fixes = [found.fix for found in result.diagnostics if found.path == path]
            after = self._fixed(document, fixes)
            if after == before:
                continue
            if only_show:
                _show_changes(path, before, after)
            else:
                write_atomically(Path(path), after)
                typer.echo(f"fixed {on_one_line(path)}", err=True)

    def fix_stdin(self, strict: bool, *, only_show: bool) -> int:
        """Write the fixed text to the standard output, what is left to the standard error."""
        document = sources.read(STDIN)
        found, _ = check_document(document, KNOWN, self.selection)
        after = self._fixed(document, [one.fix for one in found])
        if only_show:
            _show_changes("<stdin>", document.prefix + document.text, after)
        else:
            _write(after)
        left = check_text(after, "<stdin>", KNOWN, self.selection)
        if left:
            lines = {"<stdin>": load(after).lines}
            sys.stderr.write(output.as_text(left, lines, 1))
        return 1 if has_errors(left, strict) else 0

    def _fixed(self, document: Document, fixes: list[Fix | None]) -> str:
        """Return a text with its fixes; what comes to light behind them is fixed, too."""
        for _ in range(_MOST_PASSES):
            wanted = [fix for fix in fixes if fix is not None and (fix.safe or self.unsafe)]
            if not wanted:
                break
            document = load(fixed(document, wanted), document.path)
            fixes = [one.fix for one in check_document(document, KNOWN, self.selection)[0]]
        return document.prefix + document.text


def _show_changes(path: str, before: str, after: str) -> None:
    name = on_one_line(path)
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    for line in unified_diff(old, new, name, name):
        _write(line if line.endswith("\n") else line + "\n")


def _exit_code(result: CheckResult, paths: list[str], strict: bool) -> int:
    """Say what could not be read, and return the exit code.

    Raises:
        UsageError: there was nothing to check.
    """
    for path, reason in result.unreadable:
        typer.echo(f"error: cannot read {on_one_line(path)}: {reason}", err=True)
    if result.unreadable:
        return 2
    if not result.checked:
        raise UsageError(
            f"no recipe, compile config or weight folder in {', '.join(map(on_one_line, paths))}",
            "name the files themselves to check them in any case",
        )
    return 1 if has_errors(result.diagnostics, strict) else 0


def _rendered(result: CheckResult, form: str) -> str:
    if form == "text":
        colour = wants_colour()
        return output.as_text(result.diagnostics, result.lines, result.checked, colour)
    if form == "json":
        return output.as_json(result.diagnostics, result.checked)
    if form == "github":
        return output.as_github(result.diagnostics)
    from vacc_gen.schema.lint.output import as_sarif

    return as_sarif(result.diagnostics)


def wants_colour() -> bool:
    """Whether findings are written in colour: on a terminal, unless NO_COLOR is set."""
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    return on_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _write(text: str) -> None:
    """Write to the standard output, whatever its encoding can show; nowhere where it is closed."""
    if sys.stdout is None:
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace", newline="")
    sys.stdout.write(text)
    sys.stdout.flush()
