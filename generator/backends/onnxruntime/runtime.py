"""Text from a deployed folder: on ONNX Runtime GenAI, or on plain ONNX Runtime.

GenAI samples, and is what others run a deployed folder with. The plain session is for logits (the
build's trial, verify), for machines that GenAI has no wheel for, and for fp16 weights that only fit
in memory while they are cast as they are used. Ids go in and out: GenAI's own tokenizer differs
from the checkpoint's (it splits `\\n\\nUser:` and Chinese text otherwise, in version 0.18).

Legend of shapes: KV heads of the cache, T most tokens of a text, L tokens so far, D head size,
V vocabulary.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeAlias

from vacc_gen.generator.backends.onnxruntime.deployment import (
    needs_casts,
    open_session,
    read_genai_config,
)
from vacc_gen.generator.backends.onnxruntime.weights.weight_file import WEIGHTS_FILE
from vacc_gen.generator.extras import load, package_version
from vacc_gen.schema.errors import StageError, UnreadableError, UsageError, plural

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Logits = NDArray[np.float32]

READ_AHEAD_BYTES = 2 << 20
"""At once: Linux reads no more for one advice."""

PROMPT_PART = 256
"""Tokens of a prompt that GenAI computes at once."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen; by default the likeliest."""

    temperature: float = 0.0
    """0 for the likeliest token."""
    top_p: float = 1.0
    top_k: int = 0
    """0 for no limit."""
    repetition_penalty: float = 1.0
    seed: int | None = None
    ignore_eos: bool = False
    """Whether no token that ends a text is chosen."""


def open_model(folder: Path, threads: int | None = None) -> TextModel:
    """Open a deployed folder with what runs it best on this machine.

    `threads` None leaves their number to ONNX Runtime.

    Raises:
        MissingExtraError: onnxruntime cannot be used.
        UnreadableError: a file is not what a build wrote.
    """
    load("running a compiled model", "numpy", "onnxruntime")
    Thread(target=_read_ahead, args=(folder / WEIGHTS_FILE,), daemon=True).start()
    *_, end_tokens = read_genai_config(folder)  # GenAI refuses a model that has none
    has_genai = package_version("onnxruntime-genai") is not None
    if has_genai and end_tokens and not needs_casts(folder):
        load("running a compiled model", "onnxruntime_genai")
        return GenaiModel(folder, threads)
    return OnnxRuntimeModel(folder, threads)


def _read_ahead(weights: Path) -> None:
    """Let the kernel read the file while matrices are packed: by faults it reads half as fast."""
    # AttributeError: macOS has no such call.
    with suppress(OSError, AttributeError), weights.open("rb") as file:
        for offset in range(0, os.fstat(file.fileno()).st_size, READ_AHEAD_BYTES):
            os.posix_fadvise(file.fileno(), offset, READ_AHEAD_BYTES, os.POSIX_FADV_WILLNEED)


class GenaiModel:
    """A deployed folder on ONNX Runtime GenAI."""

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        import onnxruntime_genai

        self.total_tokens, self._vocabulary, self._end_tokens = read_genai_config(folder)
        self._name, self._genai = folder.name, onnxruntime_genai
        config = onnxruntime_genai.Config(str(folder))
        if threads is not None:
            options = {"session_options": {"intra_op_num_threads": threads}}
            config.overlay(json.dumps({"model": {"decoder": options}}))
        try:
            self._model = onnxruntime_genai.Model(config)
        except Exception as error:  # it has no exceptions of its own
            message = f"ONNX Runtime cannot load {folder}: {error}"
            raise UnreadableError(message, "build again") from error

    def generate(
        self, token_ids: Sequence[int], max_tokens: int, sampling: Sampling = Sampling()
    ) -> Iterator[int]:
        """Continue `token_ids` and yield each new token, at most `max_tokens` of them.

        A token that ends the text ends the answer too and is not yielded.

        Raises:
            UsageError: the prompt is empty, or leaves no room for `max_tokens`.
            StageError: a logit is not finite.
        """
        import numpy as np

        _check_lengths(len(token_ids), max_tokens, self.total_tokens)
        most = len(token_ids) + max_tokens
        options: dict[str, Any] = {"max_length": most, "do_sample": sampling.temperature > 0}
        options["min_length"] = most if sampling.ignore_eos else 0
        options["repetition_penalty"] = sampling.repetition_penalty
        if sampling.temperature > 0:
            options |= {"temperature": sampling.temperature, "top_p": sampling.top_p}
            options["top_k"] = min(max(0, sampling.top_k), self._vocabulary)  # no more is taken
            if sampling.seed is not None:
                options["random_seed"] = sampling.seed
        parameters = self._genai.GeneratorParams(self._model)
        parameters.set_search_options(**options)
        generator = self._genai.Generator(self._model, parameters)
        # GenAI keeps Python's lock while it works: between two parts, other threads get on.
        for start in range(0, len(token_ids), PROMPT_PART):
            generator.append_tokens(np.array(token_ids[start : start + PROMPT_PART], np.int32))
        check_finite(generator.get_logits(), f"{self._name}, {len(token_ids)} tokens of prompt")
        for _ in range(max_tokens):
            generator.generate_next_token()
            token = int(generator.get_next_tokens()[0])
            if token in self._end_tokens:
                return
            yield token


class OnnxRuntimeModel:
    """A deployed folder on plain ONNX Runtime, one text at a time.

    `prefill` begins a text, `decode` goes on with it; a logit that is not finite is a StageError.
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        import numpy as np
        import onnxruntime

        self._name = folder.name
        self.total_tokens, _, self._end_tokens = read_genai_config(folder)
        self._session = open_session(folder, threads=threads)
        inputs = {value.name: value for value in self._session.get_inputs()}
        self._is_shared = "position_ids" not in inputs
        # Shared caches are written in place; others are what the last run put out.
        slots = self.total_tokens if self._is_shared else 0
        self._empty = {}
        for name, value in inputs.items():
            if name.startswith("past_"):
                _, kv_heads, _, head_size = value.shape
                dtype = np.float16 if value.type == "tensor(float16)" else np.float32
                cache = np.zeros((1, kv_heads, slots, head_size), dtype)
                self._empty[name] = onnxruntime.OrtValue.ortvalue_from_numpy(cache)

    def prefill(self, token_ids: Sequence[int]) -> Logits:
        """Begin a text with `token_ids` and return the logits after its last token, (V,) fp32."""
        self._position, self._caches = 0, [*self._empty.values()]
        return self._run(token_ids)

    def decode(self, token_id: int) -> Logits:
        """Append one token to a text that has room, return the logits after it, (V,) fp32."""
        return self._run([token_id])

    def generate(
        self, token_ids: Sequence[int], max_tokens: int, sampling: Sampling = Sampling()
    ) -> Iterator[int]:
        """As `GenaiModel.generate`, but for the likeliest tokens alone."""
        if sampling.temperature > 0 or sampling.repetition_penalty != 1:
            raise UsageError(
                "sampling needs onnxruntime-genai, which is not installed or does not fit here",
                "set the temperature to 0, and leave top-p, top-k and repetition penalty out",
            )
        _check_lengths(len(token_ids), max_tokens, self.total_tokens)
        logits = self.prefill(token_ids)
        for produced in range(1, max_tokens + 1):
            if sampling.ignore_eos:
                logits[list(self._end_tokens)] = float("-inf")
            token = int(logits.argmax())
            if token in self._end_tokens:
                return
            yield token
            if produced < max_tokens:
                logits = self.decode(token)

    def _run(self, token_ids: Sequence[int]) -> Logits:
        import numpy as np

        total = self._position + len(token_ids)
        binding = self._session.io_binding()
        binding.bind_cpu_input("input_ids", np.array([token_ids], np.int64))
        binding.bind_cpu_input("attention_mask", np.ones((1, total), np.int64))
        if not self._is_shared:
            positions = np.arange(self._position, total, dtype=np.int64)[None]
            binding.bind_cpu_input("position_ids", positions)
        binding.bind_output("logits")
        for name, cache in zip(self._empty, self._caches, strict=True):
            binding.bind_ortvalue_input(name, cache)
            present = name.replace("past_key_values", "present")
            if self._is_shared:
                binding.bind_ortvalue_output(present, cache)
            else:
                binding.bind_output(present)
        self._session.run_with_iobinding(binding)
        logits, *self._caches = binding.get_outputs()
        self._position = total
        values = logits.numpy()
        check_finite(values, f"{self._name} after {total} tokens")
        return np.array(values, np.float32).reshape(-1)


TextModel: TypeAlias = GenaiModel | OnnxRuntimeModel


def _check_lengths(prompt_tokens: int, answer_tokens: int, total_tokens: int) -> None:
    if prompt_tokens == 0:
        raise UsageError("the prompt has no tokens", "give some text to continue")
    if prompt_tokens + answer_tokens > total_tokens:
        raise UsageError(
            f"{plural(prompt_tokens, 'token')} of prompt and {answer_tokens} of answer are more "
            f"than this model's total length, {total_tokens}",
            "shorten the prompt, ask for fewer tokens, or build with a longer total length",
        )


def check_finite(logits: NDArray[np.generic], source: str) -> None:
    """Raise StageError if a logit is NaN or infinite: no token follows from such logits."""
    import numpy as np

    bad = int(np.size(logits) - np.count_nonzero(np.isfinite(logits)))
    if bad:
        raise StageError(
            f"{source}: {bad} of {np.size(logits)} logits are NaN or infinite",
            "`vacc-gen run --verify` shows whether a file was damaged; if none was, values may be "
            "beyond fp16 (65504): try int8",
        )
