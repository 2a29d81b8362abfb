import json
import shlex
from pathlib import Path

import pytest

from tests.workspaces import FALCON_TINY
from vacc_gen import presets
from vacc_gen.generator.new.choices import Choices
from vacc_gen.generator.new.recognition import recognize
from vacc_gen.schema.errors import CheckpointError, UsageError

TINY = json.loads((FALCON_TINY / "config.json").read_text(encoding="utf-8"))


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
        (
            "w",
            llama_config("Qwen2-7B", _name_or_path="Qwen/Qwen2-7B-Instruct/"),
            "Qwen2-7B-Instruct",
        ),
        (
            "models--internlm--internlm2_5-7b-chat/snapshots/0a1b",
            llama_config("internlm2_5-7b-chat"),
            "internlm2_5-7b-chat",
        ),
        ("Llama-3.1-8B-Instruct", llama_config("Meta-Llama-3.1-8B"), "Meta-Llama-3.1-8B-Instruct"),
        ("w", {**presets.MODELS.find("falcon-40b").config, "vocab_size": 65040}, "falcon-40b"),
        ("w", {**TINY, "num_hidden_layers": 5}, "falcon"),
        ("w", llama_config("Meta-Llama-3-8B"), "Meta-Llama-3-8B"),  # 3.1 has more positions
    ],
)
def test_a_checkpoint_is_still_its_model(folder, config, name):
    assert detect(folder, config) == name


def test_that_a_name_decided_among_models_of_one_shape_is_said():
    preset, sentence = recognize(Path("InternLM2_5-7B-chat"), llama_config("internlm2_5-7b-chat"))
    assert preset.name == "internlm2_5-7b-chat"
    assert sentence.endswith(": internlm2_5-7b-chat, by its name")


def test_several_that_are_not_alike_are_named_with_a_line_to_type(tmp_path, monkeypatch):
    folder = tmp_path / "my weights"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(llama_config("Skywork-OR1-7B-Preview")))
    monkeypatch.chdir(tmp_path)
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


def test_weights_that_are_quantized_already_are_noted(tmp_path):
    config = llama_config("Qwen2.5-7B-Instruct", quantization_config={"quant_method": "gptq"})
    (tmp_path / "config.json").write_text(json.dumps(config))
    for model in (None, "Qwen2.5-7B-Instruct"):
        notes = Choices(model=model, checkpoint=str(tmp_path)).decide().notes
        assert "quantized already" in notes[-1]


@pytest.mark.parametrize(
    ("config", "message", "hint"),
    [
        (
            llama_config("Llama-2-7b-hf", num_hidden_layers=31),
            "weights fits no preset: model_type llama, 31 layers",
            "`--model` says what differs",
        ),
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
