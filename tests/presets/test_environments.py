"""Every published set of pins: its lock is complete and an answer to it, or there is a reason."""

from __future__ import annotations

from pathlib import Path

from vacc_gen import presets
from vacc_gen.generator.lock import missing_lock_reason, preset_lock, requirements_of
from vacc_gen.schema.recipe import Environment

FOLDER = Path(presets.__path__[0]) / "environments"
SIZE_BUDGET_BYTES = 1_000_000


def environment(name: str) -> Environment:
    preset = presets.ENVIRONMENTS.find(name)
    return Environment(preset=name, python=preset.python, platform=preset.platform)


def test_a_lock_answers_its_pins_or_a_reason_says_why_there_is_none():
    for name in presets.ENVIRONMENTS.names():
        lock, wanted = preset_lock(name), requirements_of(environment(name))
        if lock is None:
            assert missing_lock_reason(environment(name)) != "it has none", name
        else:
            assert lock.shortcomings(wanted) == (), name
            assert "://" not in lock.text, name


def test_every_lock_is_some_presets_and_all_keep_the_size_budget():
    locks = {path.stem: path.stat().st_size for path in FOLDER.glob("*.txt")}
    assert set(locks) == {preset.lock_name for preset in presets.ENVIRONMENTS.all()} - {None}
    assert sum(locks.values()) <= SIZE_BUDGET_BYTES
