"""GPTQ: one matrix against the algorithm as published, whole models against transformers."""

import errno
import itertools
import math
import os
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from tests.falcons import VARIANTS, VOCABULARY, make_falcon
from tests.weight_folders import open_checkpoint
from tests.workspaces import CALIBRATION, FALCON_TINY, HELD_OUT
from vacc_gen.generator.backends.onnxruntime.export import plan_export
from vacc_gen.generator.backends.onnxruntime.verify import choose_windows, score_windows
from vacc_gen.generator.backends.onnxruntime.weights import gptq as module
from vacc_gen.generator.backends.onnxruntime.weights.gptq import (
    DENSE,
    DOWN,
    QKV,
    UP,
    GptqQuantizer,
    Hessian,
    hidden_states,
)
from vacc_gen.generator.backends.onnxruntime.weights.quantize import (
    Grid,
    grids_for,
    round_to_nearest,
)
from vacc_gen.generator.calibration.tokenizer import Tokenizer
from vacc_gen.generator.calibration.windows import calibrate, read_windows, windows_file
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.errors import CheckpointError, StageError
from vacc_gen.schema.falcon import EMBEDDING
from vacc_gen.schema.precision import PER_CHANNEL
from vacc_gen.schema.recipe import Calibration, Quantization, Verification

CPU = torch.device("cpu")
INPUTS, OUTPUTS, DAMP = 160, 96, 0.01
MODELING = Path(str(files("vacc_gen.generator").joinpath("templates/modeling_falcon_vacc.py")))
WINDOWS, TOKENS = 40, 20


@pytest.fixture(autouse=True)
def small_panels(monkeypatch):
    """Neither a block's size divides a panel's, nor a panel's the inputs."""
    monkeypatch.setattr(module, "PANEL", 72)
    monkeypatch.setattr(module, "BLOCK", 20)


def matrix(tokens=600):
    """Inputs (tokens, K) that hang together, and weights (M, K)."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(tokens, INPUTS, generator=generator)
    x = x @ (torch.randn(INPUTS, INPUTS, generator=generator) * 0.3 + torch.eye(INPUTS))
    return x, torch.randn(OUTPUTS, INPUTS, generator=generator)


def quantized(x, weight, grid, desc_act=True):
    """Codes and scales; the damping that it took is the wanted one."""
    hessian = Hessian(INPUTS, CPU)
    for part in x.split(100):
        hessian.add(part)
    assert hessian.factor(DAMP, desc_act) == DAMP
    return hessian.quantize(weight, grid)


def published(x, weight, grid, order):
    """Signed codes by Frantar et al., algorithm 1, in fp64: inputs in `order`, static scales."""
    hessian = x.double().mT @ x.double()
    hessian += DAMP * hessian.diagonal().mean() * torch.eye(len(hessian))
    inverse = torch.linalg.inv(hessian[order][:, order])
    upper = torch.linalg.cholesky(inverse, upper=True)
    _, scales = round_to_nearest(weight, grid)
    scales = scales.double().repeat_interleave(len(order) // scales.shape[1], dim=1)[:, order]
    rest = weight.double()[:, order]
    codes = torch.zeros_like(rest)
    for k in range(len(order)):
        codes[:, k] = (rest[:, k] / scales[:, k]).round().clamp(-grid.max_code, grid.max_code)
        error = (rest[:, k] - codes[:, k] * scales[:, k]) / upper[k, k]
        rest[:, k:] -= error[:, None] * upper[k, k:]
    return codes[:, torch.argsort(order)]


@pytest.mark.parametrize(
    ("bits", "group_size", "desc_act"),
    list(itertools.product([8, 4], [32, PER_CHANNEL], [False, True])),
)
def test_codes_are_those_of_the_published_algorithm(bits, group_size, desc_act):
    x, weight = matrix()
    grid = Grid(bits, group_size)
    codes, scales = quantized(x, weight, grid, desc_act)
    order = x.square().sum(0).argsort(descending=True) if desc_act else torch.arange(INPUTS)
    wanted = published(x, weight, grid, order)
    differing = (codes.double() - grid.zero_code != wanted).double().mean()
    assert differing < 0.01  # ties that fp32 rounds the other way, and what follows from them
    nearest = round_to_nearest(weight, grid)
    assert torch.equal(scales, nearest[1])
    errors = [
        float(((grid.restore(*made) - weight) @ x.mT).square().sum())
        for made in ((codes, scales), nearest)
    ]
    assert errors[0] < 0.7 * errors[1]


def test_sweeps_panels_and_dtypes_change_no_code(monkeypatch):
    x, weight = matrix()
    whole = quantized(x, weight.bfloat16(), Grid(4, 32))
    monkeypatch.setattr(module, "SWEEP_BYTES", 4 * INPUTS * 10)
    monkeypatch.setattr(module, "PANEL", 1024)
    parts = quantized(x, weight.bfloat16().float(), Grid(4, 32))
    assert torch.equal(parts[0], whole[0])


def test_inputs_that_are_always_zero_are_rounded_to_nearest():
    """And need no more damping; an output that is always zero has no scale to divide by."""
    x, weight = matrix()
    x[:, [3, 39]] = 0
    weight[7] = 0
    codes, scales = quantized(x, weight, Grid(8, 32))
    assert torch.equal(codes[:, [3, 39]], round_to_nearest(weight, Grid(8, 32))[0][:, [3, 39]])
    assert (codes[7] == 128).all() and (scales[7] == 1).all()
    silent, _ = quantized(torch.zeros(50, INPUTS), weight, Grid(8, 32))
    assert torch.equal(silent, round_to_nearest(weight, Grid(8, 32))[0])


def test_damping_grows_until_the_sum_can_be_factored():
    hessian = Hessian(INPUTS, CPU)
    hessian.add(matrix()[0][:8])  # of rank 8
    exponent = math.log10(hessian.factor(1e-12, desc_act=True))
    assert -12 < exponent < -2 and exponent == pytest.approx(round(exponent))
    assert torch.isfinite(torch.tril(hessian.matrix)).all()


# --- whole models ---------------------------------------------------------------------------


def windows():
    generator = torch.Generator().manual_seed(3)
    return torch.randint(VOCABULARY, (WINDOWS, TOKENS), generator=generator, dtype=torch.int32)


def make_quantizer(checkpoint, tmp_path, modeling=MODELING, **settings):
    settings = Quantization(**settings)
    return GptqQuantizer(modeling, checkpoint, windows(), settings, tmp_path, Progress())


def quantize_all(quantizer, checkpoint):
    """{parameter: (codes, scales)} of every matrix, in the order in which export asks; grid."""
    grid, _ = grids_for(checkpoint.architecture, 4, Quantization())
    made = {}
    for name, tensor in checkpoint.tensors.items():
        if len(tensor.shape) == 2:
            parts = list(quantizer.quantize(name, grid))
            made[name] = tuple(torch.cat([part[i].clone() for part in parts]) for i in (0, 1))
    return made, grid


@pytest.fixture(scope="module")
def falcon(tmp_path_factory):
    """The checkpoint of a 7b, in fp32."""
    folder = tmp_path_factory.mktemp("7b")
    make_falcon("7b", folder)
    return open_checkpoint(folder)


@pytest.fixture
def by_default(falcon, tmp_path):
    """{parameter: (codes, scales)} of `falcon` by the default settings."""
    return quantize_all(make_quantizer(falcon, tmp_path / "default"), falcon)[0]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_layer_is_fed_what_the_quantized_one_before_it_puts_out(variant, tmp_path, monkeypatch):
    oracle = make_falcon(variant, tmp_path / "checkpoint")
    checkpoint = open_checkpoint(tmp_path / "checkpoint")
    scores_bytes = 4 * TOKENS**2 * checkpoint.architecture.geometry.attention_heads
    monkeypatch.setattr(module, "SCORES_BYTES", 3 * scores_bytes)
    quantizer = make_quantizer(checkpoint, tmp_path / "work")
    made, grid = quantize_all(quantizer, checkpoint)
    assert list((tmp_path / "work").iterdir()) == []  # unnamed: gone however the process ends
    restored = {name: grid.restore(*pair) for name, pair in made.items() if ".h." in name}
    oracle.load_state_dict(restored, strict=False)
    with torch.no_grad():
        wanted = oracle(windows().long(), output_hidden_states=True).hidden_states[1]
    assert {len(states) for states in quantizer._states} == {3, 1}
    assert all(parameter.is_meta for parameter in quantizer._model.parameters())
    assert torch.allclose(torch.cat(quantizer._states), wanted, atol=2e-5)


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


def test_the_damping_that_was_needed_is_reported(falcon, tmp_path, monkeypatch):
    monkeypatch.setattr(Hessian, "factor", lambda *_: 0.25)
    quantizer = make_quantizer(falcon, tmp_path)
    quantize_all(quantizer, falcon)
    assert quantizer.settings()["damp_percent"] == 0.25


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
    edited = tmp_path / "edited.py"
    edited.write_text(
        MODELING.read_text().replace("return self.dense(mixed), (key", "return mixed, (key")
    )
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


# --- trained models, one of each style -------------------------------------------------------

SEEDS = (0, 1, 2)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["falcon-tiny", "falcon-tiny-40b", "falcon-tiny-rw"])
def test_int8_costs_next_to_nothing_and_gptq_makes_int4_cheaper(model, tmp_path):
    """On all of the held-out text, through ONNX Runtime, as built.

    GPTQ with several draws of texts: any small change moves perplexity by a tenth of a percent.
    """
    checkpoint = open_checkpoint(FALCON_TINY.with_name(model))
    tokenizer_json = checkpoint.folder.path / "tokenizer.json"
    progress, settings = Progress(), Quantization()

    def drawn(seed):
        spec = Calibration(set="kjv", path=str(CALIBRATION), samples=128, seqlen=256, seed=seed)
        calibrate(spec, checkpoint.folder, tmp_path, progress)
        return torch.from_numpy(read_windows(windows_file(spec, tmp_path)))

    ids = Tokenizer(tokenizer_json).encode(HELD_OUT.read_bytes())
    chosen = choose_windows(ids, Verification(window=128, perplexity_windows=len(ids)), 128, 1)

    def perplexity(dtype, seed=None, settings=settings):
        quantizer = None
        if seed is not None:
            quantizer = GptqQuantizer(
                MODELING, checkpoint, drawn(seed), settings, tmp_path, progress
            )
        out, export = tmp_path / "out", plan_export(checkpoint, dtype, quantization=settings)
        export.write(out, quantizer=quantizer, force=True)
        return chosen.perplexity(score_windows(export, out, chosen, progress))

    base = perplexity("fp16")
    rtn, gptq = {}, {}
    for dtype in ("int8", "int4"):
        rtn[dtype] = perplexity(dtype) / base - 1
        gptq[dtype] = [perplexity(dtype, seed) / base - 1 for seed in SEEDS]
    exact = perplexity("int8", settings=Quantization(activations="float"))
    assert perplexity("int8") == pytest.approx(exact, rel=0.001)
    assert all(abs(change) < 0.005 for change in (rtn["int8"], *gptq["int8"]))
    assert sum(gptq["int4"]) / len(SEEDS) < rtn["int4"]
