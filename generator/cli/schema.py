"""`vacc-gen schema`: the JSON Schemas of recipes and compile YAMLs, for editors."""

from __future__ import annotations

from typing import Annotated, Literal

import typer


def schema(
    name: Annotated[
        Literal["recipe", "vamc"], typer.Argument(help="recipe: vacc.yaml; vamc: the compile YAML.")
    ],
) -> None:
    """Print a JSON Schema (draft 2020-12) for editors.

    Example: vacc-gen schema recipe > recipe.schema.json
    """
    from vacc_gen.schema.json_schema import packaged

    typer.echo(packaged(name), nl=False)
