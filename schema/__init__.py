"""What is valid: recipes, compile configs, presets and weight folders, and what to say of mistakes.

| question | where |
| --- | --- |
| what do a recipe, a compile config and a preset say? | recipe, compile_yaml/, preset |
| what is in a weight folder, and what does the model need? | checkpoint, geometry, footprint |
| what is wrong with a file, and how is it put right? | lint/ |
| how do editors know? | json_schema |

For programs there are `validate`, `Recipe` and `CompileConfig`; each loads when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vacc_gen.schema.compile_yaml.config import CompileConfig as CompileConfig
    from vacc_gen.schema.library import validate as validate
    from vacc_gen.schema.recipe import Recipe as Recipe

    __version__: str
else:
    _MODULES = {"CompileConfig": "compile_yaml.config", "Recipe": "recipe", "validate": "library"}
    __all__ = ["__version__", *_MODULES]

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            return import_module("importlib.metadata").version("vacc-gen")
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
