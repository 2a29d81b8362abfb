"""`vacc-gen validate`: find every mistake before a compile run starts."""

from __future__ import annotations

import io
import os
import sys
from dataclasses import dataclass
from difflib import unified_diff
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from vacc_gen.generator.cli.completion import complete_code
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


class Format(str, Enum):
    """How findings are written."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    SARIF = "sarif"


def _codes(help_text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        metavar="CODE", help=help_text, autocompletion=complete_code
    )
    return option


def validate(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH",
            help="Files, folders, or - for the standard input; the current folder by default.",
        ),
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", help="How findings are written.")
    ] = Format.TEXT,
    fix: Annotated[bool, typer.Option("--fix", help="Apply the safe fixes.")] = False,
    unsafe_fixes: Annotated[
        bool,
        typer.Option("--unsafe-fixes", help="With --fix: also those that change the output."),
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="With --fix: show the changes, write nothing.")
    ] = False,
    select: Annotated[
        list[str] | None, _codes("Run only these rules: codes or their beginnings (VG1), or ALL.")
    ] = None,
    ignore: Annotated[list[str] | None, _codes("Do not run these rules.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
) -> None:
    """Check recipes, compile YAMLs, workspaces and weight folders.

    Exits with 0 without errors, 1 with, 2 when something could not be read.

    Example: vacc-gen validate falcon-7b-instruct --fix
    """
    if (diff or unsafe_fixes) and not fix:
        raise UsageError("--diff and --unsafe-fixes belong to --fix", "add --fix")
    named = paths or ["."]
    if STDIN in named and len(named) > 1:
        raise UsageError("- (the standard input) is checked by itself", "drop the other paths")
    check = _Check(selection_for(named, select, ignore), unsafe_fixes)
    if fix and named == [STDIN]:
        raise typer.Exit(check.fix_stdin(strict, only_show=diff))
    result = check.paths(named)
    if fix:
        check.fix_files(result, only_show=diff)
        result = result if diff else check.paths(named)
    if not diff:
        _write(_rendered(result, form))
    raise typer.Exit(_exit_code(result, named, strict))


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


def _rendered(result: CheckResult, form: Format) -> str:
    if form is Format.TEXT:
        colour = wants_colour()
        return output.as_text(result.diagnostics, result.lines, result.checked, colour)
    if form is Format.JSON:
        return output.as_json(result.diagnostics, result.checked)
    if form is Format.GITHUB:
        return output.as_github(result.diagnostics)
    from vacc_gen.schema.lint.sarif import as_sarif

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
