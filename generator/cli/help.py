"""The verbs, and how help is laid out. Loads next to nothing: `vacc-gen --help` needs no more."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from vacc_gen.generator.terminal import BOLD, styled

VERBS = {
    "new": "Make a workspace for a model.",
    "validate": "Check recipes, compile YAMLs, workspaces and weight folders.",
    "explain": (
        "Explain a finding of `validate`, or what `convert` makes of the keys of `vamc build`."
    ),
    "generate": "Write a workspace again after a change of vacc.yaml.",
    "fetch": "Download the weights and the calibration set.",
    "convert": (
        "Write pickled weights as safetensors, or a config of the older `vamc build` as today's."
    ),
    "lock": "Resolve the pins of vacc.yaml again; needs uv.",
    "doctor": "Check this machine for a workspace.",
    "export": "Export a Falcon checkpoint to ONNX.",
    "build": "Export, quantize, compile and verify.",
    "run": "Continue a text with what `build` made; without a prompt, chat on the terminal.",
    "serve": "Serve what `build` made over HTTP, as OpenAI's API.",
    "presets": "Show known models, cards and data sets.",
    "schema": "Print a JSON Schema (draft 2020-12) for editors.",
    "lsp": "Run the language server for editors, on standard input and output.",
}
"""Each is a function, or a Typer app, in the module here that has its name or is in `MODULES`.

What its help says beyond this is the function's docstring.
"""

MODULES = {"explain": "validate", "schema": "validate", "lsp": "validate"}

ABOUT = """\
Generate, validate and build compile configs for language models on VACC accelerators.

Exit codes: 0 fine; 1 findings or a failed stage; 2 wrong usage or an unreadable file;
130 interrupted."""
OPTIONS = {
    "--version": "Print the version.",
    "--install-completion SHELL": "Complete in bash, zsh or fish.",
    "-h, --help": "Show this message and exit.",
}


def root_help(stream: Any) -> str:
    """Return what `vacc-gen --help` prints on `stream`."""
    tables = {"Options": OPTIONS, "Commands": VERBS}
    return help_text("vacc-gen [OPTIONS] COMMAND [ARGS]...", ABOUT, tables, stream)


def help_text(usage: str, about: str, tables: Mapping[str, Mapping[str, str]], stream: Any) -> str:
    """Return help that fits the terminal.

    `tables` are arguments, options and commands, names to texts, by the heading that they get.
    """
    width = max(30, min(80, shutil.get_terminal_size().columns) - 2)
    parts = [textwrap.fill(f"Usage: {usage}", width, subsequent_indent=" " * 7)]
    for paragraph in about.split("\n\n"):
        parts += [textwrap.indent(textwrap.fill(paragraph, width - 2), "  ")]
    for title, rows in tables.items():
        if rows:
            lines = [f"{styled(title, BOLD, stream)}:", *_lines(rows, width, stream)]
            parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _lines(rows: Mapping[str, str], width: int, stream: Any) -> Iterator[str]:
    column = min(30, max(map(len, rows))) if width > 60 else 9
    for name, text in rows.items():
        lines = textwrap.wrap(text, width - column - 4) or [""]
        if len(name) > column:  # stands on a line of its own
            lines.insert(0, "")
        padding = " " * (column - len(name))
        yield f"  {styled(name, BOLD, stream)}{padding}  {lines[0]}".rstrip()
        for line in lines[1:]:
            yield " " * (column + 4) + line
