import json
import shlex
import shutil
from pathlib import Path

import pytest

from vacc_gen.generator.new.choices import Choices, next_steps
from vacc_gen.schema.errors import CheckpointError, UsageError

FALCON_TINY = Path(__file__).parents[2] / "data" / "falcon-tiny"


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
    path = Path("weights/config.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_model_alone_gets_what_is_recommended():
    root, recipe = decide(model="Falcon-7B-Instruct")
    assert root == Path("falcon-7b-instruct")
    assert recipe.model.preset == "falcon-7b-instruct"
    assert recipe.model.checkpoint == "/path/to/falcon-7b-instruct"
    assert [precision.value for precision in recipe.precisions] == ["fp16", "int8"]
    assert (recipe.target.tp, recipe.target.prefill, recipe.target.total) == (4, 1024, 2048)


def test_a_checkpoint_alone_tells_the_model(here):
    root, recipe = decide(checkpoint="weights")
    assert root == Path("falcon-tiny")
    assert recipe.model.preset == "falcon-tiny"
    assert recipe.model.checkpoint == "../weights"
    assert recipe.target.tp == 1


def test_of_models_with_the_same_sizes_the_folder_s_name_decides(here):
    from vacc_gen import presets

    for name in ("falcon-7b", "falcon-7b-instruct"):
        Path(name).mkdir()
        Path(name, "config.json").write_text(json.dumps(presets.MODELS.find(name).config))
        assert decide(checkpoint=name)[1].model.preset == name


@pytest.mark.parametrize(
    ("checkpoint", "out", "written"),
    [
        ("weights", None, "../weights"),
        ("weights", "deep/er/w", "../../../weights"),
        ("./weights/", "w", "../weights"),
    ],
)
def test_relative_paths_are_written_as_the_recipe_sees_them(here, checkpoint, out, written):
    choices = Choices(checkpoint=checkpoint, out=out, calibration="c4:data/c4.gz")
    decision = choices.decide()
    root, recipe = decision.root, decision.recipe
    assert recipe.model.checkpoint == written
    assert (root / recipe.model.checkpoint).resolve() == here / "weights" or not root.exists()
    assert recipe.calibration.path == written.replace("weights", "data/c4.gz")


def test_an_absolute_path_stays_and_need_not_exist():
    _, recipe = decide(model="falcon-7b", checkpoint="/models/falcon-7b")
    assert recipe.model.checkpoint == "/models/falcon-7b"


def test_every_choice_reaches_the_recipe_and_the_command():
    choices = Choices(
        model="falcon-40b",
        out="w",
        precision=("int8", "kv8", "int8"),
        prefill=512,
        total=1024,
        tp=8,
        card="va16",
        calibration="Alpaca:/data/alpaca.json",
        optimize_for="latency",
        align_qkv=True,
    )
    decision = choices.decide()
    root, recipe = decision.root, decision.recipe
    assert root == Path("w")
    assert [precision.value for precision in recipe.precisions] == ["int8", "kv8"]
    assert recipe.target.model_dump() == {
        "card": "VA16",
        "tp": 8,
        "prefill": 512,
        "total": 1024,
        "optimize_for": "latency",
        "align_qkv": True,
        "workers": 4,
    }
    calibration = recipe.calibration
    assert (calibration.set, calibration.path) == ("alpaca", "/data/alpaca.json")
    assert (calibration.samples, calibration.seqlen) == (128, 512)
    assert shlex.join(choices.command()) == (
        "vacc-gen new --model falcon-40b --out w --precision int8 --precision kv8 --precision int8 "
        "--prefill 512 --total 1024 --tp 8 --card va16 --calibration Alpaca:/data/alpaca.json "
        "--optimize-for latency --align-qkv"
    )


@pytest.mark.parametrize(
    ("choices", "message", "hint"),
    [
        ({}, "Neither --model nor --checkpoint", "--model falcon-7b-instruct"),
        ({"model": "falcn-7b"}, "no model is called 'falcn-7b'", "falcon-7b"),
        ({"precision": ("fp8",)}, "no precision is called 'fp8'", "fp16, int8"),
        ({"prefill": 1000}, "prefill 1000 is not a multiple of 16", "992 and 1008"),
        ({"total": 2050}, "total 2050 is not a multiple of 16", "2048 and 2064"),
        ({"prefill": 7}, "prefill 7 is not", "nearest: 16"),
        ({"prefill": 0}, "prefill 0 is not", "nearest: 16"),
        ({"prefill": -32}, "prefill -32 is not", "nearest: 16"),
        ({"prefill": 4096}, "4096 tokens does not fit a total of 2048", "4096 or more"),
        ({"model": "falcon"}, "falcon stands for models of any size", "--checkpoint"),
        ({"card": "VA17"}, "no card is called 'VA17'", "VA16"),
        ({"calibration": "alpacca:/x"}, "no calibration set is called 'alpacca'", "alpaca"),
        ({"calibration": "alpaca"}, "does not say where", "alpaca:/path/to/alpaca_data_cleaned"),
        ({"calibration": "c4:/x", "precision": ("fp16",)}, "is for int8", None),
        ({"checkpoint": "/a\nb"}, "control character", None),
    ],
)
def test_impossible_choices_say_what_would_do(choices, message, hint):
    with pytest.raises(UsageError) as error:
        Choices(**({"model": "falcon-7b"} if choices else {}) | choices).decide()
    assert message in error.value.message
    assert (hint or "") in (error.value.hint or "")


def test_a_checkpoint_of_other_sizes_than_the_preset_is_named_size_by_size(here):
    change_config(num_hidden_layers=3)
    with pytest.raises(CheckpointError) as error:
        Choices(model="falcon-tiny", checkpoint="weights").decide()
    assert "layers is 3, the preset's 4" in error.value.message
    assert "name no model" in error.value.hint
    assert decide(checkpoint="weights")[1].model.preset == "falcon"


def test_a_checkpoint_of_another_architecture(here):
    change_config(model_type="gpt2")
    with pytest.raises(CheckpointError, match="'gpt2'"):
        Choices(model="falcon-tiny", checkpoint="weights").decide()
    with pytest.raises(CheckpointError, match="gpt2"):
        Choices(checkpoint="weights").decide()


@pytest.mark.parametrize("model", ["tiiuae/falcon-7b", "TIIUAE/Falcon-7B", "FALCON-7B"])
def test_a_model_is_found_by_its_hugging_face_id_too(model):
    assert Choices(model=model).decide().recipe.model.preset == "falcon-7b"


def test_an_id_of_no_preset_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="no model is called 'someone/falcon-7b'") as refused:
        Choices(model="someone/falcon-7b").decide()
    assert "falcon-7b" in refused.value.hint


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
    ("model", "maker"),
    [
        ("falcon-7b", "the embedded backend makes it"),
        ("Meta-Llama-3-8B", "nor does the embedded backend, which knows Falcon alone"),
    ],
)
def test_who_makes_int4_is_told(model, maker):
    decision = Choices(model=model, precision=("fp16", "int4")).decide()
    assert decision.notes[-1] == f"int4: the compiler makes none, so no compile config; {maker}"
    assert not any("int4" in note for note in Choices(model=model).decide().notes)


def test_a_folder_without_a_config(here):
    Path("weights/config.json").unlink()
    for model in (None, "falcon-tiny"):
        with pytest.raises(CheckpointError, match=r"has no config\.json"):
            Choices(model=model, checkpoint="weights").decide()
    Path("file").touch()
    for model in (None, "falcon-tiny"):
        with pytest.raises(UsageError, match="file is no folder"):
            Choices(model=model, checkpoint="file").decide()
    Path("empty").mkdir()
    assert Choices(model="falcon-tiny", checkpoint="empty").decide()  # to be downloaded to
    with pytest.raises(UsageError, match="absent is no folder"):
        Choices(checkpoint="absent").decide()


def test_the_next_steps_begin_with_the_weights_where_they_lack(here):
    root, recipe = decide(model="falcon-7b", out="my w")
    steps = next_steps(root, recipe)
    assert [step.partition("    #")[0] for step in steps] == [
        "edit 'my w/vacc.yaml'",
        "vacc-gen generate 'my w'",
        "vacc-gen fetch 'my w'",
        "vacc-gen validate 'my w'",
        "vacc-gen build 'my w'",
    ]
    root, recipe = decide(checkpoint="weights")
    assert next_steps(root, recipe) == [
        "vacc-gen validate falcon-tiny",
        "vacc-gen build falcon-tiny",
    ]


def test_the_next_steps_fetch_weights_that_are_not_there_yet(here):
    root, recipe = decide(model="falcon-7b", checkpoint="weights-to-be")
    (fetch, _, _) = next_steps(root, recipe)
    assert fetch == "vacc-gen fetch falcon-7b    # the weights, if you lack them"


def test_the_next_steps_say_where_another_model_than_falcon_is_built(here):
    steps = next_steps(*decide(model="Qwen2-7B"))
    assert steps[-1] == "vacc-gen build Qwen2-7B    # where the vendor's vamc is"


def test_the_next_steps_fetch_calibration_texts_that_are_not_there_yet(here):
    choices = {"checkpoint": "weights", "calibration": "ceval:texts/ceval-exam.zip"}
    root, recipe = decide(**choices)
    fetch = "vacc-gen fetch falcon-tiny    # the calibration texts, if you lack them"
    assert next_steps(root, recipe)[0] == fetch
    Path("texts").mkdir()
    Path("texts/ceval-exam.zip").touch()
    assert len(next_steps(root, recipe)) == 2
    both, recipe = decide(model="falcon-7b", checkpoint="later", calibration="c4:texts")
    fetch = "vacc-gen fetch falcon-7b    # the weights and the calibration texts, if you lack them"
    assert next_steps(both, recipe)[0] == fetch
