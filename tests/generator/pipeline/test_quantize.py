"""Round to nearest: error bounds, symmetry, and the group sizes that fit a model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vacc_gen.schema.architecture import architecture_from_config
from vacc_gen.schema.errors import CheckpointError

torch = pytest.importorskip("torch")
from vacc_gen.generator.pipeline.quantize import (  # noqa: E402
    ZERO_CODE,
    group_size_for,
    round_to_nearest,
)

SLACK = 1 + 2e-5
"""A quotient of up to 127 is off by 127 / 2**24 in fp32, so a tie may round either way."""


def restored(codes, scales, group_size):
    groups = codes.view(codes.shape[0], -1, group_size).double() - ZERO_CODE
    return (groups * scales.double().unsqueeze(-1)).view(codes.shape)


@given(
    st.integers(0, 2**32),
    st.sampled_from([16, 32, 64]),
    st.sampled_from([torch.bfloat16, torch.float16, torch.float32]),
    st.floats(-6, 3),
)
def test_every_error_is_within_half_a_scale(seed, group_size, dtype, magnitude):
    generator = torch.Generator().manual_seed(seed)
    rows = (torch.randn(3, 2 * group_size, generator=generator) * 10**magnitude).to(dtype)
    codes, scales = round_to_nearest(rows, group_size)
    error = (restored(codes, scales, group_size) - rows.double()).abs()
    half = scales.double().repeat_interleave(group_size, dim=1) / 2
    assert (error <= half * SLACK).all()
    assert codes.min() >= ZERO_CODE - 127
    assert codes.max() <= ZERO_CODE + 127


def test_the_largest_of_a_group_is_exact_and_zero_is_zero():
    rows = torch.zeros(2, 64)
    rows[0, 5], rows[0, 40] = -3.0, 1.5
    codes, scales = round_to_nearest(rows, 32)
    assert torch.equal(restored(codes, scales, 32).float(), rows)
    assert scales[1].tolist() == [1.0, 1.0]


def widths(hidden_size, ffn_hidden_size):
    return architecture_from_config(
        {
            "model_type": "falcon",
            "hidden_size": hidden_size,
            "ffn_hidden_size": ffn_hidden_size,
            "num_attention_heads": 1,
            "num_hidden_layers": 1,
            "vocab_size": 10,
        }
    )


@pytest.mark.parametrize(
    ("hidden_size", "ffn_hidden_size", "group_size"),
    [(4544, 18176, 64), (224, 896, 32), (80, 320, 16), (64, 96, 32)],
)
def test_the_widest_group_that_divides_every_width(hidden_size, ffn_hidden_size, group_size):
    assert group_size_for(widths(hidden_size, ffn_hidden_size), None) == group_size


@pytest.mark.parametrize(("wanted", "words"), [(None, "64 or 32 or 16"), (64, "groups of 64")])
def test_no_group_that_divides(wanted, words):
    with pytest.raises(CheckpointError, match=rf"{words} do not divide .* \(72, 288\)"):
        group_size_for(widths(72, 288), wanted)
