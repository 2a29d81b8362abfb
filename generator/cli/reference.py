"""docs/cli.md, made of what the verbs say: `python -m vacc_gen.generator.cli.reference`."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Any, Literal, get_args, get_origin

import typer
from typer.models import ArgumentInfo, OptionInfo

HEAD = """\
# The command line

Made by `python -m vacc_gen.generator.cli.reference`; a test holds it to what the program says.

`vacc-gen --install-completion` sets up completion in the shell, names of models included.

| exit code | means |
| --- | --- |
| 0 | fine |
| 1 | findings, or a stage failed |
| 2 | wrong usage, or a file that cannot be read |
| 130 | interrupted; what was half done is cleaned up |
"""

Row = tuple[str, str]
"""An option or argument, and what is to say about it."""


def reference() -> str:
    """Return the page."""
    from vacc_gen.generator.cli.app import app

    return "\n".join([HEAD, *_sections(app, "vacc-gen")])


def _sections(app: typer.Typer, name: str) -> Iterator[str]:
    for command in app.registered_commands:
        verb = command.callback
        assert verb is not None
        title = f"{name} {command.name or verb.__name__}"
        if title == "vacc-gen validate":
            yield _validate(title)
        else:
            yield _section(title, inspect.getdoc(verb) or "", _rows(verb))
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from _sections(group.typer_instance, f"{name} {group.name}")


def _section(title: str, text: str, rows: Iterable[Row]) -> str:
    parts = [f"## {title}\n"]
    for paragraph in text.split("\n\n"):
        line = " ".join(paragraph.split())
        example = line.removeprefix("Example: ")
        parts.append(f"{line}\n" if example == line else f"```sh\n{example}\n```\n")
    table = [f"| `{name}` | {about} |".replace("<or>", "\\|") for name, about in rows]
    if table:
        parts.append("\n".join(["| | |", "| --- | --- |", *table]) + "\n")
    return "\n".join(parts)


def _rows(verb: Callable[..., Any]) -> Iterator[Row]:
    """Yield the parameters of a verb that is Typer's."""
    for name, parameter in inspect.signature(verb, eval_str=True).parameters.items():
        kind, info = get_args(parameter.annotation)
        value = info.metavar or "<or>".join(_choices(kind)) or name.upper()
        if isinstance(info, ArgumentInfo):
            shown = value
        else:
            assert isinstance(info, OptionInfo)
            # In `Annotated`, Typer takes an option's name for its default at first.
            named = [info.default] if isinstance(info.default, str) else info.param_decls or []
            option = next(iter(named), f"--{name.replace('_', '-')}")
            shown = option if kind is bool else f"{option} {value}"
        required = parameter.default is inspect.Parameter.empty
        yield shown, _about(info.help or "", parameter.default, required)


def _choices(kind: Any) -> list[str]:
    """Return the words that a type consists of, or nothing."""
    if get_origin(kind) is Literal:
        return [str(word) for word in get_args(kind)]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [str(member.value) for member in kind]
    return [word for part in get_args(kind) for word in _choices(part)]


def _validate(title: str) -> str:
    """Return the section of the one verb that argparse reads."""
    from vacc_gen.generator.cli.validate import parser

    made = parser()
    rows = []
    for action in made._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        value = "<or>".join(action.choices) if action.choices else action.metavar or ""
        shown = f"{' '.join(action.option_strings)} {value}".strip()
        default = action.default if action.choices else None
        rows.append((shown, _about(action.help or "", default, False)))
    text = f"{made.description}\n\n{made.epilog}".replace(" Example:", "\n\nExample:")
    return _section(title, text, rows)


def _about(said: str, default: object, required: bool) -> str:
    notes = [said] if said else []
    if required:
        notes.append("[required]")
    elif default not in (None, False) and "[default:" not in said:
        notes.append(f"[default: {default}]")
    return " ".join(notes)


if __name__ == "__main__":
    print(reference(), end="")
