import json

import yaml


def test_list_names_every_kind(run):
    code, out, err = run("presets", "list")
    assert (code, err) == (0, "")
    kinds = [line for line in out.splitlines() if not line.startswith(" ")]
    assert kinds == ["models", "encoders", "served", "cards", "calibration", "environments"]
    assert max(len(line) for line in out.splitlines()) <= 100
    assert "  falcon-7b-instruct " in out


def test_list_takes_words_in_whatever_capitals(run):
    _, out, _ = run("presets", "list", "FALCON", "180b")
    names = [line.split()[0] for line in out.splitlines()]
    assert names == ["models", "falcon-180B", "falcon-180B-chat"]
    _, out, _ = run("presets", "list", "falcon")
    environments = out.partition("environments\n")[2].split("\n")
    assert [line.split()[0] for line in environments if line] == ["falcon-py310"]
    code, out, err = run("presets", "list", "falcon", "nothing-like-it")
    assert (code, out) == (2, "")
    assert err == "error: no preset matches 'falcon' and 'nothing-like-it'\n"


def test_config_of_an_encoder_is_yaml_that_validate_takes(run, tmp_path):
    code, out, err = run("presets", "config", "BGE-M3", "--precision", "int8", "--length", "1024")
    assert (code, err) == (0, "")
    assert yaml.safe_load(out)["name"] == "bge-m3-1024-int8"
    (tmp_path / "bge.yaml").write_text(out)
    assert run("validate", tmp_path)[0] == 0
    err = run("presets", "config", "bge-m4").err
    assert err == "error: no encoder is called 'bge-m4'\nhint: did you mean bge-m3?\n"


def test_list_for_programs_is_a_list_of_objects_with_names(run):
    code, out, _ = run("presets", "list", "--json")
    by_name = {preset["name"]: preset for preset in json.loads(out)}
    assert code == 0
    assert {"falcon-7b", "Meta-Llama-3-8B", "VA16", "alpaca", "falcon-py310"} <= by_name.keys()
    assert by_name["VA16"]["kind"] == "cards"
    assert by_name["falcon-7b"]["geometry"]["kv_heads"] == 1
    assert json.loads(run("presets", "list", "nothing-like-it", "--json")[1]) == []


def test_show_is_the_file_in_whatever_capitals(run):
    code, text, _ = run("presets", "show", "ALPACA")
    assert code == 0
    assert yaml.safe_load(text)["seqlen"] == 512
    code, _, err = run("presets", "show", "zzzzzz")
    assert code == 2
    assert len(err) < 200
