"""A file of the workspace before it is written, and the templates that some are made from."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath

from jinja2 import Environment, FunctionLoader, StrictUndefined

SOURCE_FOLDER = PurePosixPath("source_code")
"""Where code and its config stand until scripts/prepare.sh puts them beside the weights."""


@dataclass(frozen=True)
class EmittedFile:
    """Text that is to stand at `path`, relative to the workspace."""

    path: PurePosixPath
    text: str
    executable: bool = False


def template_text(name: str) -> str:
    """Return a file of generator/templates as it is."""
    return (files("vacc_gen.generator") / "templates" / name).read_text(encoding="utf-8")


def render(name: str, **values: object) -> str:
    """Return a template with `values` filled in; an unknown name in it is an error.

    In templates of scripts, `{{ value | q }}` is `value` quoted for the shell.
    """
    return _environment().get_template(name).render(values)


def render_html(name: str, **values: object) -> str:
    """Return a template of a page with `values` filled in, none of which can become markup."""
    return _environment(is_html=True).get_template(name).render(values)


@cache
def _environment(is_html: bool = False) -> Environment:
    environment = Environment(
        loader=FunctionLoader(template_text),
        autoescape=is_html,  # elsewhere there is no HTML, and shell values go through `q`
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["q"] = lambda value: shlex.quote(str(value))
    return environment
