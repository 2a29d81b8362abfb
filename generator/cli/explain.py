"""`vacc-gen explain`: what a finding means, why it matters, and how it looks when put right."""

from __future__ import annotations

from typing import Annotated

import typer

from vacc_gen.generator.cli.options import complete_code


def explain(
    code: Annotated[
        str | None,
        typer.Argument(
            metavar="CODE",
            help="A code such as VG101; without one, all of them.",
            autocompletion=complete_code,
        ),
    ] = None,
) -> None:
    """Explain a finding of `validate`.

    Example: vacc-gen explain VG101
    """
    from vacc_gen.generator.cli.findings import unknown_code
    from vacc_gen.schema.lint.rule import all_rules, as_page, as_table

    rules = {rule.code: rule for rule in all_rules()}
    if code is None:
        typer.echo(as_table(rules.values()), nl=False)
    elif code.upper() in rules:
        typer.echo(as_page(rules[code.upper()]), nl=False)
    else:
        raise unknown_code(code)
