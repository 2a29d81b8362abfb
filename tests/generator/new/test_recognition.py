import json
import shlex
from pathlib import Path

import pytest

from vacc_gen import presets
from vacc_gen.generator.new.choices import Choices
from vacc_gen.generator.new.recognition import AmbiguousModelError, recognize
from vacc_gen.schema.errors import CheckpointError

FALCON_TINY = Path(__file__).parents[2] / "data" / "falcon-tiny"
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


def test_a_checkpoint_tells_its_model_and_what_was_seen():
    found = recognize(FALCON_TINY, TINY)
    assert (found.preset.name, found.equals) == ("falcon-tiny", ())
    assert found.seen == (
        "model_type falcon, 4 layers of width 224, 7 attention heads of 32 on 1 KV head, "
        "a vocabulary of 2048"
    )


def test_the_names_of_2023_are_known():
    old = {
        "model_type": "RefinedWebModel",
        "multi_query": True,
        "hidden_size": 4544,
        "n_head": 71,
        "n_layer": 32,
        "vocab_size": 65024,
    }
    found = recognize(Path("weights"), old)
    assert (found.preset.name, found.equals) == ("falcon-7b", ("falcon-7b-instruct",))
    old |= {"model_type": "RefinedWeb", "n_head": 128, "n_head_kv": 8, "n_layer": 60}
    assert recognize(Path("w"), old | {"hidden_size": 8192}).preset.name == "falcon-40b"


@pytest.mark.parametrize(
    "preset",
    [preset for preset in presets.MODELS.all() if not preset.any_size],
    ids=lambda preset: preset.name,
)
def test_every_preset_is_recognized_in_a_folder_of_its_name(preset):
    config = preset.config or llama_config(preset.name)
    assert recognize(Path("/models") / preset.name.upper(), config).preset is preset


def test_the_name_that_a_config_was_saved_under_decides_too():
    config = llama_config("Qwen2-7B", _name_or_path="Qwen/Qwen2-7B-Instruct/")
    assert recognize(Path("weights"), config).preset.name == "Qwen2-7B-Instruct"


def test_lengths_decide_where_names_do_not():
    config = llama_config("Meta-Llama-3-8B")
    found = recognize(Path("weights"), config)
    assert (found.preset.name, found.equals) == ("Meta-Llama-3-8B", ("Meta-Llama-3-8B-Instruct",))
    config = llama_config("Meta-Llama-3.1-70B-Instruct", model_type="mistral")
    with pytest.raises(CheckpointError, match="fits no preset"):
        recognize(Path("weights"), config)


def test_a_fine_tune_with_more_words_is_still_its_model():
    config = {**presets.MODELS.find("falcon-40b").config, "vocab_size": 65040}
    assert recognize(Path("weights"), config).preset.name == "falcon-40b"


def test_several_that_are_not_alike_are_named():
    with pytest.raises(AmbiguousModelError) as error:
        recognize(Path("weights"), llama_config("Skywork-OR1-7B-Preview"))
    assert "weights may be any of 5 models: model_type qwen2, 28 layers" in error.value.message
    assert error.value.hint == (
        "it fits Qwen2-7B, Qwen2.5-7B, Skywork-OR1-Math-7B, Skywork-OR1-7B-Preview and "
        "DeepSeek-R1-Distill-Qwen-7B; say which, such as "
        "`vacc-gen new --model Qwen2-7B --checkpoint weights`"
    )


def test_the_line_of_the_hint_can_be_typed_as_it_is(tmp_path, monkeypatch):
    folder = tmp_path / "my weights"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(llama_config("internlm2-7b")))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AmbiguousModelError) as error:
        Choices(checkpoint="my weights").decide()
    line = shlex.split(error.value.hint.split("`")[1])
    assert line == ["vacc-gen", "new", "--model", "internlm2-7b", "--checkpoint", "my weights"]
    decision = Choices(model=line[3], checkpoint=line[5]).decide()
    assert decision.preset.name == "internlm2-7b"


@pytest.mark.parametrize(
    ("folder", "name_or_path", "by"),
    [
        ("InternLM2_5-7B-chat", "", "the folder's name"),
        ("models--internlm--internlm2_5-7b-chat/snapshots/0a1b", "", "the folder's name"),
        ("weights", "internlm/internlm2_5-7b-chat", "the name in its config.json"),
    ],
)
def test_a_name_decides_among_models_of_one_shape_and_that_is_said(folder, name_or_path, by):
    config = llama_config("internlm2_5-7b-chat", _name_or_path=name_or_path)
    found = recognize(Path(folder), config)
    assert found.preset.name == "internlm2_5-7b-chat"
    assert found.sentence(Path(folder)).endswith(f": internlm2_5-7b-chat, by {by}")


@pytest.mark.parametrize("name", ["Llama-3.1-8B-Instruct", "Meta-Llama-3.1-8B-Instruct"])
def test_llama_3_is_known_by_both_of_its_names(name):
    found = recognize(Path(name), llama_config("Meta-Llama-3.1-8B-Instruct"))
    assert found.preset.name == "Meta-Llama-3.1-8B-Instruct"


def test_a_text_encoder_is_told_what_makes_its_config():
    with pytest.raises(CheckpointError) as error:
        recognize(Path("bge"), llama_config("Llama-2-7b-hf", model_type="bert"))
    assert "vacc-gen presets config" in error.value.hint


def test_weights_that_are_quantized_already_are_noted(tmp_path):
    config = llama_config("Qwen2.5-7B-Instruct", quantization_config={"quant_method": "gptq"})
    (tmp_path / "config.json").write_text(json.dumps(config))
    for choices in (
        Choices(checkpoint=str(tmp_path)),
        Choices(model="Qwen2.5-7B-Instruct", checkpoint=str(tmp_path)),
    ):
        assert "quantized already (gptq)" in choices.decide().notes[-1]


def test_a_falcon_of_other_sizes_is_a_falcon():
    found = recognize(Path("weights"), {**TINY, "num_hidden_layers": 5})
    assert (found.preset.name, found.equals) == ("falcon", ())


def test_of_unknown_sizes_the_nearest_are_named():
    with pytest.raises(CheckpointError) as error:
        recognize(Path("weights"), llama_config("Llama-2-7b-hf", num_hidden_layers=31))
    assert "weights fits no preset: model_type llama, 31 layers" in error.value.message
    assert error.value.hint.startswith("nearest: Llama-2-7b-")
    with pytest.raises(CheckpointError) as error:
        recognize(Path("weights"), llama_config("Qwen2-7B", model_type="gpt_neox"))
    assert error.value.message == "weights fits no preset: model_type gpt_neox"
    assert "no model that vacc-gen knows has this model_type" in error.value.hint


def test_a_config_that_lacks_a_size_is_named_with_its_model_type():
    with pytest.raises(CheckpointError) as error:
        recognize(Path("weights"), {"model_type": "llama", "hidden_size": 64})
    assert error.value.message.startswith("weights (model_type llama): config.json: num_attention")
    with pytest.raises(CheckpointError, match=r"no model_type in its config\.json"):
        recognize(Path("weights"), {"hidden_size": 64})


def test_where_the_preset_was_not_sure_the_checkpoint_wins(tmp_path):
    config = {**presets.MODELS.find("falcon-rw-7b").config, "num_hidden_layers": 35}
    (tmp_path / "config.json").write_text(json.dumps(config))
    decision = Choices(model="falcon-rw-7b", checkpoint=str(tmp_path)).decide()
    assert "config.json wins: layers is 35, the preset's 36" in decision.notes[-1]


def test_sizes_that_nothing_confirms_are_said_to_be_so():
    (note,) = Choices(model="Qwen2-7B").decide().notes
    assert note.startswith("the sizes of Qwen2-7B are not verified (")
    assert Choices(model="falcon-7b").decide().notes == ()
