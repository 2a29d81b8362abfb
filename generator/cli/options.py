"""Options that several verbs have, and names for the shell's completion.

Loads as little as it can: it runs on every press of Tab.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from vacc_gen.presets import SHELVES
from vacc_gen.schema.precision import Precision

WorkspaceFolder = Annotated[Path, Argument(metavar="DIR", help="The workspace.")]
CompiledFolder = Annotated[
    Path, Argument(metavar="DIR", help="A built workspace, or one deploy/<name> folder.")
]
Precisions = Annotated[
    list[Precision] | None,
    Option(help="May be given several times. [default: those of the preset or recipe]"),
]
OnePrecision = Annotated[
    Precision | None, Option(help="Which build of a workspace. [default: any]")
]
Check = Annotated[
    bool, Option("--check", help="Write nothing; exit 1 if something is not current.")
]
AsJson = Annotated[bool, Option("--json", help="Print JSON, for programs.")]
Threads = Annotated[
    int | None, Option(metavar="N", min=1, max=1024, help="[default: one for each processor core]")
]
Prefill = Annotated[
    int | None, Option(metavar="TOKENS", help="Prompt length in tokens, a multiple of 16.")
]
Total = Annotated[
    int | None, Option(metavar="TOKENS", help="Prompt plus answer in tokens, a multiple of 16.")
]


def preset_option(folder: str, help_text: str, metavar: str = "NAME", suffix: str = "") -> Any:
    return Option(metavar=metavar, help=help_text, autocompletion=names_in(folder, suffix=suffix))


def names_in(*folders: str, suffix: str = "") -> Callable[[str], list[str]]:
    """Return a completer of the names of the presets in `folders`, whatever the capitals."""

    def complete(incomplete: str) -> list[str]:
        key = incomplete.casefold()
        names = [name + suffix for folder in folders for name in SHELVES[folder].names()]
        # What was typed stays: Typer drops what begins otherwise, and presets are found either way.
        return [incomplete + name[len(key) :] for name in names if name.casefold().startswith(key)]

    return complete
