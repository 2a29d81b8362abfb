"""The command `vacc-gen`: runs a verb, and says what went wrong.

Verbs are Typer's, but `validate` runs without it: people and pre-commit run it on every save, and
Typer, which parses options with pydantic where that is installed, would cost more than its work.
"""

from __future__ import annotations

import sys

from vacc_gen.schema.errors import FindingsError, VaccGenError


def report(error: VaccGenError) -> None:
    """Print an error the way every verb does: what is wrong, then on its own line what to do."""
    if isinstance(error, FindingsError):
        from vacc_gen.schema.lint.output import excerpts

        print(excerpts(error.diagnostics, sys.stderr.isatty()), file=sys.stderr)
    print(f"error: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)


def main() -> None:
    """Run the command line and leave with its exit code."""
    try:
        if sys.argv[1:2] == ["validate"]:
            from vacc_gen.generator.cli.validate import run

            sys.exit(run(sys.argv[2:]))
        from vacc_gen.generator.cli.app import app

        app()
    except VaccGenError as error:
        report(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:  # a full disk behind the standard output, a name beyond all limits
        print(f"error: {error.filename or 'cannot write'}: {error.strerror}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
