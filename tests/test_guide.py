"""What the guide says is typed and compared, and so are the first lines that a newcomer types.

What needs others has a stand-in.
"""

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.hub_server import serving
from tests.processes import VACC_GEN, make_program
from tests.terminals import CTRL_C, DOWN, ENTER, Terminal
from tests.workspaces import FALCON_TINY, files_of
from vacc_gen.generator.cli.main import main
from vacc_gen.presets import MODELS

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "guide.md"
CHINESE = [*ROOT.glob("*.zh-CN.md"), *sorted((ROOT / "docs").rglob("*.zh-CN.md"))]
FENCED = re.compile(r"^```(\w+)(?: ([^\n]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its language, what is said after that, and its text."""

    language: str
    note: str
    text: str


def blocks_of(page):
    return [Block(*match) for match in FENCED.findall(page.read_text(encoding="utf-8"))]


def commands_of(block):
    """Return what stands after each `$`, with the lines that it prints."""
    found = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line.rstrip())
    return found


def links_of(page):
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    return re.findall(r"\]\(([^)\s]+)\)", text)


def headings_of(page):
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    return re.findall(r"^#+ .+$", text, re.MULTILINE)


def is_printed(expected, printed):
    """Whether a command printed what a page says.

    `...` in a line stands for anything, and alone in a line for any number of lines.
    """
    pattern = "".join(
        r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + r"\n"
        for line in expected
    )
    lines = "".join(f"{line.rstrip()}\n" for line in printed.rstrip().splitlines())
    return re.fullmatch(pattern, lines) is not None


VAMC = r"""#!/usr/bin/env bash
# Makes what the compiler is known to leave behind: <workspace.path>/<name>/mod*.
set -euo pipefail
[ "$1" = compile ] && [ -f "$2" ]
name=$(sed -n 's/^name: //p' "$2")
path=$(sed -n 's/^  path: //p' "$2")
mkdir -p "$path/$name"
echo compiled > "$path/$name/mod.params"
"""
VASTGENX = r"""#!/usr/bin/env bash
set -euo pipefail
case $1 in serve) [ "$2" = --model ] && [ -e "$3"/mod.params ] ;; webui) [ $# = 5 ] ;; esac
echo "vastgenx $1"
"""


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """Type commands into one shell after the other, each in the folder where the last one was.

    `vacc-gen` itself runs in this process where it needs no shell, which spares it its imports.
    """
    scripts = {"vacc-gen": f'#!/bin/sh\nexec {" ".join(VACC_GEN)} "$@"\n'}
    vendor_scripts = {"vamc": VAMC, "vastgenx": VASTGENX}
    for folder, made in (("plain", scripts), ("vendor", scripts | vendor_scripts)):
        for name, script in made.items():
            make_program(tmp_path / folder / name, script)
    where = tmp_path / "where"
    where.write_text(str(tmp_path))

    def type_in(command, vendor=False, **variables):
        path = tmp_path / ("vendor" if vendor else "plain")
        with monkeypatch.context() as patched:
            for name in [name for name in os.environ if name.startswith("HF_")]:
                patched.delenv(name)
            patched.setenv("PATH", str(path), prepend=os.pathsep)
            for name, value in {"VACC_GEN": str(ROOT), "COLUMNS": "80", **variables}.items():
                patched.setenv(name, value)
            patched.chdir(where.read_text().strip())
            if command.startswith("vacc-gen ") and ">" not in command:
                patched.setattr(sys, "argv", shlex.split(command))
                return run_here()
            done = subprocess.run(
                ["bash", "-c", f'set -e; {command}\npwd > "{where}"'],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=300,
                check=False,
            )
            return done.returncode, done.stdout

    return type_in


def run_here():
    """Run `sys.argv`; return its exit code and what it printed to either stream."""
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed), pytest.raises(SystemExit) as end:
        main()
    return end.value.code or 0, printed.getvalue()


@pytest.fixture
def hub():
    """A hub where the model that the guide fetches has the weights of falcon-tiny."""
    config = json.dumps(MODELS.find("falcon-7b-instruct").config).encode()
    with serving() as hub:
        files = {**files_of(FALCON_TINY), "config.json": config}
        hub.repositories["models/tiiuae/falcon-7b-instruct"] = files
        yield hub


def test_the_guide_can_be_typed_from_its_first_line_to_its_last(shell, hub):
    typed = 0
    for block in blocks_of(GUIDE):
        if block.language != "console":
            continue
        variables = {"HF_ENDPOINT": hub.url} if block.note == "hub" else {}
        exit_code = int(block.note.removeprefix("exit ")) if block.note.startswith("exit") else 0
        commands = commands_of(block)
        for command, expected in commands:
            code, printed = shell(command, vendor=block.note == "vendor", **variables)
            is_last = command == commands[-1][0]
            assert code == (exit_code if is_last else 0), f"$ {command}\n{printed}"
            assert is_printed(expected, printed), f"$ {command}\n{printed}"
            typed += 1
    assert typed > 15


NAME = "falcon-7b-instruct"
FIRST_LINES = (
    f"vacc-gen new --model {NAME} && vacc-gen validate {NAME} && vacc-gen fetch {NAME} && "
    f'vacc-gen build {NAME} && vacc-gen run {NAME} --prompt "The capital of France is"'
)


def test_from_nothing_to_text(tmp_path, monkeypatch, shell, hub):
    """In a package in which falcon-7b-instruct is the model falcon-tiny."""
    package = tmp_path / "python" / "vacc_gen"
    shutil.copytree(ROOT / "presets", package / "presets")
    for room in ("schema", "generator"):
        (package / room).symlink_to(ROOT / room)
    models = package / "presets" / "models"
    text = (models / "falcon-tiny.yaml").read_text()
    named = text.replace("name: falcon-tiny", f"name: {NAME}\nhuggingface_id: tiiuae/{NAME}", 1)
    (models / f"{NAME}.yaml").write_text(named)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    config = (FALCON_TINY / "config.json").read_bytes().replace(b"{", b'{"_name_or_path": "x",', 1)
    hub.repositories[f"models/tiiuae/{NAME}"]["config.json"] = config
    code, said = shell(f"cd . && {FIRST_LINES}", HF_ENDPOINT=hub.url)
    assert code == 0, said
    for words in (
        f'  vacc-gen build {NAME}\n  vacc-gen run {NAME} --prompt "In the beginning"\n',
        "which is not there yet (not ready: 1 thing missing)\n",
        f"\nnext: vacc-gen fetch {NAME}",
        "fetched  tokenizer.json  126 kB\n",
        f"\n8 files, 5.2 MB in {NAME}/weights/{NAME}: 8 fetched\nwrote {NAME}/source_code/config_",
        f"\nnext: vacc-gen build {NAME}\n",
        "prompt 10 tokens, answer 64 tokens",
    ):
        assert words in said


def test_what_is_installed_can_be(tmp_path):
    """The network is left out: syntax, the names of extras, the pinned torch."""
    project = (ROOT / "pyproject.toml").read_text()
    torch = re.search(r"^TORCH \?= (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    blocks = [block for block in blocks_of(GUIDE) if block.note == "install"]
    assert len(blocks) == 2
    for block in blocks:
        subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)
        for extra in re.findall(r"vacc-gen\[(\w+)\]", block.text):
            assert f"\n{extra} = [" in project
    assert torch is not None
    assert f"pip install {torch[1]}\n" in blocks[0].text


def test_every_block_is_of_a_kind_that_is_tested():
    kinds = {(block.language, block.note) for block in blocks_of(GUIDE)}
    assert kinds == {
        ("sh", "install"),
        ("text", "wizard"),
        *(("console", note) for note in ("", "exit 1", "vendor", "hub")),
    }


def test_the_questions_look_as_the_guide_shows_them(tmp_path):
    terminal = Terminal(tmp_path, "new")
    for prompt in ("Which model? (", "Where are its weights? (", "Which precisions? ("):
        terminal.wait_for(prompt)
        terminal.send(ENTER)
    terminal.wait_for("Which card will it run on? (")
    terminal.send(DOWN, ENTER)
    terminal.wait_for("» 4        2 cards")
    terminal.send("?")
    terminal.wait_for("count dies, not cards.")
    terminal.wait_for("   another  number")
    (shown,) = [block.text for block in blocks_of(GUIDE) if block.note == "wizard"]
    assert terminal.screen.rstrip("\n") == shown.rstrip("\n")
    terminal.send(CTRL_C)
    assert terminal.exit_code() == 130
    assert terminal.printed.endswith("nothing was written\n")


@pytest.mark.parametrize("chinese", CHINESE, ids=lambda page: page.name)
def test_the_chinese_page_has_the_same_blocks(chinese):
    """What is typed and printed in the English page is tested; the Chinese one says the same."""
    english = chinese.with_name(chinese.name.replace(".zh-CN", ""))
    assert blocks_of(chinese) == blocks_of(english)
    levels = [heading.split(" ")[0] for heading in headings_of(english)]
    assert [heading.split(" ")[0] for heading in headings_of(chinese)] == levels
    files = {link for link in links_of(english) if "zh-CN" not in link and link[0] != "#"}
    assert files <= set(links_of(chinese))
