"""The Tab key in real shells, each with a home of its own."""

import os
import shutil

import pytest

from tests.processes import VACC_GEN, make_program
from tests.terminals import CTRL_U, TAB, Terminal

LINES = {
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
    for line, rest in LINES.items():
        terminal.send(CTRL_U, line, TAB)
        terminal.wait_for(line + rest)
