"""GPTQ against the algorithm as published, with its inverse Hessian, in fp64."""

from __future__ import annotations

import itertools

import pytest

from vacc_gen.schema.precision import PER_CHANNEL

torch = pytest.importorskip("torch")
from vacc_gen.generator.backends.onnxruntime.weights import gptq as gptq_module
from vacc_gen.generator.backends.onnxruntime.weights.gptq import Gptq, Hessian
from vacc_gen.generator.backends.onnxruntime.weights.quantize import Grid, round_to_nearest

CPU = torch.device("cpu")
INPUTS, OUTPUTS, DAMP = 160, 96, 0.01


@pytest.fixture(autouse=True)
def small_panels(monkeypatch):
    """Neither a block's size divides a panel's, nor a panel's the inputs."""
    monkeypatch.setattr(gptq_module, "PANEL", 72)
    monkeypatch.setattr(gptq_module, "BLOCK", 20)


def layer(seed=0, inputs=INPUTS, tokens=600):
    """Inputs (tokens, K) that hang together, and weights (M, K)."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(tokens, inputs, generator=generator)
    x = x @ (torch.randn(inputs, inputs, generator=generator) * 0.3 + torch.eye(inputs))
    return x, torch.randn(OUTPUTS, inputs, generator=generator)


def quantized(x, weight, grid, desc_act=True, damp_percent=DAMP):
    hessian = Hessian(x.shape[1], CPU)
    hessian.add(x)
    return Gptq(hessian, damp_percent, desc_act).quantize(weight, grid)


def published(x, weight, grid, order):
    """Signed codes by Frantar et al., algorithm 1: inputs in `order`, static scales."""
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
    x, weight = layer()
    grid = Grid(bits, group_size)
    made = quantized(x, weight, grid, desc_act)
    order = x.square().sum(0).argsort(descending=True) if desc_act else torch.arange(INPUTS)
    wanted = published(x, weight, grid, order)
    differing = (made.codes.double() - grid.zero_code != wanted).double().mean()
    assert differing < 0.01  # ties that fp32 rounds the other way, and what follows from them


@pytest.mark.parametrize("bits", [8, 4])
def test_errors_are_those_of_the_output_and_smaller_than_rounding_s(bits):
    x, weight = layer()
    grid = Grid(bits, 32)
    made = quantized(x, weight, grid)
    outputs = x.double() @ weight.double().mT

    def error(codes, scales):
        changed = x.double() @ grid.restore(codes, scales).double().mT - outputs
        return float(changed.square().sum() / outputs.square().sum())

    assert made.gptq_error == pytest.approx(error(made.codes, made.scales), rel=1e-3)
    assert made.rtn_error == pytest.approx(error(*round_to_nearest(weight, grid)), rel=1e-3)
    assert made.gptq_error < 0.7 * made.rtn_error
    assert torch.equal(made.scales, round_to_nearest(weight, grid)[1])


def test_sweeps_panels_sampled_rows_and_dtypes_change_no_code(monkeypatch):
    x, weight = layer()
    whole = quantized(x, weight.bfloat16(), Grid(4, 32))
    monkeypatch.setattr(gptq_module, "SWEEP_BYTES", 4 * INPUTS * 10)
    monkeypatch.setattr(gptq_module, "PANEL", 1024)
    monkeypatch.setattr(gptq_module, "MEASURED_ROWS", 24)
    monkeypatch.setattr(gptq_module, "MEASURED_OPERATIONS", 1)
    parts = quantized(x, weight.bfloat16().float(), Grid(4, 32))
    assert torch.equal(parts.codes, whole.codes)
    assert parts.gptq_error == pytest.approx(whole.gptq_error, rel=0.3)


def test_silent_layers_and_weights_of_zero():
    _, weight = layer()
    silent = quantized(torch.zeros(50, INPUTS), weight, Grid(8, 32))
    assert torch.equal(silent.codes, round_to_nearest(weight, Grid(8, 32))[0])
    assert (silent.gptq_error, silent.rtn_error) == (0.0, 0.0)
    x, _ = layer()
    nothing = quantized(x, torch.zeros(OUTPUTS, INPUTS), Grid(8, 32))
    assert (nothing.codes == 128).all()
    assert (nothing.scales == 1).all()


def test_damping_grows_until_the_sum_can_be_factored():
    hessian = Hessian(INPUTS, CPU)
    hessian.add(layer()[0][:8])  # of rank 8
    assert 1e-12 < hessian.factor(1e-12) < 1e-2
    assert torch.isfinite(torch.tril(hessian.matrix)).all()


def test_inputs_that_are_always_zero_need_no_more_damping():
    x, weight = layer()
    x[:, [3, 39]] = 0
    hessian = Hessian(INPUTS, CPU)
    for part in x.split(100):
        hessian.add(part)
    gptq = Gptq(hessian, DAMP, desc_act=True)
    assert gptq.damp_percent == DAMP
    codes = gptq.quantize(weight, Grid(8, 32)).codes[:, [3, 39]]
    assert torch.equal(codes, round_to_nearest(weight, Grid(8, 32))[0][:, [3, 39]])
