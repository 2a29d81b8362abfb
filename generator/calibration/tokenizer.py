"""A checkpoint's own tokenizer, as calibration needs it: ids of a text, and of its end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vacc_gen.schema.errors import CheckpointError, MissingExtraError, UnreadableError

TOKENIZER_FILE = "tokenizer.json"
"""The one that is read here."""

TOKENIZER_FILES = (TOKENIZER_FILE, "tokenizer.model", "vocab.json")
"""Any of these will do for the compiler: older families have no tokenizer.json."""

PIECE_CHARS = 1 << 16
"""Longer texts are encoded in pieces: the library takes some 200 bytes a token meanwhile."""
FALCON_END_OF_TEXT = "<|endoftext|>"


class Tokenizer:
    """Wraps the `tokenizer.json` of a weight folder."""

    def __init__(self, tokenizer_json: Path) -> None:
        """Load it.

        Raises:
            MissingExtraError: the tokenizers library is not installed.
            UnreadableError: the file is not there.
            CheckpointError: it is no tokenizer, or does not say which token ends a text.
        """
        try:
            import tokenizers
        except ImportError as error:
            raise MissingExtraError("tokenizers", "reading a tokenizer") from error
        if not tokenizer_json.is_file():
            raise UnreadableError(
                f"{tokenizer_json} is not there", hint="it belongs to the weight folder"
            )
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(tokenizer_json))
        except Exception as error:  # the library raises Exception itself
            raise CheckpointError(f"{tokenizer_json} is not a tokenizer: {error}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.library = f"tokenizers {tokenizers.__version__}"
        self.end_of_text = self._end_of_text(tokenizer_json.parent)

    def encode(self, text: bytes) -> list[int]:
        """Token ids of a UTF-8 text, without special tokens around it."""
        ids: list[int] = []
        for piece in pieces(text.decode()):
            ids += self._tokenizer.encode(piece, add_special_tokens=False).ids
        return ids

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of `token_ids`, special tokens included."""
        return str(self._tokenizer.decode(list(token_ids), skip_special_tokens=False))

    def _end_of_text(self, folder: Path) -> int:
        named = _read_object(folder / "tokenizer_config.json").get("eos_token")
        if isinstance(named, Mapping):
            named = named.get("content")
        for token in (named, FALCON_END_OF_TEXT):
            token_id = self._tokenizer.token_to_id(token) if isinstance(token, str) else None
            if token_id is not None:
                return int(token_id)
        raise CheckpointError(
            f"{folder / 'tokenizer.json'} does not say which token ends a text",
            hint="tokenizer_config.json names it as eos_token",
        )


def pieces(text: str) -> list[str]:
    """Cut a long text before spaces, where a byte-level tokenizer cuts it anyway."""
    cut: list[str] = []
    start = 0
    while len(text) - start > PIECE_CHARS:
        space = text.rfind(" ", start + 1, start + PIECE_CHARS)
        end = space if space > 0 else start + PIECE_CHARS
        cut.append(text[start:end])
        start = end
    return [*cut, text[start:]]


def _read_object(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
