"""The help of `vacc-gen` itself, from the verbs' files: importing them takes four times as long."""

from __future__ import annotations

import ast
import shutil
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vacc_gen.generator.terminal import BOLD, styled

MODULES = {"explain": "validate", "schema": "validate"}
"""Where a verb is not in the module of this folder that has its name."""

VERBS = (
    "new",
    "validate",
    "explain",
    "generate",
    "fetch",
    "convert",
    "lock",
    "doctor",
    "export",
    "build",
    "run",
    "serve",
    "presets",
    "schema",
    "lsp",
)
"""Each is a function in its module, or a Typer app with a callback `_verb`."""

ABOUT = "Generate, validate and build compile configs for language models on VACC accelerators."
EPILOG = (
    "Exit codes: 0 fine; 1 findings or a failed stage; 2 wrong usage or an unreadable file; "
    "130 interrupted."
)
OPTIONS = {
    "--version": "Print the version.",
    "--install-completion [SHELL]": "Complete in bash, zsh or fish. [default: this shell]",
    "--show-completion SHELL": "Print the script that completes.",
    "-h, --help": "Show this message and exit.",
}


def root_help(stream: Any) -> str:
    """Return what `vacc-gen --help` prints on `stream`, laid out as the help of verbs is."""
    width = max(30, min(80, shutil.get_terminal_size().columns) - 2)
    return "\n".join(
        [
            "Usage: vacc-gen [OPTIONS] COMMAND [ARGS]...\n",
            textwrap.fill(ABOUT, width, initial_indent="  ", subsequent_indent="  "),
            *_table("Options", OPTIONS, width, stream),
            *_table("Commands", {verb: _summary(verb) for verb in VERBS}, width, stream),
            "",
            textwrap.fill(EPILOG, width, initial_indent="  ", subsequent_indent="  "),
        ]
    )


def _table(title: str, rows: Mapping[str, str], width: int, stream: Any) -> Iterator[str]:
    column = 4 + (max(map(len, rows)) if width > 60 else 9)
    yield f"\n{styled(title, BOLD, stream)}:"
    for name, text in rows.items():
        lines = textwrap.wrap(text, width - column)
        if len(name) > column - 4:  # stands on a line of its own
            lines.insert(0, "")
        for number, line in enumerate(lines):
            left = "" if number else name
            padding = " " * (column - 2 - len(left)) if line else ""
            yield f"  {styled(left, BOLD, stream)}{padding}{line}"


def _summary(verb: str) -> str:
    """Return the first line of a verb's docstring."""
    file = Path(__file__).with_name(f"{MODULES.get(verb, verb)}.py")
    for node in ast.parse(file.read_bytes()).body:
        if isinstance(node, ast.FunctionDef) and node.name.lstrip("_") == verb:
            return str(ast.get_docstring(node)).partition("\n")[0]
    raise LookupError(f"no function {verb} in {file}")
