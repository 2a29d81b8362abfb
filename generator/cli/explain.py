"""`vacc-gen explain`: what a finding means, why it matters, and how it looks when put right."""

from __future__ import annotations

from typing import Annotated

import typer

from vacc_gen.generator.cli.completion import complete_code


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
    from vacc_gen.schema.errors import UsageError
    from vacc_gen.schema.lint.rule import all_rules, as_page, as_table
    from vacc_gen.schema.lint.suggestions import nearest

    rules = {rule.code: rule for rule in all_rules()}
    if code is None:
        typer.echo(as_table(rules.values()), nl=False)
        return
    rule = rules.get(code.upper())
    if rule is None:
        near = nearest(code.upper(), rules)
        hint = f"did you mean {near}?" if near else "`vacc-gen explain` lists them all"
        raise UsageError(f"no rule is called {code}", hint)
    typer.echo(as_page(rule), nl=False)
