"""What is valid: recipes, compile configs, presets and weight folders, and what to say of mistakes.

| question | where |
| --- | --- |
| what do a recipe, a compile config and a preset say? | recipe, compile_yaml/, preset |
| what is in a weight folder, and what does the model need? | checkpoint, geometry, footprint |
| what is wrong with a file, and how is it put right? | lint/ |
| how do editors know? | json_schema |

What programs use is `validate`, `Recipe` and `CompileConfig`, and what goes with them. Each name
loads what it needs when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vacc_gen.schema.compile_yaml.config import CompileConfig as CompileConfig
    from vacc_gen.schema.errors import VaccGenError as VaccGenError
    from vacc_gen.schema.library import validate as validate
    from vacc_gen.schema.lint.check import CheckResult as CheckResult
    from vacc_gen.schema.lint.diagnostics import Diagnostic as Diagnostic
    from vacc_gen.schema.lint.diagnostics import Severity as Severity
    from vacc_gen.schema.recipe import Recipe as Recipe

    __version__: str
else:
    _MODULES = {
        "CheckResult": "lint.check",
        "CompileConfig": "compile_yaml.config",
        "Diagnostic": "lint.diagnostics",
        "Recipe": "recipe",
        "Severity": "lint.diagnostics",
        "VaccGenError": "errors",
        "validate": "library",
    }
    __all__ = ["__version__", *_MODULES]

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            from importlib.metadata import version

            return version("vacc-gen")
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
