import json

import pytest

from vacc_gen import presets
from vacc_gen.generator.emit.compile_yaml import compile_configs
from vacc_gen.generator.emit.scripts import script_values
from vacc_gen.generator.plan import (
    make_plan,
    needs_large_stack,
    quantizes_first,
)
from vacc_gen.schema.errors import CheckpointError
from vacc_gen.schema.recipe import Recipe


def plan(preset="falcon-7b-instruct", checkpoint=None, model_config=None, **parts):
    model = {"preset": preset, "checkpoint": checkpoint or f"/path/to/{preset}"}
    recipe = Recipe.model_validate_json(json.dumps({"version": 2, "model": model, **parts}))
    return make_plan(recipe, presets.MODELS.find(preset), model_config)


def test_names_and_files_follow_the_published_pattern():
    jobs = plan(precisions=["fp16", "int8", "kv8"], target={"tp": 2, "prefill": 32}).jobs
    assert [job.name for job in jobs] == [
        "falcon-7b-instruct-fp16-tp2-32-2048",
        "falcon-7b-instruct-int8-tp2-32-2048",
        "falcon-7b-instruct-int8-tp2-32-2048-kv8",
    ]
    assert [str(job.config_path) for job in jobs] == [
        "build/hf_falcon_fp16.yaml",
        "build/hf_falcon_int8.yaml",
        "build/hf_falcon_kv8.yaml",
    ]


@pytest.mark.parametrize(
    ("checkpoint", "basename"),
    [
        ("/models/my falcon/", "my falcon"),
        ("../weights", "weights"),
        ("..", "falcon-7b"),
        (".", "falcon-7b"),
        ("/", "falcon-7b"),
        ("/odd\n\\name", "odd__name"),
    ],
)
def test_a_job_is_named_after_the_weight_folder(checkpoint, basename):
    (job,) = plan("falcon-7b", checkpoint, precisions=["fp16"]).jobs
    assert job.name == f"{basename}-fp16-tp4-1024-2048"


def test_a_precision_that_is_named_twice_is_made_once():
    assert len(plan(precisions=["int8", "int8"]).jobs) == 1


def test_latency_is_compiled_without_b2s_and_alignment_on_request():
    (job,) = plan(precisions=["fp16"], target={"optimize_for": "latency", "align_qkv": True}).jobs
    assert job.config["frontend"]["model_kwargs"] == {
        "tp": 4,
        "model_arch": "vacc",
        "align_qkv": True,
    }


def test_gptq_settings_go_to_int8_alone():
    quantization = {"device": "cuda:5", "true_sequential": False, "separate_pass": True}
    made = plan(precisions=["fp16", "int8", "kv8"], quantization=quantization)
    fp16, int8, kv8 = (job.config["frontend"].get("quantize") for job in made.jobs)
    assert fp16 is None
    assert int8 == {
        "type": "w8a16_gptq",
        "device": "cuda:5",
        "calib_args": {"true_sequential": False},
    }
    assert kv8 == {"type": "w16kv8"}
    assert [quantizes_first(made, job) for job in made.jobs] == [False, True, False]


def test_the_checkpoint_wins_over_the_preset():
    config = {**presets.MODELS.find("falcon-7b").config, "num_hidden_layers": 3}
    assert plan(model_config=config).geometry.layers == 3
    assert plan().geometry.layers == 32


def test_a_checkpoint_of_another_architecture_is_refused():
    with pytest.raises(CheckpointError, match="'llama'"):
        plan(model_config={"model_type": "llama"})


def test_models_above_32b_need_a_large_stack():
    assert needs_large_stack(plan("falcon-40b"))
    assert not needs_large_stack(plan("falcon-7b"))


def test_int4_has_a_name_of_its_own_and_no_compile_config():
    made = plan(precisions=["fp16", "int4"])
    assert [job.name for job in made.jobs] == [
        "falcon-7b-instruct-fp16-tp4-1024-2048",
        "falcon-7b-instruct-int4-tp4-1024-2048",
    ]
    assert [job.precision.value for job in made.vamc_jobs] == ["fp16"]
    assert [str(file.path) for file in compile_configs(made)] == ["build/hf_falcon_fp16.yaml"]
    assert [job["precision"] for job in script_values(made)["jobs"]] == ["fp16"]
