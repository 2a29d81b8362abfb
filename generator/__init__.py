"""What is made, and run: workspaces, graphs, builds, and the command line.

What programs use is `new` and `build`, with what they return.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Rooms of the same names. Python puts a package into its parent when it is first imported: after
# this it never does again, and the names below are the functions, whatever is imported when.
import vacc_gen.generator.build
import vacc_gen.generator.new  # noqa: F401

if TYPE_CHECKING:
    from vacc_gen.generator.build.report import StageRecord as StageRecord
    from vacc_gen.generator.library import build as build
    from vacc_gen.generator.library import new as new
    from vacc_gen.generator.workspace import Workspace as Workspace
else:
    del build, new
    _MODULES = {
        "StageRecord": "build.report",
        "Workspace": "workspace",
        "build": "library",
        "new": "library",
    }
    __all__ = list(_MODULES)

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
