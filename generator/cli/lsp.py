"""`vacc-gen lsp`."""

from __future__ import annotations

from vacc_gen.schema.errors import MissingExtraError


def lsp() -> None:
    """Serve an editor over the language server protocol, on the standard input and output.

    Findings while typing, what keys and rules mean, quick fixes, completion. Which rules run is
    read at the start, from the nearest pyproject.toml.

    Example: vacc-gen lsp
    """
    from vacc_gen.generator.cli.findings import selection_for

    try:
        from vacc_gen.generator.lsp import server
    except ImportError as error:
        raise MissingExtraError(
            "pygls", "`vacc-gen lsp`", "lsp", f"does not load: {error}"
        ) from error
    server.selection = selection_for(".", (), ())
    server.start_io()
