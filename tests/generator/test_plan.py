"""Plans, and the compile configs in them, beside published ones."""

from pathlib import PurePath

import pytest
import yaml

from tests.published import FOLDER, PATHS, named
from tests.workspaces import recipe_text
from vacc_gen import presets
from vacc_gen.generator.emit.files import compile_config_text, sections
from vacc_gen.generator.new.choices import Choices
from vacc_gen.generator.plan import encoder_config, make_plan, quantizes_first
from vacc_gen.schema.errors import UsageError
from vacc_gen.schema.lint.check import check_text
from vacc_gen.schema.precision import Precision
from vacc_gen.schema.recipe import Recipe

IMAGE_ENCODERS = ("clip", "siglip")
"""Published as ONNX graphs: no models of ours."""
LANGUAGE = [path for path in PATHS if path.is_relative_to(FOLDER / "llm")]
VISION = [
    path
    for path in PATHS
    if path.is_relative_to(FOLDER / "vlm") and not set(IMAGE_ENCODERS) & set(path.parts)
]


def published(path):
    return yaml.safe_load((FOLDER / path).read_text(encoding="utf-8"))


def chosen(config, precision=()):
    """The plan of `new` for the checkpoint of a published config, by the preset of its name."""
    checkpoint = config["frontend"]["checkpoint"]
    choices = Choices(PurePath(checkpoint).name, checkpoint, precision=precision)
    return choices.decide().plan


@pytest.mark.parametrize("path", LANGUAGE, ids=named)
def test_new_makes_the_published_configs(path):
    theirs = published(path)
    if path.name == "hf_qwen1.5_int8.yaml":  # which names another model
        theirs["name"] = theirs["name"].replace("Qwen2-7B", "Qwen1.5-7B-Chat")
        theirs["frontend"]["checkpoint"] = "/path/to/Qwen1.5-7B-Chat"
    (job,) = chosen(theirs, (path.stem.rpartition("_")[2],)).jobs
    assert (job.config_path.name, job.config) == (path.name, theirs)


@pytest.mark.parametrize("path", VISION, ids=named)
def test_new_makes_the_published_configs_of_models_that_read_images(path):
    theirs = published(path)
    (ours,) = [j.config for j in chosen(theirs).configs if j.config_path.name == path.name]
    # Published names follow no pattern; ours say model, precision and lengths, as elsewhere.
    ours["name"] = theirs["name"]
    if path.name == "ocrflux_visual.yaml":  # 2048 columns are cut into 4 outputs of 640, not 6
        theirs["backend"]["compile"]["output_layout"] = [f"{i}:YX" for i in range(4)]
    if path.name == "qwen2_vl_visual.yaml":  # its other half pins these
        pins = {"transformers": "4.45.0", "huggingface-hub": "0.23.2"}
        theirs["workspace"]["pyenv"] = pins
    assert ours == theirs


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
        ("/hub/models--tiiuae--falcon-7b/snapshots/ec89142b", "falcon-7b"),
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


def test_calibration_adds_the_published_dataset_to_int8():
    dataset = published("tools/vamc/vamc_quant.yaml")["dataset"]
    keys = {"set": "name", "path": "path", "samples": "nsamples", "seqlen": "seqlen"}
    made = plan(calibration={key: dataset[name] for key, name in keys.items()})
    fp16, int8 = (yaml.safe_load(compile_config_text(job)) for job in made.jobs)
    assert "dataset" not in fp16
    assert int8.pop("dataset") == dataset
    assert int8 == published("llm/falcon/build_in/build/hf_falcon_int8.yaml")


def test_int4_has_a_name_of_its_own_and_no_compile_config():
    made = plan(precisions=["fp16", "int4"])
    assert [job.name for job in made.jobs] == [
        "falcon-7b-instruct-fp16-tp4-1024-2048",
        "falcon-7b-instruct-int4-tp4-1024-2048",
    ]
    assert [job.precision.value for job in made.vamc_jobs] == ["fp16"]
    assert [str(job.config_path) for job in made.configs] == ["build/hf_falcon_fp16.yaml"]


READS_IMAGES = "Qwen2.5-VL-3B-Instruct"


def test_the_environments_exact_pins_go_into_both_halves():
    made = plan(
        READS_IMAGES,
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
        plan(READS_IMAGES, **parts)


ENCODERS = "nlp/text2vec/{}/build_in/build/embedding_config_{}.yaml"


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_an_encoders_config_is_the_published_one(precision):
    theirs = published(ENCODERS.format("bce", precision))
    ours = encoder_config(presets.ENCODERS.find("bce-embedding-base_v1"), Precision(precision))
    # The name of the one in fp16 says int8, and the export script ends its files with -sim.
    theirs["name"] = f"bce-embedding-base_v1-512-{precision}"
    theirs["frontend"]["checkpoint"] = "/path/to/bce-embedding-base_v1-512-sim.onnx"
    if precision == "int8":  # 0 is that of fp16 builds
        theirs["backend"]["compile"]["data_type"] = 2
    assert ours == theirs


def test_an_encoders_config_is_the_published_one_where_the_compiler_reads_weights():
    theirs = published(ENCODERS.format("qwen3", "fp16"))
    theirs["name"] = "Qwen3-Embedding-0.6B-512-fp16"
    assert encoder_config(presets.ENCODERS.find("Qwen3-Embedding-0.6B")) == theirs


@pytest.mark.parametrize("name", presets.ENCODERS.names())
def test_validate_has_nothing_to_say_of_an_encoder(name):
    encoder = presets.ENCODERS.find(name)
    for precision in encoder.precisions:
        for tokens in (16, encoder.max_tokens):
            text = sections(encoder_config(encoder, precision, tokens))
            assert check_text(text, "encoder.yaml", presets.KNOWN) == []


def test_long_texts_are_split_and_a_reranker_has_no_layout():
    for tokens, split in ((512, None), (2048, 4), (4096, 8), (8192, 16)):
        config = encoder_config(presets.ENCODERS.find("bge-reranker-v2-m3"), tokens=tokens)
        options = config["backend"]["compile"]
        assert options.get("attention_split_num") == split
        assert "output_layout" not in options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": Precision.INT8}, "is published in fp16, not in int8"),
        ({"tokens": 100}, "length 100 is not a multiple of 16"),
        ({"tokens": 0}, "length 0 is not a multiple of 16"),
        ({"tokens": 1024}, "reads texts of up to 512 tokens, not 1024"),
    ],
)
def test_what_an_encoder_cannot_be_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        encoder_config(presets.ENCODERS.find("Qwen3-Embedding-0.6B"), **options)
