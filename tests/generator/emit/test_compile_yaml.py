import json
import re
from pathlib import Path

import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from vacc_gen import presets
from vacc_gen.generator.emit.compile_yaml import compile_config_text
from vacc_gen.generator.emit.files import emit
from vacc_gen.generator.new.choices import Choices
from vacc_gen.generator.plan import make_plan
from vacc_gen.schema.lint.check import check_text
from vacc_gen.schema.lint.diagnostics import has_errors
from vacc_gen.schema.precision import EMBEDDED_ONLY, Precision
from vacc_gen.schema.recipe import Recipe

PUBLISHED = Path(__file__).parents[2] / "data" / "vamc"


def jobs(**values):
    values = {"version": 2, **values}
    recipe = Recipe.model_validate_json(json.dumps(values))
    return make_plan(recipe, presets.MODELS.find(recipe.model.preset), None).jobs


def published(path):
    return yaml.safe_load((PUBLISHED / path).read_text(encoding="utf-8"))


INSTRUCT = {"preset": "falcon-7b-instruct", "checkpoint": "/path/to/falcon-7b-instruct"}


def test_the_defaults_are_the_published_configs():
    for job in jobs(model=INSTRUCT):
        path = f"llm/falcon/build_in/build/hf_falcon_{job.precision.value}.yaml"
        assert yaml.safe_load(compile_config_text(job)) == published(path)


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


def test_kv8_is_as_published_for_chatglm():
    reference = published("llm/chatglm3/build_in/build/hf_chatglm_kv8.yaml")
    (job,) = jobs(model=INSTRUCT, precisions=["kv8"])
    made = yaml.safe_load(compile_config_text(job))
    assert made["name"] == reference["name"].replace("chatglm3-6b", "falcon-7b-instruct")
    for config in (made, reference):
        del config["name"], config["frontend"]["checkpoint"]
    assert made == reference


def test_lengths_stand_on_one_line_and_sections_apart():
    text = compile_config_text(jobs(model=INSTRUCT)[1])
    assert "    input_ids: [[1024], [2048]]\n" in text
    assert "\n\nbackend:\n" in text


# Anything that can stand in a path of vacc.yaml: YAML has no NUL and no lone surrogates.
PATHS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], include_characters="\t\n\x85"), min_size=1
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
    tp=st.integers(1, 64),
    prefill=LENGTHS,
    answer=st.integers(0, 64).map(lambda steps: 16 * steps),
    optimize_for=st.sampled_from(["throughput", "latency"]),
    align_qkv=st.booleans(),
    calibration=st.none()
    | st.fixed_dictionaries(
        {"set": st.sampled_from(["c4", "ceval", "alpaca"]), "path": PATHS, "seqlen": LENGTHS}
    ),
)
def test_any_config_of_a_sound_recipe_reads_back_as_it_was_planned(
    checkpoint, preset, precisions, tp, prefill, answer, optimize_for, align_qkv, calibration
):
    values = {
        "model": {"preset": preset, "checkpoint": checkpoint},
        "precisions": precisions,
        "target": {
            "tp": tp,
            "prefill": prefill,
            "total": prefill + answer,
            "optimize_for": optimize_for,
            "align_qkv": align_qkv,
        },
        "calibration": calibration,
    }
    recipe = yaml.safe_dump({"version": 2, **values})
    assume(not has_errors(check_text(recipe, "/nowhere/vacc.yaml", presets.KNOWN)))
    paths = checkpoint + (calibration or {}).get("path", "")
    usual = re.fullmatch(r"[\w /.-]+", paths)  # others, `x;`, may rightly look like a slip
    for job in jobs(**values):
        text = compile_config_text(job)
        assert yaml.safe_load(text) == job.config
        assert text == compile_config_text(job)
        found = check_text(text, f"/nowhere/{job.config_path}", presets.KNOWN)
        assert not (usual and has_errors(found))


def test_every_model_that_ships_makes_a_workspace_without_errors():
    for preset in presets.MODELS.all():
        if preset.any_size:
            continue  # a checkpoint says its sizes
        precisions = ("fp16",) if preset.vision else ("fp16", "int8", "kv8")
        recipe = Choices(model=preset.name, precision=precisions).decide().recipe
        plan = make_plan(recipe, preset, None)
        for file in emit(plan, None):
            if file.path.suffix == ".yaml":
                found = check_text(file.text, f"/nowhere/{file.path}", presets.KNOWN)
                assert not has_errors(found), (preset.name, found)
                assert "VG205" not in [one.code for one in found], (preset.name, found)
