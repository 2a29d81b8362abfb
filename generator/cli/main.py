"""The command `vacc-gen`: runs what is asked for, and says what went wrong."""

from __future__ import annotations

import os
import sys

from vacc_gen.generator.cli.help import root_help
from vacc_gen.generator.terminal import ended_by_signals, exact, print_error, shown_streams
from vacc_gen.schema.errors import VaccGenError


def main() -> None:
    """Run the command line and leave with its exit code."""
    # Looking for plugins of pydantic reads the metadata of every package that is installed.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    with shown_streams(), ended_by_signals():
        try:
            if sys.argv[1:] in (["-h"], ["--help"]):
                print(root_help(sys.stdout), file=exact(sys.stdout), flush=True)
                sys.exit()
            from vacc_gen.generator.cli.app import run_app

            sys.exit(run_app())
        except VaccGenError as error:
            if diagnostics := getattr(error, "diagnostics", None):
                from vacc_gen.generator.cli.findings import print_findings

                print_findings(diagnostics)
            print_error(error.message, error.hint)
            sys.exit(error.exit_code)
        except ImportError as error:
            hint = "pip install --force-reinstall 'vacc-gen[export]'"
            print_error(f"cannot load {error.name or 'a package'}: {error}", hint)
            sys.exit(2)
        except BrokenPipeError:
            sys.stderr.close()
            sys.exit(141)
        except OSError as error:  # a full disk behind the standard output, a name beyond all limits
            print_error(f"{error.filename or 'cannot write'}: {error.strerror or error}")
            sys.exit(2)


if __name__ == "__main__":
    main()
