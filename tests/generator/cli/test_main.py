"""What every verb makes of help, misspellings and streams that cannot be used."""

import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import typer
from rich.console import Console

from tests.processes import VACC_GEN, make_program
from tests.terminals import CTRL_U, TAB, Terminal
from vacc_gen.generator.cli.app import app
from vacc_gen.generator.cli.help import VERBS, root_help

ROOT = Path(__file__).parents[3]
DOCS = ("-m", "typer", "vacc_gen.generator.cli.app", "utils", "docs", "--name", "vacc-gen")
"""`make docs` runs this with `--output docs/reference/cli.md`."""
SUBVERBS = ("presets list", "presets show", "presets config")
CLOSED = "error: cannot read -: it is closed\n"
CONSTRAINTS = (ROOT / "constraints.txt").read_text()


def in_shell(line, cwd, *arguments):
    """Run vacc-gen as `"$@"` of a line of bash."""
    command = ["bash", "-c", line, "bash", *VACC_GEN, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("verb", ["", *VERBS, *SUBVERBS])
def test_every_verb_has_help_and_mends_a_misspelled_option(run, verb):
    code, out, _ = run(*verb.split(), "-h")
    assert code == 0
    assert out.startswith(f"Usage: vacc-gen {verb}".rstrip())
    code, out, err = run(*verb.split(), "--hepl")
    assert (code, out) == (2, "")
    assert "No such option" in err and "--hepl" in err
    assert "--help" in err


def test_the_help_of_the_root_has_every_option_and_verb(run, monkeypatch):
    group = typer.main.get_command(app)
    options = [word for param in group.get_params(typer.Context(group)) for word in param.opts]
    shown = root_help(io.StringIO())
    assert [word for word in (*options, *VERBS) if f" {word}" not in shown] == []
    assert run() == run("-h") == (0, f"{shown}\n", "")
    monkeypatch.setenv("COLUMNS", "40")
    assert "\n  new        Make a workspace for a\n             model.\n" in run("-h").out


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        ("new --tp two", "--tp: ", "see `vacc-gen new --help`"),
        ("new --precision fp8", "--precision: 'fp8' is not one of ", "see `vacc-gen new --help`"),
        ("build --until fly", "--until: 'fly' is not one of 'preflight'", "see `vacc-gen build"),
        ("presets show", "NAME is missing", "see `vacc-gen presets show --help`"),
        ("nwe", "No such command 'nwe'", "did you mean 'new'?"),
        ("presets shwo", "No such command 'shwo'", "did you mean 'show'?"),
        ("new --modle", "No such option", "did you mean --model"),
        ("schema vamx", "NAME: 'vamx' is not one of", "see `vacc-gen schema --help`"),
        ("explain VG1O1", "no rule is called VG1O1", "did you mean VG101?"),
    ],
)
def test_a_wrong_command_line_is_one_error_that_speaks_of_the_option(run, words, error, hint):
    code, out, err = run(*words.split())
    assert (code, out) == (2, "")
    first, second = err.splitlines()
    assert first.startswith(f"error: {error}") and "pars" not in first
    assert second.startswith(f"hint: {hint}")


@pytest.mark.parametrize(
    ("columns", "environment", "has_style"),
    [(80, {}, True), (40, {}, True), (80, {"NO_COLOR": "1"}, False), (40, {"TERM": "dumb"}, False)],
)
def test_errors_hints_and_help_on_a_terminal(tmp_path, columns, environment, has_style):
    terminal = Terminal(tmp_path, "new", "--model", "x", columns=columns, **environment)
    assert terminal.exit_code() == 2
    assert terminal.printed.splitlines() == [
        "error: --model: no model is called 'x'",
        "hint: `vacc-gen presets list` names all",
    ]
    assert ("\x1b[1;31merror:\x1b[0m" in terminal.received) is has_style
    assert ("\x1b[1mhint:\x1b[0m" in terminal.received) is has_style
    terminal = Terminal(tmp_path, "new", "--help", columns=columns, lines=120, **environment)
    assert terminal.exit_code() == 0
    assert max(map(len, terminal.printed.splitlines())) <= columns
    assert "--model NAME A preset of `vacc-gen presets list`, or a Hugging" in terminal.words
    assert ("\x1b[1m--model NAME\x1b[0m" in terminal.received) is has_style
    terminal = Terminal(tmp_path, "--help", columns=columns, lines=120, **environment)
    assert terminal.exit_code() == 0
    assert max(map(len, terminal.printed.splitlines())) <= columns
    assert "doctor Check this machine for a workspace." in terminal.words
    assert ("\x1b[1mdoctor\x1b[0m" in terminal.received) is has_style


@pytest.mark.parametrize(
    ("variables", "has_style"),
    [
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ({}, False),
    ],
)
def test_colours_can_be_had_without_a_terminal(run, monkeypatch, variables, has_style):
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm", **variables}.items():
        monkeypatch.setenv(name, value)
    err = run("new", "--model", "\x1b[7m").err
    assert err.startswith("\x1b[1;31merror:\x1b[0m --model" if has_style else "error: --model")
    assert r"'\x1b[7m'" in err, "what others wrote is shown and not obeyed"
    assert ("\x1b[1mOptions\x1b[0m:" in run("new", "--help").out) is has_style
    # As Rich, which draws tables and progress.
    assert bool(Console(file=io.StringIO()).color_system) is (has_style or "NO_COLOR" in variables)


@pytest.mark.skipif(
    f"typer=={typer.__version__}" not in CONSTRAINTS, reason="another typer writes it otherwise"
)
def test_docs_cli_is_what_the_verbs_say():
    done = subprocess.run(
        [VACC_GEN[0], *DOCS], capture_output=True, text=True, check=True, cwd=ROOT
    )
    page = (ROOT / "docs" / "reference" / "cli.md").read_text()
    assert done.stdout.strip() == page.strip(), "run `make docs`"


@pytest.mark.parametrize(
    "words", ["--help", "presets list", "validate --format json vacc.yaml"], ids=str.split
)
def test_a_full_disk_and_closed_streams(tmp_path, words):
    (tmp_path / "vacc.yaml").write_text("version: 2\n")
    done = in_shell('"$@" >/dev/full', tmp_path, *words.split())
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    done = in_shell('"$@" <&-', tmp_path, "validate", "-")
    assert (done.returncode, done.stderr) == (2, CLOSED)


COMPLETED = {
    "vacc-gen new --model FALCON-RW": "FALCON-RW-1b FALCON-RW-7b",
    "vacc-gen new --card va10": "va10L",
    "vacc-gen new --precision i": "int8 int4",
    "vacc-gen new --calibration c": "c4: ceval:",
    "vacc-gen build --until ver": "verify",
    "vacc-gen presets show falcon-py": "falcon-py310",
    "vacc-gen val": "validate",
}
COMPLETES = """
import os, sys
from vacc_gen.generator.cli.main import main
os.environ["_VACC_GEN_COMPLETE"] = "complete_bash"
for words in sys.argv[1:]:
    os.environ |= {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    sys.argv = ["vacc-gen"]
    try:
        main()
    except SystemExit:
        print("\\0", end="")
print("yaml" in sys.modules)
"""


def test_the_shell_completes_names_and_loads_little_for_it():
    command = [VACC_GEN[0], "-c", COMPLETES, *COMPLETED]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    *completed, has_yaml = done.stdout.split("\0")
    assert [" ".join(names.split()) for names in completed] == list(COMPLETED.values())
    assert has_yaml == "False\n"


TYPED = {
    "vacc-gen new --card va10": "L",
    "vacc-gen new --model falcon-7b-in": "struct",
    "vacc-gen run some-folder --precision kv": "8",
    "vacc-gen presets show falcon-py": "310",
    "vacc-gen validate some-fol": "der/",
}
"""What is typed before the one press of Tab, and what that adds."""


@pytest.fixture(params=["bash", "zsh", "fish"])
def shell(request, tmp_path):
    """The name of a shell that is here, and how to start it."""
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    make_program(tmp_path / "bin" / "vacc-gen", f'#!/bin/sh\nexec {" ".join(VACC_GEN)} "$@"\n')
    (tmp_path / "some-folder").mkdir()
    home = {"HOME": str(tmp_path), "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}

    def start(*words):
        return Terminal(tmp_path, *words, program=[request.param, "-i"], columns=120, **home)

    return request.param, start


def test_the_first_tab_of_a_new_shell_completes(shell):
    name, start = shell
    assert start("-c", f"vacc-gen --install-completion {name}").exit_code() == 0
    terminal = start()
    terminal.settle()
    for line, rest in TYPED.items():
        terminal.send(CTRL_U, line, TAB)
        terminal.wait_for(line + rest)
