"""The streamed torch model is the whole model, and never holds it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.workspaces import FALCON_TINY
from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint
from vacc_gen.generator.progress import SilentProgress

torch = pytest.importorskip("torch")

from vacc_gen.generator.backends.onnxruntime import reference

MODELING = Path(__file__).parents[4] / "generator" / "templates" / "modeling_falcon_vacc.py"


class Counter(SilentProgress):
    done_bytes = 0

    def advance(self, done_bytes: int) -> None:
        self.done_bytes += done_bytes


@pytest.mark.parametrize("model", ["falcon-tiny", "falcon-tiny-40b", "falcon-tiny-rw"])
def test_logits_of_every_text_are_those_of_transformers(model: str) -> None:
    """Lengths differ, and one length has more texts than go through a layer at once."""
    from transformers import AutoModelForCausalLM

    folder = FALCON_TINY.with_name(model)
    generator = torch.Generator().manual_seed(1)
    texts = [
        (torch.randint(1000, (length,), generator=generator).tolist(), count)
        for length, count in ((48, 1), (300, 300), (300, 3), (300, 1), (7, 6))
    ]
    checkpoint = open_checkpoint(folder)
    streamed = reference.reference_logits(MODELING, checkpoint, texts, SilentProgress())
    whole = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for (ids, count), made in zip(texts, streamed, strict=True):
        with torch.inference_mode():
            expected = whole(torch.tensor([ids])).logits[0, -count:].numpy()
        np.testing.assert_allclose(made, expected, atol=1e-4)


def test_no_weights_stay_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, counter = open_checkpoint(FALCON_TINY), Counter()
    model = reference.build_on_meta(MODELING, checkpoint)
    parameters = dict(model.named_parameters())
    monkeypatch.setattr(reference, "build_on_meta", lambda *_: model)
    texts = [([5, 6, 7], 1), ([8, 9], 2)]
    for _ in reference.reference_logits(MODELING, checkpoint, texts, counter):
        loaded = [n for n, p in model.named_parameters() if p.device.type != "meta"]
        assert loaded == ["lm_head.weight"]
    assert {p.device.type for p in parameters.values()} == {"meta"}
    tied_bytes = checkpoint.tensors["transformer.word_embeddings.weight"].length_bytes
    stored_bytes = sum(tensor.length_bytes for tensor in checkpoint.tensors.values())
    assert counter.done_bytes == stored_bytes + tied_bytes  # a tied head is read again
