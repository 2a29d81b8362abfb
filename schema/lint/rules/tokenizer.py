"""VG93: do the tokenizer's and the configs' token ids fit the model's vocabulary?"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from vacc_gen.schema.checkpoint import CONFIG_FILE
from vacc_gen.schema.errors import CheckpointError
from vacc_gen.schema.geometry import shortened
from vacc_gen.schema.lint.diagnostics import Severity, dotted
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.weight_files import (
    GENERATION,
    SPECIAL_TOKENS,
    TOKENIZER,
    TOKENIZER_CONFIG,
    WeightFiles,
)

_OTHER_TOKENIZERS = ("tokenizer.model", "vocab.json")
"""Of older families, in place of tokenizer.json."""

_DOWNLOAD = "download it from the repository that the weights are from"
_TOKENS = ("bos_token", "eos_token", "pad_token")


class _Part(BaseModel):
    """A part of tokenizer.json, with what the tokenizers library demands of it and we use."""

    model_config = ConfigDict(strict=True, defer_build=True)


class _AddedToken(_Part):
    id: int
    content: str
    single_word: bool
    lstrip: bool
    rstrip: bool
    normalized: bool
    special: bool


class _Step(_Part):
    type: str


class _Model(_Part):
    type: Literal["BPE", "Unigram", "WordLevel", "WordPiece"] = "BPE"
    vocab: dict[str, int] | list[tuple[str, float]]  # of Unigram: an id is a place
    merges: list[Any] = []

    @field_validator("merges")
    @classmethod
    def check_merges(cls, merges: list[Any], known: ValidationInfo) -> list[Any]:
        vocabulary: Any = known.data.get("vocab")
        for merge in merges if isinstance(vocabulary, dict) else ():
            try:
                first, second = merge.split(" ") if isinstance(merge, str) else merge
                is_known = first in vocabulary and second in vocabulary
            except (TypeError, ValueError):
                raise ValueError(f"has {shortened(merge)}, which is not a pair of tokens") from None
            if not is_known and not str(merge).startswith("#version"):
                raise ValueError(f"has {shortened(merge)}, which is not in `vocab`")
        return merges


class _Tokenizer(_Part):
    model: _Model
    added_tokens: list[_AddedToken] = []
    normalizer: _Step | None = None
    pre_tokenizer: _Step | None = None
    post_processor: _Step | None = None
    decoder: _Step | None = None

    def ids(self) -> dict[str, int]:
        vocabulary = self.model.vocab
        if isinstance(vocabulary, list):
            vocabulary = {token: place for place, (token, _) in enumerate(vocabulary)}
        return vocabulary | {token.content: token.id for token in self.added_tokens}


@lru_cache(maxsize=1)  # two rules ask, and it takes longer than all else
def _read_tokenizer(files: WeightFiles) -> _Tokenizer | CheckpointError | None:
    """Return tokenizer.json, or what is wrong with its form; None where it cannot be read."""
    if TOKENIZER not in files.objects:
        return None
    try:
        return _Tokenizer.model_validate_json(files.texts[TOKENIZER])
    except ValidationError as error:
        problem = error.errors()[0]
        steps = [step for step in problem["loc"] if "[" not in str(step)]  # not a union's branch
        reason = f": {problem['msg']}".replace(": Value error,", "")
        reason = " is missing" if problem["type"] == "missing" else reason
        message = f"not a tokenizer: `{dotted(steps)}`{reason}"
        keys = [step for step in steps[1::-1] if f'"{step}"' in files.texts[TOKENIZER]]
        key = next((key for key in keys if isinstance(key, str)), None)
        return CheckpointError(message, _DOWNLOAD, key, file=TOKENIZER)


@rule("VG930", Severity.ERROR, "tokenizer that does not fit the weights", scope="weights")
def tokenizer(files: WeightFiles) -> Iterator[CheckpointError]:
    """tokenizer.json is missing, is not a tokenizer, or has ids that the embedding has no row for.

    Other models than Falcons may have other files, and rows that are not in the embedding: there, a
    missing file is no finding, and ids beyond are a warning.

    Bad:
        # config.json
        {"model_type": "falcon", "vocab_size": 2}
        ---
        # tokenizer.json
        {"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "<|im_start|>": 2}}}
    Good:
        # config.json
        {"model_type": "falcon", "vocab_size": 3}
    """
    if TOKENIZER not in files.names:
        is_needed = files.is_falcon and files.tensors
        if is_needed and not {*_OTHER_TOKENIZERS} & {*files.names}:
            yield CheckpointError("the tokenizer is missing", _DOWNLOAD, file=TOKENIZER)
        return
    content = _read_tokenizer(files)
    if isinstance(content, CheckpointError):
        yield content
    elif content is not None:
        for name, ids in ((TOKENIZER, content.ids()), (TOKENIZER_CONFIG, _ids_in_config(files))):
            rows = files.vocabulary or sys.maxsize
            beyond = [token for token, number in ids.items() if not 0 <= number < rows]
            if beyond:
                token = min(beyond, key=lambda token: ids[token])
                more = f", and {len(beyond) - 1} more" if len(beyond) > 1 else ""
                message = f"{shortened(token)} has the id {ids[token]}{more}"
                message += f"; the model has {files.vocabulary} tokens, from 0"
                hint = "tokens were added without resizing the embedding: take the model's own file"
                is_warning = not files.is_falcon
                yield CheckpointError(message, hint, token, file=name, is_warning=is_warning)


def _ids_in_config(files: WeightFiles) -> dict[str, int]:
    """Return the ids that tokenizer_config.json adds, by token."""
    added = files.objects.get(TOKENIZER_CONFIG, {}).get("added_tokens_decoder")
    return {
        str(token.get("content") if isinstance(token, dict) else number): int(number)
        for number, token in (added.items() if isinstance(added, dict) else ())
        if number.isdecimal() and len(number) < 19
    }


@rule("VG931", Severity.WARNING, "tokenizer whose settings are not what is used", scope="weights")
def tokenizer_settings(files: WeightFiles) -> Iterator[CheckpointError]:
    """The tokenizer cuts or fills texts, or its special tokens are others than config.json's.

    A stored truncation or padding is reset here, as transformers does. A text ends where
    generation_config.json or config.json says, whatever the tokenizer calls the end.

    Bad:
        # tokenizer.json
        {"model": {"type": "BPE", "vocab": {"a": 0}}, "truncation": {"max_length": 8}}
        ---
        # config.json
        {"model_type": "falcon", "vocab_size": 1}
    Good:
        # tokenizer.json
        {"model": {"type": "BPE", "vocab": {"a": 0}}, "truncation": null}
    """
    content = _read_tokenizer(files)
    if not isinstance(content, _Tokenizer):
        return
    for key in ("truncation", "padding"):
        if files.objects[TOKENIZER].get(key) is not None:
            message = f"the tokenizer has a stored {key}"
            hint = f"it is reset, as in transformers; write null for `{key}`"
            yield CheckpointError(message, hint, key, file=TOKENIZER)
    ids = content.ids()
    for file, key in product((TOKENIZER_CONFIG, SPECIAL_TOKENS), _TOKENS):
        token = files.objects.get(file, {}).get(key)
        token = token.get("content") if isinstance(token, dict) else token
        said = files.config.get(f"{key}_id")
        numbers = said if isinstance(said, list) else [said]
        if not isinstance(token, str):
            continue
        if token not in ids:
            message = f"`{key}` is {shortened(token)}, which is not in {TOKENIZER}"
            hint = "take both files from one revision"
            yield CheckpointError(message, hint, key, file=file)
        elif ids[token] not in numbers and any(type(number) is int for number in numbers):
            message = f"`{key}` is {shortened(token)}, id {ids[token]}; config.json says "
            hint = f"set `{key}_id` in config.json, if the tokenizer is right"
            yield CheckpointError(message + shortened(said), hint, key, file=file)


@rule("VG932", Severity.ERROR, "token ids that are none", scope="weights")
def token_ids(files: WeightFiles) -> Iterator[CheckpointError]:
    """generation_config.json or config.json has a token id that is no token of the model.

    Bad:
        # config.json
        {"model_type": "falcon", "vocab_size": 100}
        ---
        # generation_config.json
        {"eos_token_id": ["<|endoftext|>"]}
    Good:
        # generation_config.json
        {"eos_token_id": [11]}
    """
    rows, is_warning = files.vocabulary, not files.is_falcon
    for file, token in product((CONFIG_FILE, GENERATION), _TOKENS):
        key = f"{token}_id"
        value = files.objects.get(file, {}).get(key)
        if value is None or (token == "pad_token" and value == -1):
            continue
        ids = value if isinstance(value, list) and value and token == "eos_token" else [value]
        wrong = [i for i in ids if type(i) is not int or i < 0 or (rows and i >= rows)]
        if wrong:
            why = f"; the model has {rows} tokens, from 0"
            if type(wrong[0]) is not int or wrong[0] < 0:
                why = ", which is not the id of a token"
            hint = "write the number of a token, as in the repository of the model"
            message = f"`{key}` is {shortened(wrong[0])}{why}"
            yield CheckpointError(message, hint, key, file=file, is_warning=is_warning)
