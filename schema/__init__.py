"""What is valid: recipes, compile configs, presets and weight folders, and what to say of mistakes.

| question | where |
| --- | --- |
| what do a recipe, a compile config and a preset say? | recipe, compile_yaml/, preset |
| what is in a weight folder, and what does the model need? | checkpoint, falcon, geometry |
| what is wrong with a file, and how is it put right? | lint/ |
| how do editors know? | json_schema |

For programs there are `validate`, `Recipe` and `CompileConfig`; each loads when it is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vacc_gen.schema.compile_yaml.config import CompileConfig as CompileConfig
    from vacc_gen.schema.lint.check import CheckResult
    from vacc_gen.schema.recipe import Recipe as Recipe

    __version__: str
else:
    _MODULES = {"CompileConfig": "compile_yaml.config", "Recipe": "recipe"}
    __all__ = ["__version__", "validate", *_MODULES]

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            return import_module("importlib.metadata").version("vacc-gen")
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


AnyPath = str | os.PathLike[str]


def validate(
    paths: AnyPath | Iterable[AnyPath],
    *,
    select: str | Sequence[str] = (),
    ignore: str | Sequence[str] = (),
) -> CheckResult:
    """Check recipes, compile YAMLs, workspaces and weight folders, each and all of them together.

    `select` and `ignore` are codes of rules or their beginnings (`VG1`): which alone run, and which
    do not; pyproject.toml is not read. What cannot be read is in `unreadable` of the result.

    Raises:
        UsageError: no rule has such a code.
        UnreadableError: `-` is among the paths and the standard input is closed.
    """
    from vacc_gen.presets import KNOWN
    from vacc_gen.schema.lint.check import Selection, check_paths
    from vacc_gen.schema.lint.rule import codes_in

    paths = [paths] if isinstance(paths, str | os.PathLike) else paths
    selection = Selection(codes_in(select), codes_in(ignore))
    return check_paths([os.fspath(path) for path in paths], KNOWN, selection, with_checkpoints=True)
