import pytest

from tests.workspaces import FALCON_TINY
from vacc_gen.generator.new.choices import Choices
from vacc_gen.generator.next_steps import next_steps

FETCH = "    # weights and texts that you lack"
RUN = '--prompt "In the beginning"'


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
