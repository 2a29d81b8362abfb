"""The tokenizer of a weight folder: token ids of a text, texts of token ids, the end of a text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from vacc_gen.generator.extras import load
from vacc_gen.schema.errors import CheckpointError, MissingExtraError, UnreadableError
from vacc_gen.schema.json_files import read_json

TOKENIZER_FILE = "tokenizer.json"
"""The one that the embedded backend reads."""

PIECE = re.compile(r"(?s).{1,65536}(?= |\Z)|.{1,65536}")
"""What of a text is encoded at once, as the library takes some 200 bytes a token meanwhile: as much
as ends before a space, where a byte-level tokenizer cuts anyway."""

FALCON_END_OF_TEXT = "<|endoftext|>"


class Tokenizer:
    def __init__(self, tokenizer_json: Path) -> None:
        """Load a `tokenizer.json`.

        Raises:
            MissingExtraError: the tokenizers library cannot be used.
            UnreadableError: the file is not there, or is not a tokenizer.
        """
        (tokenizers,) = load("reading tokenizer.json", "tokenizers")
        if not tokenizer_json.is_file():
            raise UnreadableError(
                f"{tokenizer_json.parent} has no {tokenizer_json.name}",
                "copy it from the repository that the weights are from",
            )
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(tokenizer_json))
        except BaseException as error:  # plain Exception, or a panic of Rust, which is none
            raise _unusable(tokenizer_json, error) from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._file = tokenizer_json
        self.library = f"tokenizers {tokenizers.__version__}"

    def encode(self, text: bytes) -> list[int]:
        """Token ids of a UTF-8 text, without special tokens around it.

        Raises:
            UnreadableError: the tokenizer has no token for some of it, and none for that.
        """
        ids: list[int] = []
        pieces = PIECE.findall(text.decode())
        try:
            for piece in pieces:
                ids += self._tokenizer.encode(piece, add_special_tokens=False).ids
        except BaseException as error:
            raise _unusable(self._file, error) from error
        return ids

    def decode(self, token_ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(token_ids), skip_special_tokens=False))

    def stream(self) -> Callable[[int], str]:
        """Return a function that takes an answer's tokens in turn and returns what each adds.

        A character comes whole, with its last byte; special tokens add nothing.
        """
        from tokenizers.decoders import DecodeStream

        stream = DecodeStream(skip_special_tokens=True)
        return lambda token_id: stream.step(self._tokenizer, token_id) or ""

    def end_of_text(self) -> int:
        """The id of the token that ends a text.

        Raises:
            CheckpointError: neither file of the folder names one.
        """
        config = read_json(self._file.with_name("tokenizer_config.json")) or {}
        named = config.get("eos_token")
        if isinstance(named, dict):
            named = named.get("content")
        for token in (named, FALCON_END_OF_TEXT):
            token_id = self._tokenizer.token_to_id(token) if isinstance(token, str) else None
            if token_id is not None:
                return int(token_id)
        raise CheckpointError(
            f"{self._file} does not say which token ends a text",
            "name it in tokenizer_config.json as eos_token",
        )


def check_tokenizer(weights: Path) -> None:
    """Load the tokenizer.json of a weight folder, if there is one, and the library.

    Raises:
        UnreadableError: it is not a tokenizer.
    """
    if (weights / TOKENIZER_FILE).is_file():
        with suppress(MissingExtraError):
            Tokenizer(weights / TOKENIZER_FILE)


def _unusable(file: Path, error: BaseException) -> BaseException:
    if isinstance(error, KeyboardInterrupt):
        return error
    hint = "download it from the repository that the weights are from"
    return UnreadableError(f"{file} is not a tokenizer that works: {error}", hint)
