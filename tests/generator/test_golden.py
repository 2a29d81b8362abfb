"""Whole workspaces against tests/golden. `UPDATE_GOLDEN=1 pytest tests/generator/test_golden.py`
writes them again; read the difference before you commit it.
"""

import os
import shutil
from pathlib import Path

import pytest

from tests.workspaces import files_of
from vacc_gen import presets
from vacc_gen.generator.emit.files import (
    MODELING_HEADER,
    RECIPE_SCHEMA_PATH,
    recipe_text,
    template_text,
)
from vacc_gen.generator.new.choices import Choices
from vacc_gen.generator.workspace import MANIFEST_PATH, create

GOLDEN = Path(__file__).parents[1] / "golden"
UPDATE = bool(os.environ.get("UPDATE_GOLDEN"))
SCHEMA = Path(__file__).parents[2] / "schema" / "recipe.schema.json"

CASES = {
    "falcon-7b-instruct": Choices(model="falcon-7b-instruct"),
    "falcon-7b-calibrated": Choices(
        model="falcon-7b", calibration="alpaca:/path/to/en_alpaca_data.json"
    ),
    "falcon-40b-everything": Choices(
        model="falcon-40b",
        checkpoint="/models/the 'large' one",
        name="falcon-forty",
        precision=("kv8", "fp16", "int8"),
        prefill=512,
        total=4096,
        tp=8,
        card="VA16",
        calibration="c4:data/c4.json.gz",
        optimize_for="latency",
        align_qkv=True,
    ),
    "falcon-tiny-relative": Choices(model="falcon-tiny", checkpoint="weights", precision=("fp16",)),
    "vendors-own-code": Choices(model="Aquila2-7B", precision=("int8",)),
    "no-code-needed": Choices(model="Llama-2-7b-hf", precision=("int8",)),
}


def copies(environment):
    """Files that are copied and so need no golden copy -> what they must equal."""
    return {
        "source_code/modeling_falcon_vacc.py": MODELING_HEADER
        + template_text("modeling_falcon_vacc.py"),
        "scripts/export.py": template_text("export.py"),
        "env/requirements.lock": presets.ENVIRONMENTS.text(environment, "txt"),
        str(RECIPE_SCHEMA_PATH): SCHEMA.read_text(encoding="utf-8"),
    }


@pytest.mark.parametrize("case", CASES)
def test_workspaces_are_as_they_were(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    decision = CASES[case].decide()
    workspace = create(decision.root, recipe_text(decision.recipe, CASES[case].command()))
    made = files_of(workspace.root)
    del made[str(MANIFEST_PATH)]
    for path, text in copies(decision.plan.preset.environment).items():
        assert made.pop(path, text.encode()) == text.encode()
    golden = GOLDEN / case
    if UPDATE:
        shutil.rmtree(golden, ignore_errors=True)
        for path, content in made.items():
            (golden / path).parent.mkdir(parents=True, exist_ok=True)
            (golden / path).write_bytes(content)
    assert made == files_of(golden)


def test_every_golden_workspace_has_a_case():
    assert {path.name for path in GOLDEN.iterdir()} == set(CASES)
