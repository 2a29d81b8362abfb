"""The torch model that graphs are compared with, run without ever holding all of it.

The workspace's own modeling file is built on the meta device. Each part's weights are read from
the checkpoint, in fp32, before all texts go through it, and dropped after: memory is that of the
largest part (a block, or the embedding), whatever the number of layers.

Legend of shapes: B texts of S tokens, N of which logits are wanted, E hidden size, V vocabulary.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vacc_gen.generator.backends.onnxruntime.runtime import check_finite
from vacc_gen.generator.backends.onnxruntime.weights.source import Checkpoint
from vacc_gen.generator.progress import Progress, timed
from vacc_gen.schema.errors import StageError
from vacc_gen.schema.falcon import EMBEDDING, HEAD

MODULE_NAME = "vacc_gen_workspace_modeling"

BATCH_TOKENS = 512
"""Tokens that go through a layer at once, about: products of this height run at full speed."""

Text: TypeAlias = tuple[Sequence[int], int]
"""Tokens (S), and after how many of the last ones (N) logits are wanted."""


def reference_logits(
    modeling_file: Path, checkpoint: Checkpoint, texts: Sequence[Text], progress: Progress
) -> Iterator[NDArray[np.float32]]:
    """Yield each text's logits (N, V), from one pass over the checkpoint for all texts.

    Raises:
        StageError: as `build_on_meta`, or a logit is not finite.
    """
    model = build_on_meta(modeling_file, checkpoint).requires_grad_(False)
    body, head = model.transformer, model.lm_head
    blocks, norm = body.h, body.ln_f

    @contextmanager
    def loaded(name: str, part: Any) -> Iterator[None]:
        load_part(part, name, checkpoint, progress)
        yield
        part.to("meta")

    tokens = sum(len(ids) for ids, _ in texts)
    progress.start(f"torch in fp32 on {tokens} tokens, layer by layer")
    alike = [torch.tensor(list(group)) for _, group in groupby((ids for ids, _ in texts), len)]
    batches = [batch for ids in alike for batch in ids.split(-(-BATCH_TOKENS // ids.shape[1]))]
    with loaded("transformer.word_embeddings", body.word_embeddings):
        states = [body.word_embeddings(batch) for batch in batches]  # (B, S, E)
    body.ln_f = nn.Identity()
    for layer in timed(range(len(blocks)), "layers", progress):
        body.h = nn.ModuleList([blocks[layer]])  # the model is this layer alone
        with loaded(f"transformer.h.{layer}", blocks[layer]):
            states = [body(inputs_embeds=each, use_cache=False)[0] for each in states]
    with loaded("transformer.ln_f", norm), loaded("lm_head", head):
        rows = (row for each in states for row in norm(each))  # (S, E)
        for row, (_, count) in zip(rows, texts, strict=True):
            logits = head(row[-count:]).numpy()
            check_finite(logits, "the torch model")
            yield logits


def load_part(
    part: Any, prefix: str, checkpoint: Checkpoint, progress: Progress, device: Any = "cpu"
) -> None:
    """Read a part's parameters, in fp32, from the checkpoint, which has a tied head only once."""
    part.to_empty(device=device)
    for name, parameter in part.named_parameters():
        stored = f"{prefix}.{name}"
        if stored == HEAD and HEAD not in checkpoint.tensors:
            stored = EMBEDDING
        values = parameter.data.view(-1, parameter.shape[-1])
        for first, rows in checkpoint.chunks(stored):
            if not torch.stack(rows.aminmax()).isfinite().all():
                checkpoint.count_values(checkpoint.tensors)  # says where, and raises
            values[first : first + len(rows)] = rows
            progress.advance(rows.nbytes)


def build_on_meta(modeling_file: Path, checkpoint: Checkpoint) -> Any:
    """The model of `modeling_file` for `checkpoint`, its parameters without memory.

    Raises:
        StageError: the modeling file cannot be loaded, or is not a model of this checkpoint.
    """
    try:
        spec = importlib.util.spec_from_file_location(MODULE_NAME, modeling_file)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[MODULE_NAME] = module  # transformers looks a class's module up by name
        spec.loader.exec_module(module)
        config = module.FalconConfig(**checkpoint.folder.config)
        config._attn_implementation = "eager"
        with torch.device("meta"):
            model = module.FalconForCausalLM(config).eval()
    except Exception as error:  # whatever a file that may have been edited raises
        raise StageError(f"{modeling_file} cannot be loaded: {error}") from error
    parameters = {*checkpoint.architecture.parameters(), HEAD}
    unknown = sorted({name for name, _ in model.named_parameters()} - parameters)
    if unknown:
        raise StageError(f"{modeling_file} has parameters that the checkpoint lacks: {unknown[0]}")
    return model
