"""Runs a compiled folder on ONNX Runtime: prefill.onnx, then decode.onnx a token at a time.

Legend of shapes:
    P  prefill length     KV  heads of the cache    V  vocabulary
    T  total length       D   head size             n  tokens so far

The cache is kept in the order of the text from slot 0 on: prefill's first n slots are copied in,
and of each step only the new slot is. Nothing is shifted; the mask says which slots count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vacc_gen.generator.backends.onnxruntime.session import open_session
from vacc_gen.generator.backends.onnxruntime.weights.weight_file import WEIGHTS_FILE
from vacc_gen.generator.extras import load
from vacc_gen.schema.artifacts import MANIFEST_FILE, changed_files
from vacc_gen.schema.errors import StageError, UnreadableError, UsageError
from vacc_gen.schema.json_files import read_json_object

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Logits = NDArray[np.float32]

PREFILL_GRAPH, DECODE_GRAPH = "prefill.onnx", "decode.onnx"

DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(int64)": "int64"}
"""numpy's names of what sessions read and write."""


class OnnxRuntimeModel:
    """A compiled folder, loaded as far as it is used.

    One text at a time: `prefill` begins a new one, `decode` goes on with it. Each graph's session
    is opened at its first use; both map the same weights file.
    """

    def __init__(
        self, folder: Path, *, threads: int | None = None, one_session: bool = False
    ) -> None:
        """Open `folder`; `threads` None leaves their number to ONNX Runtime.

        With `one_session`, a graph's session is closed before the other's is opened: half of the
        memory where sessions copy weights, for loading them again at each change.

        Raises:
            MissingExtraError: onnxruntime cannot be used.
            UnreadableError: the folder is not a complete compiled model.
        """
        load("running a compiled model", "numpy", "onnxruntime")
        check_folder(folder)
        self.folder = folder
        self.position = 0
        """Tokens of the current text that the cache holds."""
        self._threads, self._one_session = threads, one_session
        self._prompt_tokens = 0
        self._presents: Sequence[Any] = ()  # of the prompt's tokens, each (1, KV, P, D)
        self._is_filled = False  # whether the decoder has them

    @cached_property
    def prefill_tokens(self) -> int:
        """The longest prompt, P."""
        inputs = self._prefill_session.get_inputs()
        tokens: int = next(value.shape[1] for value in inputs if value.name == "input_ids")
        return tokens

    @cached_property
    def total_tokens(self) -> int:
        """The most tokens of prompt and answer together, T."""
        return self._decoder.total_tokens

    @cached_property
    def end_tokens(self) -> frozenset[int]:
        """Tokens that end a text; generation_config.json says which, or else config.json."""
        for name in ("generation_config.json", "config.json"):
            file = self.folder / name
            ends = read_json_object(file).get("eos_token_id") if file.is_file() else None
            if ends is not None:
                return frozenset([ends] if isinstance(ends, int) else ends)
        return frozenset()

    def prefill(self, token_ids: Sequence[int]) -> Logits:
        """Begin a text with `token_ids` and return the logits after its last token, (V,) fp32.

        Raises:
            UsageError: the prompt is empty or longer than the model's prefill length.
            StageError: a logit is not finite.
        """
        import numpy as np

        count, width = len(token_ids), self.prefill_tokens
        if not 0 < count <= width:
            raise UsageError(
                f"the prompt has {count} tokens, this model takes 1 to {width}",
                "shorten the prompt, or build with a longer prefill length" if count else None,
            )
        ids, mask = np.zeros((1, width), np.int64), np.zeros((1, width), np.int64)
        ids[0, :count], mask[0, :count] = token_ids, 1
        feeds = {"input_ids": ids, "attention_mask": mask}
        feeds["position_ids"] = np.arange(width, dtype=np.int64)[None]
        logits, *self._presents = self._prefill_session.run(None, feeds)
        check_finite(logits, f"{self.folder.name} after a prompt of {count} tokens")
        self._prompt_tokens = count
        self.rewind()
        return np.asarray(logits, np.float32).reshape(-1)

    def rewind(self) -> None:
        """Go back to the end of the prompt, as if nothing had been decoded."""
        self.position, self._is_filled = self._prompt_tokens, False

    def decode(self, token_id: int) -> Logits:
        """Append one token to a text that has room, return the logits after it, (V,) fp32."""
        if not self._is_filled:
            self._decoder.fill(self._presents, self._prompt_tokens)
            self._is_filled = True
        logits = self._decoder.step(token_id, self.position)
        self.position += 1
        check_finite(logits, f"{self.folder.name} after {self.position} tokens")
        return logits

    def generate(self, token_ids: Sequence[int], max_tokens: int) -> Iterator[int]:
        """Continue `token_ids` greedily and yield each new token, at most `max_tokens` of them.

        A token that ends the text ends the answer too and is not yielded.

        Raises:
            UsageError: the prompt is too long, or leaves no room for `max_tokens`.
        """
        if len(token_ids) + max_tokens > self.total_tokens:
            raise UsageError(
                f"{len(token_ids)} tokens of prompt and {max_tokens} of answer are more than this "
                f"model's total length, {self.total_tokens}",
                "ask for fewer tokens, or build with a longer total length",
            )
        logits = self.prefill(token_ids)
        for produced in range(1, max_tokens + 1):
            token = int(logits.argmax())
            if token in self.end_tokens:
                return
            yield token
            if produced < max_tokens:
                logits = self.decode(token)

    @cached_property
    def _prefill_session(self) -> Any:
        self._close("_decoder")
        return self._open(PREFILL_GRAPH)

    @cached_property
    def _decoder(self) -> _Decoder:
        self._close("_prefill_session")
        return _Decoder(self._open(DECODE_GRAPH))

    def _open(self, graph: str) -> Any:
        sessions = 1 if self._one_session else 2
        return open_session(self.folder / graph, threads=self._threads, sessions=sessions)

    def _close(self, session: str) -> None:
        """Let go of the other graph's session, where only one may be open."""
        if self._one_session:
            self.__dict__.pop(session, None)
            self._is_filled = False


class _Decoder:
    """The decode session with the buffers that it reads and writes, bound once."""

    def __init__(self, session: Any) -> None:
        import numpy as np

        def bound(bind: Callable[..., None], values: Sequence[Any]) -> dict[str, Any]:
            arrays = {value.name: np.zeros(value.shape, DTYPES[value.type]) for value in values}
            for name, array in arrays.items():
                bind(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
            return arrays

        self._session = session
        self._binding = session.io_binding()
        inputs = bound(self._binding.bind_input, session.get_inputs())
        outputs = bound(self._binding.bind_output, session.get_outputs())
        self._ids, self._positions = inputs["input_ids"], inputs["position_ids"]
        self._mask = inputs["attention_mask"]
        self.total_tokens: int = self._mask.shape[1]
        self._logits = outputs["logits"]  # (1, 1, V)
        self._slots = [
            (past, outputs[name.replace("past_key_values", "present")])
            for name, past in inputs.items()
            if name.startswith("past_key_values.")
        ]  # of each layer's keys and values: past (1, KV, T-1, D), present (1, KV, T, D)

    def fill(self, presents: Sequence[Any], count: int) -> None:
        """Take the first `count` slots of prefill's outputs, each (1, KV, P, D), as the past."""
        kept = min(count, self.total_tokens - 1)  # a full text is never decoded from
        for (past, _), present in zip(self._slots, presents, strict=True):
            past[:, :, :kept] = present[:, :, :kept]

    def step(self, token_id: int, position: int) -> Logits:
        """Run one token that stands at `position`, and keep its keys and values."""
        import numpy as np

        self._ids[0, 0] = token_id
        self._positions[0, 0] = position
        self._mask[0, :position] = 1
        self._mask[0, position:-1] = 0
        self._mask[0, -1] = 1
        self._session.run_with_iobinding(self._binding)
        if position < self.total_tokens - 1:
            for past, present in self._slots:
                past[:, :, position] = present[:, :, -1]
        return np.array(self._logits, np.float32).reshape(-1)


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


def check_folder(folder: Path, *, read_content: bool = False) -> None:
    """Check that `folder` holds a compiled model, and all of what its manifest lists.

    With `read_content`, that every file is the one that was built; else sizes are compared.

    Raises:
        UnreadableError: a file is missing or is not what the manifest says.
    """
    for name in (PREFILL_GRAPH, DECODE_GRAPH, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise UnreadableError(
                f"{folder} is not a compiled model: {name} is missing",
                "make one with `vacc-gen build`, or `vacc-gen export` with --prefill and --total",
            )
    if read_content or (folder / MANIFEST_FILE).is_file():  # an export has none
        for name, change in changed_files(folder, read_content=read_content):
            raise UnreadableError(f"{folder / name} {change}", "build again")
