"""Which backend a build uses."""

from __future__ import annotations

import shutil

from vacc_gen.generator.backends.base import Backend
from vacc_gen.generator.backends.onnxruntime.backend import OnnxRuntimeBackend
from vacc_gen.generator.backends.vamc import EXECUTABLE, Vamc
from vacc_gen.schema.errors import UsageError
from vacc_gen.schema.precision import Precision

BACKENDS: tuple[type[Backend], ...] = (OnnxRuntimeBackend, Vamc)
AUTO = "auto"


def select_backend(name: str) -> Backend:
    """Return the backend called `name`; `auto` is vamc where that is on the PATH.

    Raises:
        UsageError: there is no such backend.
    """
    if name == AUTO:
        name = Vamc.name if shutil.which(EXECUTABLE) else OnnxRuntimeBackend.name
    for backend in BACKENDS:
        if backend.name == name:
            return backend()
    known = ", ".join([AUTO, *(backend.name for backend in BACKENDS)])
    raise UsageError(f"there is no backend called {name!r}", f"choose one of {known}")


def backends_for(precision: Precision) -> list[str]:
    """The options that select a backend which builds `precision`."""
    return [f"--backend {backend.name}" for backend in BACKENDS if precision in backend.precisions]
