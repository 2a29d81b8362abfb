"""Sums of products of inputs: permuted, factored and measured in the memory of one matrix."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from vacc_gen.generator.backends.onnxruntime.weights.gptq import hessian as hessian_module
from vacc_gen.generator.backends.onnxruntime.weights.gptq.hessian import Hessian

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(hessian_module, "BLOCK", 32)


def inputs_of(count, tokens, seed=0):
    """Inputs that hang together, of very different sizes."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(tokens, count, generator=generator)
    mixed = mixed @ (torch.randn(count, count, generator=generator) * 0.3 + torch.eye(count))
    return mixed * torch.logspace(-2, 1, count)


def summed(x):
    hessian = Hessian(x.shape[1], CPU)
    for part in x.split(100):
        hessian.add(part)
    return hessian, x.double().mT @ x.double()


@pytest.mark.parametrize("count", [7, 32, 100])
def test_the_factor_is_that_of_the_damped_sum(count):
    hessian, exact = summed(inputs_of(count, 250))
    assert hessian.factor(0.01) == 0.01
    lower = torch.tril(hessian.matrix).double()
    damped = exact + 0.01 * exact.diagonal().mean() * torch.eye(count)
    assert torch.allclose(lower @ lower.mT, damped, rtol=1e-4, atol=1e-5 * damped.max())


def test_a_permuted_sum_is_the_sum_of_permuted_inputs():
    x = inputs_of(100, 250)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(1))
    hessian, _ = summed(x)
    hessian.permute(order)
    other, _ = summed(x[:, order])
    assert torch.allclose(torch.triu(hessian.matrix), torch.triu(other.matrix), rtol=1e-5)


def test_energies_are_by_the_undamped_sum_even_after_the_factor_took_half_the_memory():
    hessian, exact = summed(inputs_of(100, 250))
    hessian.factor(0.1)
    vectors = torch.randn(100, 5, generator=torch.Generator().manual_seed(2))
    wanted = (vectors.double() * (exact @ vectors.double())).sum(0)
    assert torch.allclose(hessian.quadratic(vectors), wanted, rtol=1e-5)


def test_damping_grows_until_the_sum_can_be_factored():
    hessian, _ = summed(inputs_of(100, 8))  # of rank 8
    used = hessian.factor(1e-12)
    assert used > 1e-12
    assert torch.isfinite(torch.tril(hessian.matrix)).all()


def test_inputs_that_are_always_zero_do_no_harm():
    x = inputs_of(40, 250)
    x[:, [3, 39]] = 0
    hessian, _ = summed(x)
    assert hessian.factor(0.01) == 0.01
    silent, _ = summed(torch.zeros(10, 40))
    assert silent.factor(0.01) == 0.01
