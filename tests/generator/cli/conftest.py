"""The command line, run in the test's own process."""

import sys

import pytest

from vacc_gen.generator.cli.main import main


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run vacc-gen in an empty folder; returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["vacc-gen", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        printed = capsys.readouterr()
        return stop.value.code or 0, printed.out, printed.err

    return run
