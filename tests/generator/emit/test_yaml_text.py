import json

import pytest
import yaml

from vacc_gen.generator.emit.yaml_text import recipe_text
from vacc_gen.schema.lint.check import check_text
from vacc_gen.schema.recipe import Recipe

MODEL = {"preset": "falcon-7b", "checkpoint": "/path/to/falcon-7b"}


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"target": {"card": "VA16", "tp": 2, "optimize_for": "latency"}},
        {"precisions": ["kv8"], "environment": {"pins": ["tiktoken==0.7", "einops"]}},
        {"quantization": {"group_size": 32, "device": "cuda:1", "true_sequential": False}},
        {"calibration": {"set": "c4", "path": "/d/c 4's.gz", "seqlen": 1024}},
        {"calibration": {"set": "c4", "path": "a\x85b\u2028c", "seqlen": 16}},
        {
            "calibration": {
                "set": "c4",
                "path": "a: b # c",
                "seqlen": 16,
                "seed": 3,
                "mix": [{"set": "mine", "path": "x.txt", "weight": 0.5}],
            },
            "verification": {"decode_steps": 64, "max_abs_diff": {"int8": 2.5}},
        },
    ],
)
def test_a_recipe_reads_back_as_itself(parts):
    recipe = Recipe.model_validate_json(json.dumps({"version": 2, "model": MODEL, **parts}))
    text = recipe_text(recipe, ["vacc-gen", "new", "--out", "a b"])
    assert text.startswith("# vacc-gen new --out 'a b'\n# yaml-language-server: $schema=")
    assert Recipe.model_validate_json(json.dumps(yaml.safe_load(text))) == recipe
    assert [found.message for found in check_text(text, "vacc.yaml")] == []
