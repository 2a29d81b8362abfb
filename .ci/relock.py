"""Resolve the locks in presets/environments again: `.ci/relock.py [NAME...]`, all by default.

A version that still fits stays, so that only what must change does; `--upgrade` takes the newest.
What a preset says in `tested` is of the lock as it was: try a changed one before it ships.
"""

from __future__ import annotations

import sys
from pathlib import Path

from vacc_gen import presets
from vacc_gen.generator.files import write_atomically
from vacc_gen.generator.lock import requirements_of, resolve, version_changes
from vacc_gen.schema.recipe import Environment

FOLDER = Path(presets.__path__[0]) / "environments"


def main(arguments: list[str]) -> None:
    """Resolve the locks of the named presets, or of all."""
    names = [name for name in arguments if not name.startswith("--")]
    for preset in presets.ENVIRONMENTS.all():
        if preset.resolver is None or (names and preset.name not in names):
            continue
        environment = Environment.model_validate(
            {"preset": preset.name, "python": preset.python, "platform": preset.platform}
        )
        path = FOLDER / f"{preset.name}.txt"
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        previous = "" if "--upgrade" in arguments else old
        made = resolve(requirements_of(environment), preset.name, previous=previous)
        write_atomically(path, made.text)
        print(f"{preset.name}: {len(list(version_changes(old, made.text)))} changes")


if __name__ == "__main__":
    main(sys.argv[1:])
