"""Random tiny Falcons, ours and transformers' with the same weights.

The tests of this folder also run in the pinned environment, which has neither vacc-gen nor a
current transformers: they import the modeling file by its path.
"""

import copy
import importlib.util
import random
import sys
from pathlib import Path

import pytest
import torch
import transformers

MODELING = Path(__file__).parents[3] / "generator" / "templates" / "modeling_falcon_vacc.py"
VOCABULARY = 131

FLAGS = {
    "7b": {"multi_query": True, "parallel_attn": True},
    "40b": {"new_decoder_architecture": True},
    "11b": {"new_decoder_architecture": True, "num_ln_in_parallel_attn": 1},
    "rw": {"multi_query": False, "parallel_attn": False, "bias": True, "alibi": True},
}


def geometry(variant, seed):
    """Return a random shape of `variant`; falcon-7b's always has a prime number of heads."""
    draw = random.Random(f"{variant} {seed}")
    num_kv_heads = draw.choice([2, 3])
    num_heads = {
        "7b": draw.choice([3, 7, 11, 13]),
        "rw": draw.choice([4, 5, 12, 16]),
    }.get(variant, num_kv_heads * draw.choice([2, 5]))
    hidden_size = num_heads * draw.choice([8, 16])
    return {
        **FLAGS[variant],
        "vocab_size": VOCABULARY,
        "hidden_size": hidden_size,
        "num_hidden_layers": draw.choice([1, 2, 3]),
        "num_attention_heads": num_heads,
        # As published: falcon-7b says 71, although its cache has one.
        "num_kv_heads": num_heads if variant in ("7b", "rw") else num_kv_heads,
        "ffn_hidden_size": draw.choice([None, 3 * hidden_size, 88]),
        "activation": draw.choice(["gelu", "gelu", "relu", "gelu_new"]),
        "rope_theta": draw.choice([10000.0, 500042.0]),
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


@pytest.fixture(params=list(FLAGS))
def variant(request):
    return request.param


@pytest.fixture(scope="session")
def modeling():
    """The modeling file, as a module."""
    spec = importlib.util.spec_from_file_location(MODELING.stem, MODELING)
    module = sys.modules[MODELING.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def make_pair(modeling):
    """A function that returns (transformers' model, ours): same weights, evaluation mode."""

    def make(variant, seed=0, **changes):
        torch.manual_seed(seed)
        config = transformers.FalconConfig(**{**geometry(variant, seed), **changes})
        # transformers' eager path adds ALiBi twice from 4.45 on.
        oracle = "sdpa" if config.alibi else "eager"
        theirs = transformers.AutoModelForCausalLM.from_config(
            copy.deepcopy(config), attn_implementation=oracle
        )
        for parameter in theirs.parameters():
            if parameter.dim() == 1:  # of a norm, or a bias
                torch.nn.init.normal_(parameter, 1.0, 0.1)
            else:
                torch.nn.init.normal_(parameter, 0.0, parameter.shape[1] ** -0.5)
        config._attn_implementation = "eager"
        ours = modeling.FalconForCausalLM(config)
        ours.load_state_dict(theirs.state_dict())
        return theirs.eval(), ours.eval()

    return make


@pytest.fixture(scope="session")
def make_batch():
    """A function that returns (input_ids, attention_mask, position_ids), each (3, length)."""

    def make(length, padding="none", seed=0):
        generator = torch.Generator().manual_seed(seed)
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
