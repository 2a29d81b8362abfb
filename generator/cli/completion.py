"""Names for the shell's completion. Loads as little as it can: it runs on every press of Tab."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

PRESETS = Path(__file__).parents[2] / "presets"
"""Not by `vacc_gen.presets`, which loads pydantic and YAML."""


def names_in(*folders: str) -> Callable[[str], list[str]]:
    """Return a completer of the names of the presets in `folders`, whatever the capitals."""

    def complete(incomplete: str) -> list[str]:
        key = incomplete.casefold()
        paths = (path for folder in folders for path in (PRESETS / folder).glob("*.yaml"))
        names = sorted((path.stem for path in paths), key=str.casefold)
        # What was typed stays: Typer drops what begins otherwise, and presets are found either way.
        return [incomplete + name[len(key) :] for name in names if name.casefold().startswith(key)]

    return complete


def complete_precision(incomplete: str) -> list[str]:
    """Return the precisions that begin so."""
    return [name for name in ("fp16", "int8", "int4", "kv8") if name.startswith(incomplete)]


def complete_calibration(incomplete: str) -> list[str]:
    """Return the calibration sets that begin so, with the colon that their path follows."""
    return [f"{name}:" for name in names_in("calibration")(incomplete)]


def complete_code(incomplete: str) -> list[str]:
    """Return the codes of the rules that begin so, in whatever capitals."""
    from vacc_gen.schema.lint.rule import all_rules

    size = len(incomplete)
    codes = [rule.code for rule in all_rules() if rule.code.startswith(incomplete.upper())]
    return [incomplete + code[size:] for code in codes]


complete_model = names_in("models")
complete_card = names_in("cards")
complete_environment = names_in("environments")
complete_encoder = names_in("encoders")
complete_preset = names_in("models", "encoders", "served", "cards", "calibration", "environments")
