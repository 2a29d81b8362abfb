"""GPTQ over whole models: what each layer is fed, and what comes out, against transformers."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from tests.falcons import VARIANTS, VOCABULARY, make_falcon
from vacc_gen.schema.errors import StageError
from vacc_gen.schema.falcon import architecture_from_config
from vacc_gen.schema.precision import Quantization

torch = pytest.importorskip("torch")
from vacc_gen.generator.backends.onnxruntime.weights.gptq.layerwise import (
    DENSE,
    DOWN,
    QKV,
    UP,
    GptqQuantizer,
    hidden_states,
    quantization_order,
)
from vacc_gen.generator.backends.onnxruntime.weights.quantize import grid_for
from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint
from vacc_gen.generator.progress import SilentProgress

MODELING = Path(str(files("vacc_gen.generator").joinpath("templates/modeling_falcon_vacc.py")))
WINDOWS, TOKENS = 40, 20


@pytest.fixture(scope="module")
def falcon(tmp_path_factory):
    """(checkpoint, oracle) of a 7b, in fp32."""
    folder = tmp_path_factory.mktemp("7b")
    oracle = make_falcon("7b", folder)
    return open_checkpoint(folder), oracle


def windows_of(count=WINDOWS):
    generator = torch.Generator().manual_seed(3)
    return torch.randint(VOCABULARY, (count, TOKENS), generator=generator, dtype=torch.int32)


def make_quantizer(checkpoint, tmp_path, modeling=MODELING, **settings):
    settings = Quantization(**settings)
    return GptqQuantizer(modeling, checkpoint, windows_of(), settings, tmp_path, SilentProgress())


def quantize_all(quantizer, checkpoint, bits=8):
    """{parameter: (codes, scales)} of every matrix, in the order in which export asks; grid."""
    grid = grid_for(checkpoint.architecture, bits, None)
    made = {}
    for name, tensor in checkpoint.tensors.items():
        if len(tensor.shape) == 2:
            parts = list(quantizer.quantize(name, grid))
            made[name] = tuple(torch.cat([part[i].clone() for part in parts]) for i in (0, 1))
    return made, grid


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_layer_is_fed_what_the_quantized_one_before_it_puts_out(variant, tmp_path):
    oracle = make_falcon(variant, tmp_path / "checkpoint")
    checkpoint = open_checkpoint(tmp_path / "checkpoint")
    quantizer = make_quantizer(checkpoint, tmp_path / "work")
    made, grid = quantize_all(quantizer, checkpoint, bits=4)
    assert list((tmp_path / "work").iterdir()) == []  # unnamed: gone however the process ends
    restored = {name: grid.restore(*pair) for name, pair in made.items() if ".h." in name}
    oracle.load_state_dict(restored, strict=False)
    with torch.no_grad():
        wanted = oracle(windows_of().long(), output_hidden_states=True).hidden_states[1]
    assert torch.allclose(quantizer._states, wanted, atol=2e-5)
    linears = list(checkpoint.architecture.linears())
    assert {(row["layer"], row["linear"]) for row in quantizer.errors} == {
        (layer, name) for layer in range(2) for name in linears
    }
    assert all(0 < row["gptq"] < row["rtn"] for row in quantizer.errors)


def test_without_true_sequential_layers_of_a_block_do_not_see_each_other(falcon, tmp_path):
    checkpoint, _ = falcon
    one, _ = quantize_all(make_quantizer(checkpoint, tmp_path), checkpoint)
    quantizer = make_quantizer(checkpoint, tmp_path, true_sequential=False)
    other, _ = quantize_all(quantizer, checkpoint)
    first = "transformer.h.0."
    assert torch.equal(one[f"{first}{QKV}.weight"][0], other[f"{first}{QKV}.weight"][0])
    assert not torch.equal(one[f"{first}{DENSE}.weight"][0], other[f"{first}{DENSE}.weight"][0])
    assert quantizer.settings()["true_sequential"] is False


@pytest.mark.parametrize("setting", [{"desc_act": False}, {"damp_percent": 0.5}], ids=list)
def test_settings_of_the_recipe_reach_the_arithmetic(falcon, tmp_path, setting):
    checkpoint, _ = falcon
    one, _ = quantize_all(make_quantizer(checkpoint, tmp_path), checkpoint, 4)
    quantizer = make_quantizer(checkpoint, tmp_path, **setting)
    other, _ = quantize_all(quantizer, checkpoint, 4)
    name = f"transformer.h.0.{QKV}.weight"
    assert not torch.equal(one[name][0], other[name][0])
    assert torch.equal(one[name][1], other[name][1])  # scales are those of the weights
    assert quantizer.settings() == {
        "method": "gptq",
        "desc_act": True,
        "damp_percent": 0.01,
        "true_sequential": True,
        "device": "cpu",
        "windows": WINDOWS,
        "seqlen": TOKENS,
        **setting,
    }
    damping = setting.get("damp_percent", 0.01)
    assert {row["damp_percent"] for row in quantizer.errors} == {damping}


@pytest.mark.parametrize(
    ("changes", "sequential", "order"),
    [
        ({}, True, (((QKV, UP),), ((DENSE,), (DOWN,)))),
        ({"new_decoder_architecture": True}, True, (((QKV,), (UP,)), ((DENSE,), (DOWN,)))),
        ({"parallel_attn": False}, True, (((QKV,),), ((DENSE,),), ((UP,),), ((DOWN,),))),
        ({"parallel_attn": False}, False, (((QKV,), (DENSE,), (UP,), (DOWN,)),)),
    ],
    ids=["7b", "40b", "rw", "all at once"],
)
def test_the_order_within_a_block(changes, sequential, order):
    config = {
        "model_type": "falcon",
        "hidden_size": 64,
        "num_attention_heads": 2,
        "num_kv_heads": 1,
        "num_hidden_layers": 1,
        "vocab_size": 10,
    }
    assert quantization_order(architecture_from_config(config | changes), sequential) == order


def test_a_disk_without_room_for_hidden_states(monkeypatch, tmp_path):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StageError, match=r"of 1000 calibration windows take 8\.19 GB") as raised:
        hidden_states((1000, 512, 4000), tmp_path)
    assert "calibration.samples" in raised.value.hint


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there(falcon, tmp_path):
    with pytest.raises(StageError, match="cuda:3, but PyTorch sees 0 GPUs"):
        make_quantizer(falcon[0], tmp_path, device="cuda:3")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_makes_the_same_codes(falcon, tmp_path):
    checkpoint, _ = falcon
    cpu, _ = quantize_all(make_quantizer(checkpoint, tmp_path), checkpoint)
    gpu, _ = quantize_all(make_quantizer(checkpoint, tmp_path, device="cuda"), checkpoint)
    for name, (codes, scales) in cpu.items():
        assert torch.equal(scales, gpu[name][1])
        assert (codes != gpu[name][0]).double().mean() < 0.05  # rounding feeds on rounding


def test_a_modeling_file_that_leaves_a_layer_out(falcon, tmp_path):
    text = MODELING.read_text()
    edited = tmp_path / "edited.py"
    edited.write_text(text.replace("return self.dense(mixed), (key", "return mixed, (key"))
    quantizer = make_quantizer(falcon[0], tmp_path, modeling=edited)
    with pytest.raises(StageError, match=r"layer 0 does not use self_attention\.dense"):
        quantize_all(quantizer, falcon[0])


def test_a_modeling_file_of_another_model(falcon, tmp_path):
    checkpoint = falcon[0]
    biased = replace(checkpoint.folder, config={**checkpoint.folder.config, "bias": True})
    unbiased = replace(checkpoint.architecture, bias=False)
    with pytest.raises(StageError, match="parameters that the checkpoint lacks"):
        make_quantizer(replace(checkpoint, folder=biased, architecture=unbiased), tmp_path)
