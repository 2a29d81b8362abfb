import json
import os
import shlex
import shutil
from pathlib import Path

import pytest

from tests.workspaces import FALCON_TINY
from vacc_gen import presets
from vacc_gen.generator.new.choices import Choices, recognize
from vacc_gen.schema.errors import CheckpointError, UsageError

TINY = json.loads((FALCON_TINY / "config.json").read_text(encoding="utf-8"))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current folder with the trained checkpoint in `weights`."""
    shutil.copytree(FALCON_TINY, tmp_path / "weights")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def decide(**choices):
    decision = Choices(**choices).decide()
    return decision.root, decision.recipe


def change_config(**changes):
    """Change config.json; the weights, which are not of that model, go."""
    for file in Path("weights").glob("*.safetensors*"):
        file.unlink()
    path = Path("weights/config.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("checkpoint", "out", "written"),
    [
        ("weights", None, "../weights"),
        ("weights", "deep/er/w", "../../../weights"),
        ("./weights/", "w", "../weights"),
    ],
)
def test_relative_paths_are_written_as_the_recipe_sees_them(here, checkpoint, out, written):
    root, recipe = decide(checkpoint=checkpoint, out=out, calibration="c4:data/c4.gz")
    assert recipe.model.checkpoint == written
    assert recipe.model.preset == "falcon-tiny"
    assert Path(os.path.normpath(here / root / recipe.model.checkpoint)) == here / "weights"
    assert recipe.calibration.path == written.replace("weights", "data/c4.gz")


@pytest.mark.parametrize(
    ("choices", "message", "hint"),
    [
        ({}, "--model or --checkpoint is missing", "--model falcon-7b-instruct"),
        ({"prefill": 1000}, "--prefill: must be a multiple of 16, got 1000", "992 and 1008"),
        ({"total": -16}, "--total: must be greater than or equal to 16, got -16", None),
        ({"prefill": 4096}, "--prefill: 4096 is longer than total 2048", "--total 4096 or more"),
        ({"tp": 65}, "--tp: must be less than or equal to 64, got 65", None),
        ({"name": "my/model"}, "--name: must match pattern", None),
        ({"model": "llama3"}, "--model: no model is called 'llama3'", "Meta-Llama-3-8B"),
        ({"model": "bge-m3"}, "--model: bge-m3 is a text encoder", "presets config bge-m3"),
        ({"model": "Qwen2.5-7B-Instruct-GPTQ-Int4"}, "is served by the vendor's vLLM", "show Qwen"),
        ({"model": "falcon"}, "--model: falcon stands for models of any size", "--checkpoint"),
        ({"card": "VA17"}, "--card: no card is called 'VA17'", "VA16"),
        ({"environment": "x"}, "--environment: no environment is called 'x'", "presets list"),
        ({"calibration": "c5:/x"}, "--calibration: no calibration set is called 'c5'", None),
        ({"model": None, "checkpoint": "/no"}, "--checkpoint: /no is not a", "config.json"),
        ({"checkpoint": ""}, "--checkpoint: is empty", "leave the option out"),
        ({"calibration": "alpaca"}, "needs the path", "alpaca:/path/to/alpaca_data_cleaned"),
        ({"calibration": "c4:/x", "precision": ("fp16",)}, "is for int8", None),
        ({"checkpoint": "/a\nb"}, "control character", None),
        ({"checkpoint": "/a\udcff"}, "not valid UTF-8", None),
    ],
)
def test_impossible_choices_name_the_option_and_say_what_would_do(choices, message, hint):
    with pytest.raises(UsageError) as error:
        Choices(**({"model": "falcon-7b"} if choices else {}) | choices).decide()
    assert message in error.value.message
    assert "\n" not in error.value.message
    assert (hint or "") in (error.value.hint or "")


def test_a_checkpoint_of_other_sizes_than_the_preset_is_named_size_by_size(here):
    change_config(num_hidden_layers=3)
    with pytest.raises(CheckpointError) as error:
        Choices(model="falcon-tiny", checkpoint="weights").decide()
    assert error.value.message == "weights is not falcon-tiny: layers is 3, the preset's 4"
    assert "leave out `--model`" in error.value.hint
    assert decide(checkpoint="weights")[1].model.preset == "falcon"
    change_config(model_type="gpt2", architectures=["GPT2LMHeadModel"])
    for model in (None, "falcon-tiny"):
        with pytest.raises(CheckpointError, match="gpt2"):
            Choices(model=model, checkpoint="weights").decide()


def test_where_the_preset_was_not_sure_the_checkpoint_wins(here):
    config = {**presets.MODELS.find("falcon-rw-7b").config, "num_hidden_layers": 35}
    change_config(**config)
    decision = Choices(model="falcon-rw-7b", checkpoint="weights").decide()
    assert "config.json wins: layers is 35, the preset's 36" in decision.notes[1]
    assert decision.plan.geometry.layers == 35


@pytest.mark.parametrize(
    ("checkpoint", "given", "name"),
    [
        (None, None, "Mistral-7B-Instruct"),
        ("/data/Mistral-7B-Instruct-v0.2/", None, "Mistral-7B-Instruct"),
        ("/data/our-mistral", None, None),
        ("/data/Mistral-7B-Instruct-v0.2", "ours", "ours"),
    ],
)
def test_compiled_models_are_called_as_published_where_the_folder_is(checkpoint, given, name):
    chosen = Choices(model="Mistral-7B-Instruct-v0.2", checkpoint=checkpoint, name=given)
    assert chosen.decide().recipe.model.name == name


@pytest.mark.parametrize(
    ("model", "precision", "note"),
    [
        ("falcon-40b", ("fp16", "int4"), "; the embedded backend makes it"),
        ("Llama-2-7b-hf", ("fp16", "int4"), "; nothing here makes it"),
        ("Qwen2-7B", (), "the sizes of Qwen2-7B are not verified;"),
        ("Qwen2-VL-7B-Instruct", (), "the vision tower runs on a die of its own"),
    ],
)
def test_what_should_be_known_is_said(model, precision, note):
    assert note in " ".join(Choices(model=model, precision=precision).decide().notes)
    assert Choices(model="falcon-40b").decide().notes == ()


def test_uneven_heads_are_one_sentence_with_the_tp_to_take():
    (note,) = Choices(model="falcon-7b").decide().notes
    assert note == (
        "tp 4, as published, does not split the heads evenly: up to 18 attention heads and 1 KV "
        "head a die; `--tp 1` would"
    )
    (note,) = Choices(model="falcon-40b", tp=6).decide().notes
    assert note.startswith("tp 6 does not") and note.endswith("`--tp 8` would")


def test_recommended_dies_split_the_heads_evenly_but_for_published_ones():
    models = [model.name for model in presets.MODELS.all() if not model.any_size]
    plans = [Choices(model=name).decide().plan for name in models]
    splits = {p.preset.name: p.geometry.splits_evenly(p.recipe.target.tp) for p in plans}
    uneven = [name for name, is_even in splits.items() if not is_even]
    assert uneven == ["falcon-7b", "falcon-7b-instruct"]


def test_a_folder_without_a_config(here):
    Path("weights/config.json").unlink()
    Path("file").touch()
    for model in (None, "falcon-tiny"):
        with pytest.raises(CheckpointError, match=r"has no config\.json"):
            Choices(model=model, checkpoint="weights").decide()
        with pytest.raises(UsageError, match="file is not a folder"):
            Choices(model=model, checkpoint="file").decide()
    Path("empty").mkdir()
    assert Choices(model="falcon-tiny", checkpoint="empty").decide()  # to be downloaded to
    with pytest.raises(UsageError, match="absent is not a folder"):
        Choices(checkpoint="absent").decide()


def llama_config(name, **changes):
    """A config.json as LLaMA-shaped models write it, of the sizes of a preset."""
    preset = presets.MODELS.find(name)
    g = preset.geometry
    return {
        "model_type": preset.model_types[0],
        "hidden_size": g.hidden_size,
        "intermediate_size": g.ffn_hidden_size,
        "num_hidden_layers": g.layers,
        "num_attention_heads": g.attention_heads,
        "num_key_value_heads": g.kv_heads,
        "head_dim": g.head_size,
        "vocab_size": g.vocab_size,
        "max_position_embeddings": g.max_positions,
        "tie_word_embeddings": g.tied_embeddings,
        **changes,
    }


def detect(folder, config):
    return recognize(Path(folder), config)[0].name


def test_what_was_seen_is_said():
    assert recognize(Path("weights"), TINY)[1] == (
        "weights: model_type falcon, 4 layers of width 224, 7 attention heads of 32 on 1 KV head, "
        "a vocabulary of 2048: falcon-tiny"
    )
    chat = llama_config("internlm2_5-7b-chat")
    assert recognize(Path("InternLM2_5-7B-chat"), chat)[1].endswith("5-7b-chat, by its name")


def test_every_preset_is_recognized_in_a_folder_of_its_name():
    wrong = [
        preset.name
        for preset in presets.MODELS.all()
        if not preset.any_size
        and detect(f"/models/{preset.name.upper()}", preset.config or llama_config(preset.name))
        != preset.name
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("folder", "config", "name"),
    [
        ("w", llama_config("Qwen2-7B", _name_or_path="Qwen/Qwen2.5-7B/"), "Qwen2.5-7B"),
        ("models--Qwen--Qwen2.5-7B/snapshots/0a1b", llama_config("Qwen2-7B"), "Qwen2.5-7B"),
        ("Llama-3.1-8B-Instruct", llama_config("Meta-Llama-3.1-8B"), "Meta-Llama-3.1-8B-Instruct"),
        ("w", {**presets.MODELS.find("falcon-40b").config, "vocab_size": 65040}, "falcon-40b"),
        ("w", {**TINY, "num_hidden_layers": 5}, "falcon"),
        ("w", llama_config("Meta-Llama-3-8B"), "Meta-Llama-3-8B"),  # 3.1 has more positions
    ],
)
def test_a_checkpoint_is_still_its_model(folder, config, name):
    assert detect(folder, config) == name


def test_several_that_are_not_alike_are_named_with_a_line_to_type(here):
    Path("my weights").mkdir()
    Path("my weights/config.json").write_text(json.dumps(llama_config("Skywork-OR1-7B-Preview")))
    with pytest.raises(UsageError) as error:
        Choices(checkpoint="my weights").decide()
    assert "my weights may be any of 5 models: model_type qwen2, 28 layers" in error.value.message
    assert error.value.hint == (
        "it fits Qwen2-7B, Qwen2.5-7B, Skywork-OR1-Math-7B, Skywork-OR1-7B-Preview, "
        "DeepSeek-R1-Distill-Qwen-7B; say which, such as "
        "`vacc-gen new --model Qwen2-7B --checkpoint 'my weights'`"
    )
    line = shlex.split(error.value.hint.split("`")[1])
    assert Choices(model=line[3], checkpoint=line[5]).decide().plan.preset.name == "Qwen2-7B"


def test_weights_that_are_quantized_already_are_noted(here):
    config = llama_config("Qwen2.5-7B-Instruct", quantization_config={"quant_method": "gptq"})
    Path("config.json").write_text(json.dumps(config))
    for model in (None, "Qwen2.5-7B-Instruct"):
        assert "quantized already" in Choices(model, checkpoint=str(here)).decide().notes[-1]


@pytest.mark.parametrize(
    ("config", "message", "hint"),
    [
        (llama_config("Llama-2-7b-hf", num_hidden_layers=31), "llama, 31 layers", "`--model` says"),
        (llama_config("Qwen2-7B", model_type="bert"), "bert", "`vacc-gen presets config`"),
        ({"hidden_size": 64}, "model_type None", "`vacc-gen presets list`"),
        ({"model_type": "llama", "hidden_size": 64}, "config.json: num_attention", ""),
    ],
)
def test_what_fits_no_preset_is_said(config, message, hint):
    with pytest.raises(CheckpointError) as error:
        recognize(Path("weights"), config)
    assert message in error.value.message
    assert hint in (error.value.hint or "")
