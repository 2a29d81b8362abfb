"""What `validate` knows beyond the files: presets, and the options in pyproject.toml."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vacc_gen.schema.errors import UnreadableError, UsageError
from vacc_gen.schema.lint.check import Selection
from vacc_gen.schema.lint.document import MAX_BYTES
from vacc_gen.schema.lint.sources import STDIN, parents
from vacc_gen.schema.printable import on_one_line

if TYPE_CHECKING:
    from vacc_gen.schema.compatibility import PinFacts


class PresetModels:
    """What presets/ knows of models and cards, read without building their typed presets.

    Typed presets need pydantic, which would cost `validate` more than all the rest of its work.
    """

    def geometry(self, model: str) -> Mapping[str, Any] | None:
        """Return a model's sizes by its preset's name, in any mix of capitals."""
        values = self._values("models", model)
        sizes: Mapping[str, Any] | None = values.get("geometry")
        return None if values.get("any_size") else sizes

    def is_verified(self, model: str) -> bool:
        """Whether the sizes of the model called `model` are sure."""
        source: Mapping[str, Any] = self._values("models", model).get("geometry_source", {})
        return source.get("verified") is True

    def names(self, shelf: str) -> Sequence[str]:
        """Return the names of all presets of a kind: models or cards."""
        return [file.stem for file in self._files(shelf)]

    def vendor_files(self, model: str) -> Sequence[str]:
        """Return the files beside the weights of a preset's model that the vendor publishes."""
        sources: Sequence[Mapping[str, Any]] = self._values("models", model).get("sources", ())
        return [source["name"] for source in sources if not source["generated"]]

    def die_memory_bytes(self, card: str) -> int | None:
        """Return the memory of one die of a card, or None."""
        memory_bytes: int | None = self._values("cards", card).get("die_memory_bytes")
        return memory_bytes

    def pin_facts(self) -> PinFacts:
        """Return what is known of packages beside each other, and of their wheels."""
        from vacc_gen.schema.compatibility import PinFacts
        from vacc_gen.schema.lint.document import load

        folder = self._folder()
        if folder is None:
            return PinFacts()
        file = folder / "pins.yaml"
        return PinFacts.from_values(load(file.read_bytes(), str(file)).values)

    def environment_pins(self, preset: str) -> Sequence[str]:
        """Return the requirements of an environment preset; none where there is no such preset."""
        asked: Sequence[str] = self._values("environments", preset).get("asked", ())
        return asked

    @cache  # noqa: B019  # one exists, for as long as the program
    def _files(self, shelf: str) -> list[Path]:
        folder = self._folder()
        return sorted((folder / shelf).glob("*.yaml")) if folder else []

    def _folder(self) -> Path | None:
        from importlib.util import find_spec

        room = find_spec("vacc_gen.presets")
        folders = room.submodule_search_locations if room else None
        return Path(folders[0]) if folders else None

    @cache  # noqa: B019  # as above
    def _values(self, shelf: str, name: str) -> Mapping[str, Any]:
        from vacc_gen.schema.lint.document import load

        for file in self._files(shelf):
            if file.stem.casefold() == name.casefold():
                values: Mapping[str, Any] = load(file.read_bytes(), str(file)).values
                return values
        return {}


def wants_colour() -> bool:
    """Whether findings are written in colour: on a terminal, unless NO_COLOR is set."""
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    return on_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def selection_for(
    paths: Sequence[str], select: Sequence[str], extend: Sequence[str], ignore: Sequence[str]
) -> Selection:
    """Return which rules run: the command line's words, and those of the nearest pyproject.toml.

    `select` on the command line replaces the file's; `extend` and `ignore` add to the file's.

    Raises:
        UsageError: a code is unknown, or the table in pyproject.toml is not as it should be.
    """
    table, where = _table(next((path for path in paths if path != STDIN), "."))
    chosen = Selection(
        tuple(_codes(select) or table.get("select", ())),
        (*table.get("extend-select", ()), *_codes(extend)),
        (*table.get("ignore", ()), *_codes(ignore)),
    )
    _refuse_unknown(chosen, where)
    return chosen


def _codes(options: Sequence[str]) -> list[str]:
    """Return codes that were given one by one or with commas."""
    return [
        code.strip().upper() for option in options for code in option.split(",") if code.strip()
    ]


def _refuse_unknown(selection: Selection, where: str | None) -> None:
    named = {*selection.select, *selection.extend, *selection.ignore} - {"ALL"}
    if not named:
        return
    from vacc_gen.schema.lint.rule import all_rules
    from vacc_gen.schema.lint.suggestions import nearest

    codes = [rule.code for rule in all_rules()]
    for name in sorted(named):
        if not any(code.startswith(name) for code in codes):
            near = nearest(name, codes)
            source = f" (from the command line or {where})" if where else ""
            raise UsageError(
                f"no rule is called {name}{source}", f"did you mean {near}?" if near else None
            )


_KEYS = ("select", "extend-select", "ignore")
_ENDLESS_KEY = re.compile(rb"^[\s\[]*(?:[\w\"'-]{1,99}\s?\.\s?){64}", re.MULTILINE)
"""Readers of TOML take a time that grows with the square of a dotted key's parts."""
_OF_PYPROJECT = "the nearest pyproject.toml says which rules run, in [tool.vacc-gen]"


def _table(path: str) -> tuple[dict[str, list[str]], str | None]:
    """Return `[tool.vacc-gen]` of the nearest pyproject.toml at or above a path, and its file."""
    for folder in parents(path):
        file = Path(folder) / "pyproject.toml"
        if not os.path.isfile(file):  # noqa: PTH113  # Path.is_file raises in folders of others
            continue
        try:
            with file.open("rb") as opened:
                text = opened.read(MAX_BYTES + 1)
        except OSError as error:
            raise UnreadableError(
                f"cannot read {on_one_line(str(file))}: {error.strerror}"
            ) from error
        if len(text) > MAX_BYTES:
            raise UnreadableError(f"{on_one_line(str(file))} is larger than {MAX_BYTES} bytes")
        if text:
            return _parsed(text, on_one_line(str(file))), str(file)
    return {}, None


def _parsed(text: bytes, where: str) -> dict[str, list[str]]:
    """Return the checked table of a pyproject.toml, whose text may be about other tools alone."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    if _ENDLESS_KEY.search(text):
        raise UnreadableError(f"{where} has a key of more than 64 parts", _OF_PYPROJECT)
    try:
        tools = tomllib.loads(text.decode("utf-8")).get("tool", {})
    except UnicodeDecodeError as error:
        raise UnreadableError(
            f"cannot read {where}: byte {error.start + 1} is not UTF-8", _OF_PYPROJECT
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise UnreadableError(f"{where} is not valid TOML: {error}", _OF_PYPROJECT) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits
        reason = "a value is beyond all bounds"
        raise UnreadableError(f"{where} is not valid TOML: {reason}", _OF_PYPROJECT) from error
    table = tools.get("vacc-gen", {}) if isinstance(tools, dict) else {}
    if not isinstance(table, dict):
        raise UsageError(f"`vacc-gen` in [tool] of {where} is not a table")
    for key, value in table.items():
        if key not in _KEYS:
            from vacc_gen.schema.lint.suggestions import nearest

            near = nearest(key, _KEYS)
            hint = f"did you mean `{near}`?" if near else f"known: {', '.join(_KEYS)}"
            raise UsageError(f"unknown key `{key}` in [tool.vacc-gen] of {where}", hint)
        if not isinstance(value, list) or not all(isinstance(code, str) for code in value):
            raise UsageError(f"`{key}` in [tool.vacc-gen] of {where} is not a list of codes")
    return {key: _codes(value) for key, value in table.items()}
