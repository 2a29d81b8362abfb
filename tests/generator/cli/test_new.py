from pathlib import Path

import pytest

from tests.workspaces import FALCON_TINY, files_of
from vacc_gen.generator.cli.new import next_steps
from vacc_gen.generator.new.choices import Choices

FETCH = "    # weights and texts that you lack"
RUN = '--prompt "In the beginning"'


def test_new_names_every_file_and_what_comes_next(run):
    code, out, err = run("new", "--model", "falcon-7b-instruct")
    assert (code, err) == (0, "")
    note, written, _, steps = out.split("\n\n")
    assert note.startswith("tp 4, as published, does not split the heads evenly: ")
    files = {line.removeprefix("falcon-7b-instruct/") for line in written.splitlines()}
    assert {*files, ".vacc-gen/manifest.json"} == files_of(Path("falcon-7b-instruct")).keys()
    assert "vacc-gen build falcon-7b-instruct" in steps


def test_a_name_beyond_what_a_disk_takes_is_one_error(run):
    code, _, err = run("new", "--model", "falcon-7b", "--out", "a" * 300)
    assert (code, "too long" in err) == (2, True)
    assert list(Path().iterdir()) == []


def test_a_workspace_stays_unless_forced(run):
    assert run("new", "--model", "falcon-7b")[0] == 0
    assert run("new", "--model", "falcon-7b", "--tp", "2")[0] == 2
    assert run("new", "--model", "falcon-7b", "--tp", "2", "--force")[0] == 0
    assert "tp: 2" in Path("falcon-7b/build/hf_falcon_fp16.yaml").read_text()
    assert run("generate", "falcon-7b", "--check")[0] == 0


@pytest.mark.parametrize(
    ("choices", "steps"),
    [
        ({"checkpoint": "w"}, ["vacc-gen build falcon-tiny", f"vacc-gen run falcon-tiny {RUN}"]),
        (
            {"checkpoint": "w", "calibration": "ceval:here.zip"},
            ["vacc-gen build falcon-tiny", f"vacc-gen run falcon-tiny {RUN}"],
        ),
        (
            {"out": "my w"},
            ["# put the weights into 'my w/weights/falcon-tiny'", "vacc-gen build 'my w'"],
        ),
        (
            {"model": "falcon-7b", "out": "my w"},
            [
                f"vacc-gen fetch 'my w'{FETCH}",
                "vacc-gen build 'my w'",
                f"vacc-gen run 'my w' {RUN}",
            ],
        ),
        (
            {"model": "Qwen2-7B", "checkpoint": "later", "calibration": "c4:texts"},
            [
                f"vacc-gen fetch Qwen2-7B{FETCH}",
                "vacc-gen build Qwen2-7B    # where the vendor's vamc is",
            ],
        ),
    ],
)
def test_the_next_steps_bring_what_is_missing(tmp_path, monkeypatch, choices, steps):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.zip").touch()
    (tmp_path / "w").symlink_to(FALCON_TINY)
    decision = Choices(**{"model": "falcon-tiny", **choices}).decide()
    assert next_steps(decision.root, decision.recipe)[: len(steps)] == steps
