"""The torch model that graphs are compared with, run without ever holding all of it.

The workspace's own modeling file is built on the meta device. Each part's weights are read from
the checkpoint, in fp32, just before the part runs, and dropped just after: memory is that of the
largest part (a block, or the embedding), whatever the number of layers.

Legend of shapes: S tokens of the text, N wanted positions, E hidden size, V vocabulary.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vacc_gen.generator.backends.onnxruntime.weights.source import Checkpoint
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.errors import StageError
from vacc_gen.schema.falcon import EMBEDDING, HEAD

MODULE_NAME = "vacc_gen_workspace_modeling"


class ReferenceModel:
    """The model of a workspace's modeling file, with the weights of a checkpoint, in fp32."""

    def __init__(self, modeling_file: Path, checkpoint: Checkpoint, progress: Progress) -> None:
        """Build it without weights; raises as `build_on_meta`."""
        self._checkpoint = checkpoint
        self._progress = progress
        self._model = build_on_meta(modeling_file, checkpoint)
        body = self._model.transformer
        for name, part in (
            ("transformer.word_embeddings", body.word_embeddings),
            *((f"transformer.h.{layer}", block) for layer, block in enumerate(body.h)),
            ("transformer.ln_f", body.ln_f),
            ("lm_head", self._model.lm_head),
        ):
            part.register_forward_pre_hook(
                lambda part, _args, name=name: load_part(part, name, checkpoint, progress)
            )
            part.register_forward_hook(lambda part, _args, _output: part.to("meta") and None)

    def logits(self, token_ids: Sequence[int], positions: Sequence[int]) -> NDArray[np.float32]:
        """Logits (N, V) after each of `positions` of a text (S) that is read in one pass."""
        self._progress.start("the torch model, part by part", self._checkpoint.folder.tensor_bytes)
        with torch.inference_mode():
            ids = torch.tensor([list(token_ids)])  # (1, S)
            output = self._model.transformer(ids, use_cache=False, return_dict=True)
            hidden = output.last_hidden_state[:, list(positions)]  # (1, N, E)
            logits: NDArray[np.float32] = self._model.lm_head(hidden)[0].numpy()  # (N, V)
        return logits


def load_part(
    part: Any, prefix: str, checkpoint: Checkpoint, progress: Progress, device: Any = "cpu"
) -> None:
    """Read a part's parameters, in fp32, from the checkpoint, which has a tied head only once."""
    part.to_empty(device=device)
    for name, parameter in part.named_parameters():
        stored = f"{prefix}.{name}"
        if stored == HEAD and HEAD not in checkpoint.tensors:
            stored = EMBEDDING
        values = checkpoint.read(stored)
        parameter.data.copy_(values)
        progress.advance(values.nbytes)


def build_on_meta(modeling_file: Path, checkpoint: Checkpoint) -> Any:
    """The model of `modeling_file` for `checkpoint`, its parameters without memory.

    Raises:
        StageError: the modeling file cannot be loaded, or is not a model of this checkpoint.
    """
    try:
        spec = importlib.util.spec_from_file_location(MODULE_NAME, modeling_file)
        assert spec is not None
        assert spec.loader is not None
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
