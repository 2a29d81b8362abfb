"""What is made, and run. For programs there are `new` and `build`; each loads when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# Rooms of the same names, which Python binds here when they are first imported, and never again:
# from here on the names are those of the functions, whatever is imported later.
import vacc_gen.generator.build
import vacc_gen.generator.new  # noqa: F401

if TYPE_CHECKING:
    from vacc_gen.generator.library import build as build
    from vacc_gen.generator.library import new as new
else:
    del build, new
    __all__ = ["build", "new"]

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from vacc_gen.generator import library

        return getattr(library, name)
