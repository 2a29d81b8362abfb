"""Which rules `validate` runs: the words of the command line and of the nearest pyproject.toml."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from vacc_gen.schema.errors import UnreadableError, UsageError
from vacc_gen.schema.lint.check import Selection
from vacc_gen.schema.lint.document import MAX_BYTES
from vacc_gen.schema.lint.sources import STDIN
from vacc_gen.schema.lint.suggestions import nearest
from vacc_gen.schema.printable import on_one_line

_KEYS = ("select", "ignore")
_ENDLESS_KEY = re.compile(rb"^[\s\[]*(?:[\w\"'-]{1,99}\s?\.\s?){64}", re.MULTILINE)
"""Readers of TOML take a time that grows with the square of a dotted key's parts."""
_PURPOSE = "the nearest pyproject.toml says which rules run, in [tool.vacc-gen]"


def selection_for(
    paths: Sequence[str], select: Sequence[str] | None, ignore: Sequence[str] | None
) -> Selection:
    """Return which rules run.

    `select` on the command line replaces the file's; `ignore` adds to the file's.

    Raises:
        UsageError: a code is unknown, or the table in pyproject.toml is not as it should be.
        UnreadableError: pyproject.toml cannot be read.
    """
    table, where = _table(next((path for path in paths if path != STDIN), "."))
    chosen = Selection(
        tuple(_codes(select or ()) or table.get("select", ())),
        (*table.get("ignore", ()), *_codes(ignore or ())),
    )
    _refuse_unknown(chosen, where)
    return chosen


def _codes(options: Sequence[str]) -> list[str]:
    """Return codes that were given one by one or with commas."""
    return [
        code.strip().upper() for option in options for code in option.split(",") if code.strip()
    ]


def _refuse_unknown(selection: Selection, where: str | None) -> None:
    named = {*selection.select, *selection.ignore} - {"ALL"}
    if not named:
        return
    from vacc_gen.schema.lint.rule import all_rules

    codes = [rule.code for rule in all_rules()]
    for name in sorted(named):
        if not any(code.startswith(name) for code in codes):
            near = nearest(name, codes)
            source = f" (from the command line or {where})" if where else ""
            raise UsageError(
                f"no rule is called {name}{source}", f"did you mean {near}?" if near else None
            )


def _table(path: str) -> tuple[dict[str, list[str]], str | None]:
    """Return `[tool.vacc-gen]` of the nearest pyproject.toml at or above a path, and its file."""
    start = Path(os.path.abspath(path))  # noqa: PTH100  # Path.absolute keeps `..`
    for folder in (start, *start.parents):
        file = folder / "pyproject.toml"
        if not os.path.isfile(file):  # noqa: PTH113  # Path.is_file raises in folders of others
            continue
        where = on_one_line(str(file))
        try:
            with file.open("rb") as opened:
                text = opened.read(MAX_BYTES + 1)
        except OSError as error:
            raise UnreadableError(f"cannot read {where}: {error.strerror}") from error
        if len(text) > MAX_BYTES:
            raise UnreadableError(f"{where} is larger than {MAX_BYTES} bytes")
        if text:
            return _checked(_parsed(text, where), where), str(file)
    return {}, None


def _parsed(text: bytes, where: str) -> object:
    """Return the table of a pyproject.toml, whose text may be about other tools alone."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    if _ENDLESS_KEY.search(text):
        raise UnreadableError(f"{where} has a key of more than 64 parts", _PURPOSE)
    try:
        tools = tomllib.loads(text.decode("utf-8")).get("tool", {})
    except UnicodeDecodeError as error:
        reason = f"cannot read {where}: byte {error.start + 1} is not UTF-8"
        raise UnreadableError(reason, _PURPOSE) from error
    except tomllib.TOMLDecodeError as error:
        raise UnreadableError(f"{where} is not valid TOML: {error}", _PURPOSE) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits
        reason = f"{where} is not valid TOML: a value is beyond all bounds"
        raise UnreadableError(reason, _PURPOSE) from error
    return tools.get("vacc-gen", {}) if isinstance(tools, dict) else {}


def _checked(table: object, where: str) -> dict[str, list[str]]:
    if not isinstance(table, dict):
        raise UsageError(f"`vacc-gen` in [tool] of {where} is not a table")
    for key, value in table.items():
        if key not in _KEYS:
            near = nearest(key, _KEYS)
            hint = f"did you mean `{near}`?" if near else f"known: {', '.join(_KEYS)}"
            raise UsageError(f"unknown key `{key}` in [tool.vacc-gen] of {where}", hint)
        if not isinstance(value, list) or not all(isinstance(code, str) for code in value):
            raise UsageError(f"`{key}` in [tool.vacc-gen] of {where} is not a list of codes")
    return {key: _codes(value) for key, value in table.items()}
