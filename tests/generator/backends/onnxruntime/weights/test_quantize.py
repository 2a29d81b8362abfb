"""Round to nearest: error bounds, symmetry, and the group sizes that fit a model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vacc_gen.schema.errors import CheckpointError
from vacc_gen.schema.falcon import architecture_from_config
from vacc_gen.schema.precision import PER_CHANNEL
from vacc_gen.schema.recipe import Quantization

torch = pytest.importorskip("torch")
from vacc_gen.generator.backends.onnxruntime.weights.quantize import (
    Grid,
    grids_for,
    pack,
    round_to_nearest,
)

SLACK = 1 + 2e-5
"""A quotient of up to 127 is off by 127 / 2**24 in fp32, so a tie may round either way."""

GRIDS = st.builds(Grid, st.sampled_from([8, 4]), st.sampled_from([16, 32, 64, PER_CHANNEL]))
INPUTS = 128


def restored(codes, scales, grid):
    groups = codes.view(*scales.shape, -1).double() - grid.zero_code
    return (groups * scales.double().unsqueeze(-1)).view(codes.shape)


@given(
    st.integers(0, 2**32),
    GRIDS,
    st.sampled_from([torch.bfloat16, torch.float16, torch.float32]),
    st.floats(-6, 3),
)
def test_every_error_is_within_half_a_scale_that_the_largest_magnitude_sets(
    seed, grid, dtype, magnitude
):
    generator = torch.Generator().manual_seed(seed)
    rows = (torch.randn(3, INPUTS, generator=generator) * 10**magnitude).to(dtype)
    codes, scales = round_to_nearest(rows, grid)
    error = (restored(codes, scales, grid) - rows.double()).abs()
    half = scales.double().repeat_interleave(INPUTS // scales.shape[1], dim=1) / 2
    assert (error <= half * SLACK).all()
    assert codes.min() >= 1
    assert codes.max() <= 2 * grid.max_code + 1
    assert torch.equal(grid.restore(codes, scales), restored(codes, scales, grid).float())
    largest = rows.float().abs().view(3, -1, grid.group_width(INPUTS)).amax(-1)
    assert torch.equal(scales, (largest / {8: 127, 4: 7}[grid.bits]).masked_fill(largest == 0, 1))


def test_two_codes_of_4_bits_share_a_byte():
    codes = torch.tensor([[1, 2, 3, 15]], dtype=torch.uint8)
    assert pack(codes, 4).tolist() == [[0x21, 0xF3]]
    assert pack(codes, 8) is codes


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
    ("hidden_size", "ffn_hidden_size", "wanted", "group_size"),
    [
        (4544, 18176, None, 64),
        (224, 896, None, 32),
        (80, 4160, None, 16),
        (64, 96, None, 32),
        (224, 896, 16, 16),
    ],
)
def test_the_widest_group_that_divides_every_width(
    hidden_size, ffn_hidden_size, wanted, group_size
):
    model, table = widths(hidden_size, ffn_hidden_size), Grid(8, group_size)
    for bits, activations in ((8, "float"), (4, "float"), (4, "int8")):
        chosen = grids_for(model, bits, Quantization(group_size=wanted, activations=activations))
        assert chosen == (Grid(bits, group_size), table)
    assert grids_for(model, 8, Quantization(group_size=wanted)) == (Grid(8, PER_CHANNEL), table)


@pytest.mark.parametrize(("wanted", "words"), [(None, "64 or 32 or 16"), (64, "groups of 64")])
def test_no_group_that_divides(wanted, words):
    with pytest.raises(CheckpointError, match=rf"{words} weights do not divide .* \(72, 288\)"):
        grids_for(widths(72, 288), 8, Quantization(group_size=wanted))
