import pytest

from tests.workspaces import recipe_text
from vacc_gen import presets
from vacc_gen.generator.plan import make_plan, quantizes_first
from vacc_gen.schema.errors import UsageError
from vacc_gen.schema.recipe import Recipe


def plan(preset="falcon-7b-instruct", checkpoint=None, **parts):
    text = recipe_text(preset, checkpoint or f"/path/to/{preset}", **parts)
    return make_plan(Recipe.model_validate_json(text), presets.MODELS.find(preset), None)


@pytest.mark.parametrize(
    ("checkpoint", "basename"),
    [
        ("/models/my falcon/", "my falcon"),
        ("../weights", "weights"),
        ("..", "falcon-7b"),
        (".", "falcon-7b"),
        ("/", "falcon-7b"),
        ("/odd\n name", "odd_ name"),
        (
            "/hub/models--tiiuae--falcon-7b/snapshots/ec89142b",
            "falcon-7b",
        ),
    ],
)
def test_a_job_is_named_after_the_weight_folder(checkpoint, basename):
    (job,) = plan("falcon-7b", checkpoint, precisions=["fp16"]).jobs
    assert job.name == f"{basename}-fp16-tp4-1024-2048"


def test_a_precision_that_is_named_twice_is_made_once():
    assert len(plan(precisions=["int8", "int8"]).jobs) == 1


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


def test_int4_has_a_name_of_its_own_and_no_compile_config():
    made = plan(precisions=["fp16", "int4"])
    assert [job.name for job in made.jobs] == [
        "falcon-7b-instruct-fp16-tp4-1024-2048",
        "falcon-7b-instruct-int4-tp4-1024-2048",
    ]
    assert [job.precision.value for job in made.vamc_jobs] == ["fp16"]
    assert [str(job.config_path) for job in made.configs] == ["build/hf_falcon_fp16.yaml"]


VISION = "Qwen2.5-VL-3B-Instruct"


def test_the_environments_exact_pins_go_into_both_halves():
    made = plan(
        VISION,
        precisions=["fp16"],
        target={"prefill": 2048, "total": 4096},
        environment={
            "preset": "qwen2_5_vl-py310",
            "python": "3.10",
            "pins": ["transformers==4.52.0", "numpy<2", "pillow==11.*"],
        },
    )
    for job in made.configs:
        pins = job.config["workspace"]["pyenv"]
        assert pins == {"transformers": "4.52.0", "huggingface-hub": "0.30.2"}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"precisions": ["fp16", "int8"]}, "compiled in fp16 alone, not in int8"),
        ({"precisions": ["fp16"]}, "may take 1024 tokens, which a prompt of 1024 has no room for"),
    ],
)
def test_what_cannot_be_compiled_of_a_model_that_reads_images_is_refused(parts, message):
    with pytest.raises(UsageError, match=message):
        plan(VISION, **parts)
