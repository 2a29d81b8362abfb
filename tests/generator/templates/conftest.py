"""The modeling file beside transformers' own Falcon, with the same random weights.

The tests of this folder also run in the pinned environment, which has neither vacc-gen nor a
current transformers: they import the emitted files from their folder.
"""

import copy
import sys
from pathlib import Path

import pytest
import torch

from tests.falcons import VARIANTS, VOCABULARY, random_falcon

sys.path.append(str(Path(__file__).parents[3] / "generator" / "templates"))
import modeling_falcon_vacc


@pytest.fixture(params=list(VARIANTS))
def variant(request):
    return request.param


@pytest.fixture(scope="session")
def make_pair():
    """A function that returns (transformers' model, ours): same weights, evaluation mode."""

    def make(variant, **changes):
        theirs = random_falcon(variant, **changes)
        config = copy.deepcopy(theirs.config)
        config._attn_implementation = "eager"
        ours = modeling_falcon_vacc.FalconForCausalLM(config)
        ours.load_state_dict(theirs.state_dict())
        return theirs, ours.eval()

    return make


@pytest.fixture(scope="session")
def make_batch():
    """A function that returns (input_ids, attention_mask, position_ids), each (3, length)."""

    def make(length, padding="none"):
        generator = torch.Generator().manual_seed(length)
        input_ids = torch.randint(3, VOCABULARY, (3, length), generator=generator)
        attention_mask = torch.ones_like(input_ids)
        if padding == "left":
            attention_mask[0, : length // 2] = 0
            attention_mask[1, :1] = 0
        if padding == "right":
            attention_mask[0, length // 2 :] = 0
            attention_mask[1, -1:] = 0
        return input_ids, attention_mask, (attention_mask.cumsum(-1) - 1).clamp(min=0)

    return make


@pytest.fixture(autouse=True)
def one_thread_and_no_gradients():
    """The models are tiny: threads would wait for each other. A test that trains asks to."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.no_grad():
        yield
    torch.set_num_threads(num_threads)
