"""GPTQ over whole models: what each layer is fed, and what comes out, against transformers."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from tests.falcons import VARIANTS, VOCABULARY, make_falcon
from vacc_gen.schema.errors import StageError
from vacc_gen.schema.falcon import architecture_from_config
from vacc_gen.schema.precision import Quantization

torch = pytest.importorskip("torch")
from vacc_gen.generator.backends.onnxruntime.weights.gptq import activations as activations_module
from vacc_gen.generator.backends.onnxruntime.weights.gptq.layerwise import (
    DENSE,
    DOWN,
    QKV,
    UP,
    GptqQuantizer,
    stages_of,
)
from vacc_gen.generator.backends.onnxruntime.weights.quantize import grid_for
from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint
from vacc_gen.generator.progress import SilentProgress

MODELING = Path(str(files("vacc_gen.generator").joinpath("templates/modeling_falcon_vacc.py")))
WINDOWS, TOKENS = 6, 20


@pytest.fixture(scope="module", params=VARIANTS)
def falcon(request, tmp_path_factory):
    """(checkpoint, oracle) of a variant, in fp32."""
    folder = tmp_path_factory.mktemp(request.param)
    oracle = make_falcon(request.param, folder)
    return open_checkpoint(folder), oracle


def windows_of(count=WINDOWS):
    generator = torch.Generator().manual_seed(3)
    return torch.randint(VOCABULARY, (count, TOKENS), generator=generator, dtype=torch.int32)


def make_quantizer(checkpoint, tmp_path, windows=None, modeling=MODELING, **settings):
    settings = Quantization(**settings)
    windows = windows_of() if windows is None else windows
    return GptqQuantizer(modeling, checkpoint, windows, settings, tmp_path, SilentProgress())


def quantize_all(quantizer, checkpoint, bits=8):
    """{parameter: (codes, scales)} of every matrix, in the order in which export asks."""
    grid = grid_for(checkpoint.architecture, bits, None)
    made = {}
    for name, tensor in checkpoint.tensors.items():
        if len(tensor.shape) == 2:
            parts = list(quantizer.quantize(checkpoint, name, grid))
            made[name] = tuple(torch.cat([part[i].clone() for part in parts]) for i in (1, 2))
    return made, grid


def hidden_states(oracle, windows):
    with torch.no_grad():
        return oracle(windows.long(), output_hidden_states=True).hidden_states


def test_the_first_layer_is_fed_the_embeddings(falcon, tmp_path):
    checkpoint, oracle = falcon
    quantizer = make_quantizer(checkpoint, tmp_path)
    states = quantizer._embed()
    assert torch.equal(states.read(0, WINDOWS), hidden_states(oracle, windows_of())[0])


def test_a_layer_is_fed_what_the_quantized_one_before_it_puts_out(falcon, tmp_path):
    checkpoint, oracle = falcon
    quantizer = make_quantizer(checkpoint, tmp_path)
    made, grid = quantize_all(quantizer, checkpoint)
    kept = {name: value.clone() for name, value in oracle.state_dict().items()}
    restored = {
        name: grid.restore(codes, scales)
        for name, (codes, scales) in made.items()
        if name.startswith("transformer.h.")
    }
    oracle.load_state_dict(restored, strict=False)
    try:
        wanted = hidden_states(oracle, windows_of())[1]
    finally:
        oracle.load_state_dict(kept)
    found = quantizer._states.read(0, WINDOWS)
    assert torch.allclose(found, wanted, atol=2e-5)


def test_every_linear_layer_of_every_layer_is_measured(falcon, tmp_path):
    checkpoint, _ = falcon
    quantizer = make_quantizer(checkpoint, tmp_path, windows_of(40))
    quantize_all(quantizer, checkpoint, bits=4)
    linears = list(checkpoint.architecture.linears())
    assert {(e.layer, e.linear) for e in quantizer.errors} == {
        (layer, name) for layer in range(2) for name in linears
    }
    assert all(0 < error.gptq < error.rtn for error in quantizer.errors)


def test_states_on_disk_give_the_same_codes(falcon, tmp_path, monkeypatch):
    checkpoint, _ = falcon
    in_memory, _ = quantize_all(make_quantizer(checkpoint, tmp_path), checkpoint)
    monkeypatch.setattr(activations_module, "MEMORY_SHARE", 0.0)
    quantizer = make_quantizer(checkpoint, tmp_path)
    on_disk, _ = quantize_all(quantizer, checkpoint)
    assert quantizer.settings_told()["spilled"]
    quantizer.close()
    for name, (codes, scales) in in_memory.items():
        assert torch.equal(codes, on_disk[name][0])
        assert torch.equal(scales, on_disk[name][1])


def test_without_true_sequential_layers_of_a_block_do_not_see_each_other(falcon, tmp_path):
    checkpoint, _ = falcon
    one, _ = quantize_all(make_quantizer(checkpoint, tmp_path), checkpoint)
    quantizer = make_quantizer(checkpoint, tmp_path, true_sequential=False)
    other, _ = quantize_all(quantizer, checkpoint)
    first = "transformer.h.0."
    assert torch.equal(one[f"{first}{QKV}.weight"][0], other[f"{first}{QKV}.weight"][0])
    assert not torch.equal(one[f"{first}{DENSE}.weight"][0], other[f"{first}{DENSE}.weight"][0])
    assert quantizer.settings_told()["true_sequential"] is False


@pytest.mark.parametrize("setting", [{"desc_act": False}, {"damp_percent": 0.5}], ids=list)
def test_settings_of_the_recipe_reach_the_arithmetic(falcon, tmp_path, setting):
    checkpoint, _ = falcon
    one, _ = quantize_all(make_quantizer(checkpoint, tmp_path, windows_of(40)), checkpoint, 4)
    quantizer = make_quantizer(checkpoint, tmp_path, windows_of(40), **setting)
    other, _ = quantize_all(quantizer, checkpoint, 4)
    name = f"transformer.h.0.{QKV}.weight"
    assert not torch.equal(one[name][0], other[name][0])
    assert torch.equal(one[name][1], other[name][1])  # scales are those of the weights
    assert quantizer.settings_told().items() >= setting.items()
    if "damp_percent" in setting:
        assert {error.damp_percent for error in quantizer.errors} == {0.5}


def test_gptaq_aims_at_the_layers_as_they_were(falcon, tmp_path):
    checkpoint, oracle = falcon
    plain, _ = quantize_all(make_quantizer(checkpoint, tmp_path, gptaq=False), checkpoint, 4)
    quantizer = make_quantizer(checkpoint, tmp_path, gptaq=True)
    aimed, _ = quantize_all(quantizer, checkpoint, 4)
    wanted = hidden_states(oracle, windows_of())[1]
    assert torch.allclose(quantizer._unquantized.read(0, WINDOWS), wanted, atol=2e-5)
    first, later = f"transformer.h.0.{QKV}.weight", f"transformer.h.1.{QKV}.weight"
    assert torch.equal(plain[first][0], aimed[first][0])  # nothing has drifted yet
    assert not torch.equal(plain[later][0], aimed[later][0])
    assert torch.equal(plain[later][1], aimed[later][1])
    quantizer.close()


@pytest.mark.parametrize("bits", [8, 4])
def test_gptaq_is_for_four_bits_unless_told(falcon, tmp_path, bits):
    checkpoint, _ = falcon
    quantizer = make_quantizer(checkpoint, tmp_path)
    quantize_all(quantizer, checkpoint, bits)
    assert quantizer.settings_told()["gptaq"] is (bits == 4)


def architecture(**changes):
    config = {
        "model_type": "falcon",
        "hidden_size": 64,
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "vocab_size": 10,
    }
    return architecture_from_config(config | changes)


def test_the_order_within_a_block():
    seven = architecture()
    assert stages_of(seven, True) == (((QKV, UP),), ((DENSE,), (DOWN,)))
    forty = architecture(new_decoder_architecture=True, num_kv_heads=1)
    assert stages_of(forty, True) == (((QKV,), (UP,)), ((DENSE,), (DOWN,)))
    rw = architecture(parallel_attn=False)
    assert stages_of(rw, True) == (((QKV,),), ((DENSE,),), ((UP,),), ((DOWN,),))
    assert stages_of(rw, False) == (((QKV,), (DENSE,), (UP,), (DOWN,)),)


def test_threads_are_left_as_they_were(falcon, tmp_path):
    checkpoint, _ = falcon
    before = torch.get_num_threads()
    quantize_all(make_quantizer(checkpoint, tmp_path), checkpoint)
    assert torch.get_num_threads() == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there(falcon, tmp_path):
    with pytest.raises(StageError, match="cuda:3, and PyTorch sees 0 GPUs"):
        make_quantizer(falcon[0], tmp_path, device="cuda:3")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_comes_to_the_same(falcon, tmp_path):
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
