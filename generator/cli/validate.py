"""`vacc-gen validate`: find every mistake before a compile run starts.

Parsed by argparse, not by Typer: see `main`.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence

from vacc_gen.schema.errors import UsageError
from vacc_gen.schema.lint.check import CheckResult, check_paths
from vacc_gen.schema.lint.diagnostics import has_errors
from vacc_gen.schema.printable import on_one_line

FORMATS = ("text", "json", "github", "sarif")


def parser() -> argparse.ArgumentParser:
    """Return the verb's options."""
    made = argparse.ArgumentParser(
        prog="vacc-gen validate",
        description="Check recipes, compile YAMLs, workspaces and weight folders.",
        epilog="Exits with 0 without errors, 1 with, 2 when something could not be read. "
        "Example: vacc-gen validate falcon-7b-instruct --fix",
        allow_abbrev=False,
    )
    made.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="files, folders, or - for the standard input; the current folder by default",
    )
    made.add_argument("--format", choices=FORMATS, default="text", help="how findings are written")
    made.add_argument("--fix", action="store_true", help="put right what can be put right safely")
    made.add_argument(
        "--unsafe-fixes", action="store_true", help="with --fix: also what changes the output"
    )
    made.add_argument(
        "--diff", action="store_true", help="with --fix: show the changes, write nothing"
    )
    made.add_argument(
        "--select",
        action="append",
        default=[],
        metavar="CODE",
        help="run only these rules: codes or beginnings (VG1), or ALL",
    )
    made.add_argument(
        "--extend-select",
        action="append",
        default=[],
        metavar="CODE",
        help="run these rules too, such as VG8",
    )
    made.add_argument(
        "--ignore", action="append", default=[], metavar="CODE", help="do not run these rules"
    )
    made.add_argument("--strict", action="store_true", help="warnings count as errors")
    return made


def run(arguments: Sequence[str]) -> int:
    """Check what the arguments name, write what was found, and return the exit code.

    Raises:
        UsageError: the options contradict each other, or there was nothing to check.
    """
    options = parser().parse_args(arguments)
    if (options.diff or options.unsafe_fixes) and not options.fix:
        raise UsageError("--diff and --unsafe-fixes belong to --fix", "add --fix")
    from vacc_gen.generator.cli.checking import PresetModels, selection_for

    paths = options.paths or ["."]
    selection = selection_for(paths, options.select, options.extend_select, options.ignore)
    known = PresetModels()
    result = check_paths(paths, known, selection)
    if options.fix:
        from vacc_gen.generator.cli.fixing import fix_all

        fix_all(result, unsafe=options.unsafe_fixes, only_show=options.diff)
        if not options.diff:
            result = check_paths(paths, known, selection)
    if not options.diff:
        _write(_rendered(result, options.format))
    for path, reason in result.unreadable:
        print(f"error: cannot read {on_one_line(path)}: {reason}", file=sys.stderr)
    if result.unreadable:
        return 2
    if not result.checked:
        raise UsageError(
            f"no recipe, compile config or weight folder in {', '.join(map(on_one_line, paths))}",
            "name the files themselves to check them in any case",
        )
    return 1 if has_errors(result.diagnostics, options.strict) else 0


def _rendered(result: CheckResult, form: str) -> str:
    from vacc_gen.schema.lint import output as render

    if form == "text":
        from vacc_gen.generator.cli.checking import wants_colour

        return render.as_text(result.diagnostics, result.lines, result.checked, wants_colour())
    if form == "json":
        return render.as_json(result.diagnostics, result.checked)
    if form == "github":
        return render.as_github(result.diagnostics)
    from vacc_gen.schema.lint.sarif import as_sarif

    return as_sarif(result.diagnostics)


def _write(text: str) -> None:
    """Write to the standard output, whatever its encoding can show; nowhere where it is closed."""
    if sys.stdout is None:
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stdout.write(text)
    sys.stdout.flush()
