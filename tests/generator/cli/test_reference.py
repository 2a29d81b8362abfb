import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from vacc_gen.generator.cli.main import main
from vacc_gen.generator.cli.reference import reference

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"
SECTIONS = re.findall(r"^## vacc-gen (.+)\n((?:.|\n)*?)(?=^## |\Z)", reference(), re.MULTILINE)


def help_of(verb, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["vacc-gen", *verb.split(), "--help"])
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    return capsys.readouterr().out


def test_the_page_is_current():
    module = "vacc_gen.generator.cli.reference"
    assert PAGE.read_text(encoding="utf-8") == reference(), f"python -m {module} > docs/cli.md"


def test_the_page_has_every_verb(monkeypatch, capsys):
    listed = re.findall(r"^  (\w+)  +\S", help_of("", monkeypatch, capsys), re.MULTILINE)
    assert {verb.split()[0] for verb, _ in SECTIONS} == set(listed)


@pytest.mark.parametrize(("verb", "section"), SECTIONS)
def test_help_says_what_the_page_says(verb, section, monkeypatch, capsys):
    said = help_of(verb, monkeypatch, capsys)
    assert all(len(line) <= 80 for line in said.splitlines())
    joined = " ".join(said.split())
    (example,) = re.findall(r"```sh\n(.*)\n```", section)
    assert f"Example: {example}" in joined
    for option in re.findall(r"^\| `(--[a-z-]+)", section, re.MULTILINE):
        assert re.search(rf"^ +{option}\b", said, re.MULTILINE), option


@pytest.mark.parametrize(("verb", "section"), SECTIONS)
def test_examples_use_options_that_are_there(verb, section):
    (example,) = re.findall(r"```sh\n(.*)\n```", section)
    words = shlex.split(example)[1:]
    assert words[: len(verb.split())] == verb.split()
    known = set(re.findall(r"^\| `(--[a-z-]+)", section, re.MULTILINE))
    assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("verb", ["", *(verb for verb, _ in SECTIONS)])
def test_help_is_cheap(verb, tmp_path):
    """Every press of Tab and every `--help` starts the program."""
    program = (
        "import sys\n"
        "from vacc_gen.generator.cli.main import main\n"
        f"sys.argv = ['vacc-gen', *{verb.split()!r}, '--help']\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    print(sorted({'torch', 'rich', 'numpy', 'prompt_toolkit', 'jinja2'}\n"
        "                 & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stderr == "[]\n"
