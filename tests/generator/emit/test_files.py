import json
import re
from pathlib import Path

import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from vacc_gen import presets
from vacc_gen.generator.emit.files import compile_config_text
from vacc_gen.generator.plan import make_plan
from vacc_gen.schema.lint.check import check_text
from vacc_gen.schema.lint.diagnostics import has_errors
from vacc_gen.schema.precision import EMBEDDED_ONLY, Precision
from vacc_gen.schema.recipe import Recipe

PUBLISHED = Path(__file__).parents[2] / "data" / "vamc"


def jobs(**values):
    recipe = Recipe.model_validate_json(json.dumps({"version": 2, **values}))
    return make_plan(recipe, presets.MODELS.find(recipe.model.preset), None).jobs


def published(path):
    return yaml.safe_load((PUBLISHED / path).read_text(encoding="utf-8"))


INSTRUCT = {"preset": "falcon-7b-instruct", "checkpoint": "/path/to/falcon-7b-instruct"}


def test_calibration_adds_the_published_dataset_to_int8():
    reference = published("tools/vamc/vamc_quant.yaml")["dataset"]
    calibration = {
        "set": reference["name"],
        "path": reference["path"],
        "samples": reference["nsamples"],
        "seqlen": reference["seqlen"],
    }
    fp16, int8 = (
        yaml.safe_load(compile_config_text(job))
        for job in jobs(model=INSTRUCT, calibration=calibration)
    )
    assert "dataset" not in fp16
    assert int8.pop("dataset") == reference
    assert int8 == published("llm/falcon/build_in/build/hf_falcon_int8.yaml")


# Anything that can stand in a path of vacc.yaml: YAML has no NUL and no lone surrogates.
PATHS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], include_characters="\t\n"), min_size=1
)
LENGTHS = st.integers(1, 64).map(lambda steps: 16 * steps)


@given(
    checkpoint=PATHS,
    preset=st.sampled_from(["falcon-7b", "falcon-40b", "falcon-tiny"]),
    precisions=st.lists(
        st.sampled_from([p.value for p in Precision if p not in EMBEDDED_ONLY]),
        min_size=1,
        max_size=3,
    ),
    target=st.fixed_dictionaries(
        {
            "tp": st.integers(1, 64),
            "prefill": LENGTHS,
            "total": st.integers(64, 128).map(lambda steps: 16 * steps),
            "optimize_for": st.sampled_from(["throughput", "latency"]),
            "align_qkv": st.booleans(),
        }
    ),
    calibration=st.none()
    | st.fixed_dictionaries(
        {"set": st.sampled_from(["c4", "ceval", "alpaca"]), "path": PATHS, "seqlen": LENGTHS}
    ),
)
def test_any_config_of_a_sound_recipe_reads_back_as_it_was_planned(
    checkpoint, preset, precisions, target, calibration
):
    model = {"preset": preset, "checkpoint": checkpoint}
    values = {
        "model": model,
        "precisions": precisions,
        "target": target,
        "calibration": calibration,
    }
    recipe = yaml.safe_dump({"version": 2, **values})
    assume(not has_errors(check_text(recipe, "/nowhere/vacc.yaml", presets.KNOWN)))
    paths = checkpoint + (calibration or {}).get("path", "")
    usual = re.fullmatch(r"[\w /.-]+", paths)  # others, `x;`, may rightly look like a slip
    for job in jobs(**values):
        text = compile_config_text(job)
        assert yaml.safe_load(text) == job.config
        found = check_text(text, f"/nowhere/{job.config_path}", presets.KNOWN)
        assert not (usual and has_errors(found))
