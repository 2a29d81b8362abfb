"""Checks files for `validate`, fixes them, and prints what was found."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import typer
from pydantic import TypeAdapter, ValidationError

from vacc_gen.generator.files import unified_diff, write_atomically
from vacc_gen.generator.terminal import exact, has_style, print_data, print_error
from vacc_gen.presets import KNOWN
from vacc_gen.schema.errors import UnreadableError, UsageError, on_one_line
from vacc_gen.schema.lint import output, sources
from vacc_gen.schema.lint.check import (
    CheckResult,
    Selection,
    check_document,
    check_paths,
    check_text,
)
from vacc_gen.schema.lint.diagnostics import Diagnostic, has_errors
from vacc_gen.schema.lint.document import Document, load
from vacc_gen.schema.lint.files import RecipeFile
from vacc_gen.schema.lint.rule import codes_in
from vacc_gen.schema.lint.sources import STDIN

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_MOST_PASSES = 10


def check(paths: list[str], selection: Selection) -> CheckResult:
    return check_paths(paths, KNOWN, selection, with_checkpoints=True)


def fix_files(result: CheckResult, selection: Selection, unsafe: bool, only_show: bool) -> None:
    for path, document in result.documents.items():
        before = document.prefix + document.text
        found = [one for one in result.diagnostics if one.path == path]
        after = _fixed(document, found, selection, unsafe)
        if only_show:
            _show_changes(path, before, after)
        elif after != before:
            write_atomically(Path(os.path.realpath(path)), after)
            typer.echo(f"fixed {on_one_line(path)}", err=True)


def report(paths: list[str], result: CheckResult, form: str | None, strict: bool) -> int:
    """Print findings, unless `form` is None, and what could not be read; return the exit code.

    Raises:
        UsageError: there was nothing to check.
    """
    if form is not None:
        print(_rendered(result, form), end="", file=exact(sys.stdout), flush=True)
    for path, reason in result.unreadable:
        print_error(f"cannot read {on_one_line(path)}: {reason}")
    if result.unreadable:
        return 2
    if not result.checked:
        raise UsageError(
            f"no recipe, compile config or weight folder in {', '.join(map(on_one_line, paths))}",
            "name the files themselves to check them in any case",
        )
    if has_errors(result.diagnostics, strict):
        return 1
    if form == "text":
        _print_next(paths, result)
    return 0


def _print_next(paths: list[str], result: CheckResult) -> None:
    """Name the next command where what was checked is a workspace."""
    for file in result.files:
        if isinstance(file, RecipeFile) and [file.folder] == [Path(path) for path in paths]:
            from vacc_gen.generator.cli.new import next_steps

            typer.echo(f"\nnext: {next_steps(file.folder, file.recipe)[0]}")


def fix_stdin(selection: Selection, unsafe: bool, only_show: bool) -> list[Diagnostic]:
    """Write the fixed text to the standard output; print on the standard error what is left."""
    document = sources.read(STDIN)
    found = check_document(document, KNOWN, selection).diagnostics
    after = _fixed(document, found, selection, unsafe)
    if only_show:
        _show_changes(document.path, document.prefix + document.text, after)
    else:
        print_data(after)
    left = check_text(after, document.path, KNOWN, selection)
    print(output.as_text(left, {document.path: load(after)}, 0), end="", file=sys.stderr)
    return left


def _fixed(
    document: Document, found: Sequence[Diagnostic], selection: Selection, unsafe: bool
) -> str:
    """Return a text with its fixes; what comes to light behind them is fixed, too."""
    for _ in range(_MOST_PASSES):
        fixes = [one.fix for one in found if one.fix is not None and (one.fix.safe or unsafe)]
        if not fixes:
            break
        document = load(document.fixed(fixes), document.path)
        found = check_document(document, KNOWN, selection).diagnostics
    return document.prefix + document.text


def _show_changes(path: str, before: str, after: str) -> None:
    name = on_one_line(path)
    print_data(unified_diff(before, after, name, name))


def _rendered(result: CheckResult, form: str) -> str:
    if form == "json":
        return output.as_json(result.diagnostics, result.checked)
    if form == "github":
        return output.as_github(result.diagnostics)
    if form == "sarif":
        return output.as_sarif(result.diagnostics)
    colour = has_style(sys.stdout)
    return output.as_text(result.diagnostics, result.documents, result.checked, colour)


def selection_for(path: str, select: Sequence[str], ignore: Sequence[str]) -> Selection:
    """Return which rules run: as the command line and the nearest pyproject.toml say.

    `select` on the command line replaces the file's; `ignore` adds to the file's.

    Raises:
        UsageError: a code is unknown.
        UnreadableError: pyproject.toml cannot be read, or its table is not as it should be.
    """
    start = Path(os.path.abspath("." if path == STDIN else path))  # noqa: PTH100  # absolute() keeps `..`
    files = (folder / "pyproject.toml" for folder in (start, *start.parents))
    file = next(filter(os.path.isfile, files), None)  # Path.is_file raises in folders of others
    table = {} if file is None else _table(file)
    return Selection(
        codes_in(select) or table.get("select", ()), (*table.get("ignore", ()), *codes_in(ignore))
    )


def _table(file: Path) -> dict[str, tuple[str, ...]]:
    """Return `[tool.vacc-gen]` of a pyproject.toml."""
    where = on_one_line(str(file))
    form = TypeAdapter(dict[Literal["select", "ignore"], list[str]])
    try:
        tools = tomllib.loads(file.read_text("utf-8")).get("tool", {})
        table = form.validate_python(tools.get("vacc-gen", {}))
    except ValidationError as error:
        problem = f"[tool.vacc-gen] of {where} may hold only `select` and `ignore`, lists of codes"
        raise UnreadableError(problem) from error
    except (AttributeError, RecursionError, ValueError) as error:
        hint = "the nearest pyproject.toml says which rules run, in [tool.vacc-gen]"
        raise UnreadableError(f"{where} is not valid TOML: {error}", hint) from error
    return {key: codes_in(codes, f" (in {where})") for key, codes in table.items()}


def print_findings(diagnostics: Sequence[Diagnostic]) -> None:
    """Print findings on stderr."""
    if diagnostics:
        print(output.as_text(diagnostics, {}, 0, has_style(sys.stderr)), file=exact(sys.stderr))
