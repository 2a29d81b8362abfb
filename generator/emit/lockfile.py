"""env/: the packages of the compiler's Python, pinned by hash, and what is known about them."""

from __future__ import annotations

from vacc_gen.generator.emit.emitted import EmittedFile
from vacc_gen.generator.environment.environment import (
    DESCRIPTION_PATH,
    LOCK_PATH,
    Lock,
    description_text,
)
from vacc_gen.schema.environment import Environment


def environment_files(environment: Environment, lock: Lock | None) -> tuple[EmittedFile, ...]:
    """Return environment.json, and the lock where there is one for these pins."""
    description = EmittedFile(DESCRIPTION_PATH, description_text(environment, lock))
    return (EmittedFile(LOCK_PATH, lock.text), description) if lock else (description,)
