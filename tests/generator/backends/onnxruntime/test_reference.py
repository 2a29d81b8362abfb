"""The streamed torch model is the whole model, and never holds it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.workspaces import FALCON_TINY
from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint
from vacc_gen.generator.progress import SilentProgress

torch = pytest.importorskip("torch")

from vacc_gen.generator.backends.onnxruntime.reference import ReferenceModel

MODELING = Path(__file__).parents[4] / "generator" / "templates" / "modeling_falcon_vacc.py"


class Counter(SilentProgress):
    done_bytes = 0

    def advance(self, done_bytes: int) -> None:
        self.done_bytes += done_bytes


def test_logits_are_those_of_transformers() -> None:
    from transformers import AutoModelForCausalLM

    ids = list(range(100, 148))
    positions = [0, 17, 47]
    streamed = ReferenceModel(MODELING, open_checkpoint(FALCON_TINY), SilentProgress())
    whole = AutoModelForCausalLM.from_pretrained(FALCON_TINY, dtype=torch.float32)
    with torch.inference_mode():
        expected = whole(torch.tensor([ids])).logits[0, positions].numpy()
    np.testing.assert_allclose(streamed.logits(ids, positions), expected, atol=3e-5)


def test_no_weights_stay_behind() -> None:
    checkpoint = open_checkpoint(FALCON_TINY)
    counter = Counter()
    model = ReferenceModel(MODELING, checkpoint, counter)
    once = model.logits([5, 6, 7], [2])
    assert {p.device.type for p in model._model.parameters()} == {"meta"}
    tied_bytes = checkpoint.tensors["transformer.word_embeddings.weight"].length_bytes
    stored_bytes = sum(tensor.length_bytes for tensor in checkpoint.tensors.values())
    assert counter.done_bytes == stored_bytes + tied_bytes  # a tied head is read again
    assert (model.logits([5, 6, 7], [2]) == once).all()
