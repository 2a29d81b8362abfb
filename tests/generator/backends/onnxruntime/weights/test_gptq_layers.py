"""GPTQ over whole models: what each layer is fed, and what comes out, against transformers."""

from __future__ import annotations

import errno
import os
from importlib.resources import files
from pathlib import Path

import pytest

from tests.falcons import VARIANTS, VOCABULARY, make_falcon
from vacc_gen.schema.errors import CheckpointError, StageError
from vacc_gen.schema.falcon import EMBEDDING
from vacc_gen.schema.precision import Quantization

torch = pytest.importorskip("torch")
from vacc_gen.generator.backends.onnxruntime.weights.gptq_layers import (
    DENSE,
    DOWN,
    QKV,
    UP,
    GptqQuantizer,
    hidden_states,
)
from vacc_gen.generator.backends.onnxruntime.weights.quantize import grids_for
from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint
from vacc_gen.generator.progress import SilentProgress

MODELING = Path(str(files("vacc_gen.generator").joinpath("templates/modeling_falcon_vacc.py")))
WINDOWS, TOKENS = 40, 20


@pytest.fixture(scope="module")
def falcon(tmp_path_factory):
    """The checkpoint of a 7b, in fp32."""
    folder = tmp_path_factory.mktemp("7b")
    make_falcon("7b", folder)
    return open_checkpoint(folder)


def windows():
    generator = torch.Generator().manual_seed(3)
    return torch.randint(VOCABULARY, (WINDOWS, TOKENS), generator=generator, dtype=torch.int32)


def make_quantizer(checkpoint, tmp_path, modeling=MODELING, **settings):
    settings = Quantization(**settings)
    return GptqQuantizer(modeling, checkpoint, windows(), settings, tmp_path, SilentProgress())


def quantize_all(quantizer, checkpoint, bits=4):
    """{parameter: (codes, scales)} of every matrix, in the order in which export asks; grid."""
    grid, _ = grids_for(checkpoint.architecture, bits, Quantization(activations="float"))
    made = {}
    for name, tensor in checkpoint.tensors.items():
        if len(tensor.shape) == 2:
            parts = list(quantizer.quantize(name, grid))
            made[name] = tuple(torch.cat([part[i].clone() for part in parts]) for i in (0, 1))
    return made, grid


@pytest.fixture(scope="module")
def by_default(falcon, tmp_path_factory):
    """{parameter: (codes, scales)} of `falcon` by the default settings."""
    return quantize_all(make_quantizer(falcon, tmp_path_factory.mktemp("work")), falcon)[0]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_layer_is_fed_what_the_quantized_one_before_it_puts_out(variant, tmp_path):
    oracle = make_falcon(variant, tmp_path / "checkpoint")
    checkpoint = open_checkpoint(tmp_path / "checkpoint")
    quantizer = make_quantizer(checkpoint, tmp_path / "work")
    made, grid = quantize_all(quantizer, checkpoint)
    assert list((tmp_path / "work").iterdir()) == []  # unnamed: gone however the process ends
    restored = {name: grid.restore(*pair) for name, pair in made.items() if ".h." in name}
    oracle.load_state_dict(restored, strict=False)
    with torch.no_grad():
        wanted = oracle(windows().long(), output_hidden_states=True).hidden_states[1]
    assert torch.allclose(quantizer._states, wanted, atol=2e-5)
    linears = list(checkpoint.architecture.linears())
    assert {(row["layer"], row["linear"]) for row in quantizer.errors} == {
        (layer, name) for layer in range(2) for name in linears
    }
    assert all(0 < row["gptq"] < row["rtn"] for row in quantizer.errors)


@pytest.mark.parametrize(
    ("setting", "reaches"),
    [({"desc_act": False}, QKV), ({"damp_percent": 0.5}, QKV), ({"true_sequential": False}, DENSE)],
)
def test_settings_of_the_recipe_reach_the_arithmetic(
    falcon, by_default, tmp_path, setting, reaches
):
    quantizer = make_quantizer(falcon, tmp_path, **setting)
    made, _ = quantize_all(quantizer, falcon)
    differing = {
        name
        for name in falcon.architecture.linears()
        if not torch.equal(*(m[f"transformer.h.0.{name}.weight"][0] for m in (made, by_default)))
    }
    assert reaches in differing
    assert reaches == QKV or QKV not in differing  # it is the first, and sees what it would see
    for name, (_, scales) in by_default.items():
        assert torch.equal(made[name][1], scales)  # scales are those of the weights
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


def test_a_disk_without_room_for_hidden_states(monkeypatch, tmp_path):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="hidden states"):
        hidden_states((1000, 512, 4000), tmp_path)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_makes_the_same_codes(falcon, by_default, tmp_path):
    gpu, _ = quantize_all(make_quantizer(falcon, tmp_path, device="cuda"), falcon)
    for name, (codes, scales) in by_default.items():
        assert torch.equal(scales, gpu[name][1])
        assert (codes != gpu[name][0]).double().mean() < 0.05  # rounding feeds on rounding


def test_a_modeling_file_that_leaves_a_layer_out(falcon, tmp_path):
    text = MODELING.read_text()
    edited = tmp_path / "edited.py"
    edited.write_text(text.replace("return self.dense(mixed), (key", "return mixed, (key"))
    quantizer = make_quantizer(falcon, tmp_path, modeling=edited)
    with pytest.raises(StageError, match=r"layer 0 does not use self_attention\.dense"):
        quantize_all(quantizer, falcon)


@pytest.mark.parametrize(
    ("name", "value", "error", "words"),
    [
        (EMBEDDING, float("nan"), CheckpointError, "1 NaN, 0 infinite"),
        (f"transformer.h.1.{DOWN}.weight", float("inf"), CheckpointError, "0 NaN, 1 infinite"),
        (f"transformer.h.0.{UP}.weight", 3e38, StageError, "activations are NaN or infinite"),
    ],
)
def test_values_that_no_hessian_can_be_summed_of(tmp_path, name, value, error, words):
    """They end it; more damping would not help."""
    oracle = make_falcon("7b", tmp_path)
    with torch.no_grad():
        oracle.get_parameter(name).view(-1)[:1] = value
    oracle.save_pretrained(tmp_path, max_shard_size="100KB")
    checkpoint = open_checkpoint(tmp_path)
    with pytest.raises(error, match=words):
        quantize_all(make_quantizer(checkpoint, tmp_path), checkpoint)
