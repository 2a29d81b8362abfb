"""The command `vacc-gen`: runs a verb, and says what went wrong."""

from __future__ import annotations

import os
import sys

from vacc_gen.schema.errors import VaccGenError


def report(error: VaccGenError) -> None:
    """Print an error the way every verb does: what is wrong, then on its own line what to do."""
    diagnostics = getattr(error, "diagnostics", None)
    if diagnostics:
        from vacc_gen.schema.lint.output import excerpts

        print(excerpts(diagnostics, sys.stderr.isatty()), file=sys.stderr)
    print(f"error: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)


def main() -> None:
    """Run the command line and leave with its exit code."""
    # Looking for plugins of pydantic reads the metadata of every package that is installed.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from vacc_gen.generator.cli.app import app_of, chosen_verbs

    try:
        app_of(chosen_verbs(sys.argv[1:]))(prog_name="vacc-gen")
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
