"""`vacc-gen new` makes every published config of a model that reads text, or images too."""

from pathlib import Path

import pytest
import yaml

from tests.published import FOLDER
from vacc_gen.schema.recipe import PLACEHOLDER

PUBLISHED = FOLDER / "llm"
VISION = FOLDER / "vlm"

WITH_SLASH = "--model {0} --checkpoint /path/to/{0}/"

# folder, what `hf_<family>_<precision>.yaml` calls the family, precisions, options of `new`.
# Options that agree with the preset are left out: tp, lengths and, where its folder is called as
# the Hugging Face id ends, the checkpoint.
CONFIGS = [
    ("aquila", "aquila", "fp16 int8", "--model Aquila2-7B"),
    ("baichuan2", "baichuan", "fp16", "--model Baichuan2-13B-Chat"),
    ("chatglm2", "chatglm", "fp16 int8 kv8", "--model chatglm2-6b"),
    ("chatglm3", "chatglm", "int8 kv8", "--model chatglm3-6b"),
    ("chatglm4", "chatglm", "int8 kv8", "--model glm-4-9b-hf"),
    ("deepseek_r1_distill", "ds_r1_distill", "fp16 int8", "--model DeepSeek-R1-Distill-Qwen-7B"),
    ("falcon", "falcon", "fp16 int8", "--model falcon-7b-instruct"),
    ("gemma", "gemma", "fp16 int8", "--model gemma-2b-it"),
    ("internlm2", "internlm", "int8", "--model internlm2-7b"),
    ("internlm2_5", "internlm", "int8", "--model internlm2_5-7b-chat"),
    ("internlm3", "internlm", "int8", "--model internlm3-8b-instruct"),
    ("llama", "llama", "fp16 int8", "--model LLaMA-33B-HF"),
    ("llama2", "llama2", "int8", "--model Llama-2-7b-hf"),
    ("llama3", "llama3", "fp16 int8", "--model Meta-Llama-3-8B-Instruct"),
    ("mistral", "mistral", "fp16 int8", WITH_SLASH.format("Mistral-7B-Instruct-v0.2")),
    ("openbuddy", "openbuddy", "fp16 int8", WITH_SLASH.format("openbuddy-qwen1.5-14b-v21.1-32k")),
    ("phi", "phi", "fp16 int8", "--model Phi-3-mini-4k-instruct"),
    ("qwen2", "qwen2", "fp16 int8", "--model Qwen2-7B"),
    ("qwen3", "qwen3", "fp16", "--model Qwen3-8B"),
    ("qwq", "qwq", "fp16 int8", "--model QwQ-32B"),
    ("skywork_or1", "skywork_or1", "fp16 int8", "--model Skywork-OR1-7B-Preview"),
    ("stablelm", "stablelm", "fp16 int8", "--model stablelm-2-1_6b"),
    ("tigerbot", "tigerbot", "fp16", "--model tigerbot-7b-chat"),
    ("wizardlm", "wizardlm", "fp16 int8", "--model WizardLM-2-7B"),
    ("yi", "yi", "fp16 int8", "--model Yi-6B"),
]
# folder, which halves are published, model; the checkpoint's folder may end with a slash there.
VISION_CONFIGS = [
    ("logics_parsing", "visual", "Logics-Parsing"),
    ("ocrflux", "visual", "OCRFlux-3B"),
    ("olmocr2", "llm visual", "olmOCR-2-7B-1025"),
    ("qwen2_5_vl", "llm visual", "Qwen2.5-VL-7B-Instruct"),
    ("qwen2_vl", "llm visual", "Qwen2-VL-7B-Instruct"),
    ("rolmocr", "visual", "RolmOCR"),
]
NO_MODELS_OF_OURS = ("clip", "siglip")
"""Image encoders, published as ONNX graphs."""

WRONG_AS_PUBLISHED = "qwen1.5/build_in/build/hf_qwen1.5_int8.yaml"


@pytest.fixture
def new(run):
    """Run `vacc-gen new` with options; returns the workspace's build folder."""

    def new(*options):
        done = run("new", *options, "--out", "workspace")
        assert done.code == 0, done.err
        return Path("workspace/build")

    return new


@pytest.mark.parametrize(("folder", "family", "precisions", "options"), CONFIGS)
def test_new_makes_the_published_configs(new, folder, family, precisions, options):
    wanted = [word for name in precisions.split() for word in ("--precision", name)]
    made = new(*options.split(), *wanted)
    names = {f"hf_{family}_{name}.yaml" for name in precisions.split()}
    assert {path.name for path in made.iterdir()} == names
    for name in names:
        assert load(made / name) == load(PUBLISHED / folder / "build_in" / "build" / name)


def test_the_one_that_is_wrong_names_another_model(new):
    published = load(PUBLISHED / WRONG_AS_PUBLISHED)
    made = load(new("--model", "Qwen1.5-7B-Chat", "--precision", "int8") / "hf_qwen1.5_int8.yaml")
    assert made["name"] == published["name"].replace("Qwen2-7B", "Qwen1.5-7B-Chat")
    assert made["frontend"].pop("checkpoint") == f"{PLACEHOLDER}Qwen1.5-7B-Chat"
    assert published["frontend"].pop("checkpoint") == f"{PLACEHOLDER}Qwen2-7B"
    del made["name"], published["name"]
    assert made == published


def test_no_published_config_is_left_out():
    walked = {
        f"{folder}/build_in/build/hf_{family}_{name}.yaml"
        for folder, family, precisions, _ in CONFIGS
        for name in precisions.split()
    }
    published = {str(path.relative_to(PUBLISHED)) for path in PUBLISHED.rglob("*.yaml")}
    assert walked | {WRONG_AS_PUBLISHED} == published
    walked = {
        f"{folder}/build_in/build/{folder}_{half}.yaml"
        for folder, halves, _ in VISION_CONFIGS
        for half in halves.split()
    }
    reading_images = {path.relative_to(VISION) for path in VISION.rglob("*.yaml")}
    assert walked == {str(one) for one in reading_images if one.parts[0] not in NO_MODELS_OF_OURS}


@pytest.mark.parametrize(("folder", "halves", "model"), VISION_CONFIGS)
def test_new_makes_the_published_configs_of_models_that_read_images(new, folder, halves, model):
    made = new("--model", model)
    assert {path.name for path in made.iterdir()} == {f"{folder}_llm.yaml", f"{folder}_visual.yaml"}
    for half in halves.split():
        name = f"{folder}_{half}.yaml"
        ours, published = load(made / name), load(VISION / folder / "build_in" / "build" / name)
        # Published names follow no pattern; ours say model, precision and lengths, as elsewhere.
        del ours["name"], published["name"]
        published["frontend"]["checkpoint"] = published["frontend"]["checkpoint"].rstrip("/")
        if name == "ocrflux_visual.yaml":  # 2048 columns are cut into 4 outputs of 640, not 6
            published["backend"]["compile"]["output_layout"] = [f"{i}:YX" for i in range(4)]
        if name == "qwen2_vl_visual.yaml":  # its other half pins these
            published["workspace"]["pyenv"] = {
                "transformers": "4.45.0",
                "huggingface-hub": "0.23.2",
            }
        assert ours == published


def load(path):
    """A config; published ones have a placeholder where `new` names a folder in the workspace."""
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    frontend = config["frontend"]
    frontend["checkpoint"] = frontend["checkpoint"].replace("weights/", PLACEHOLDER)
    return config
