"""VG93: do the tokenizer's and the configs' token ids fit the model's vocabulary?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vacc_gen.schema.checkpoint import CONFIG_FILE
from vacc_gen.schema.geometry import shortened
from vacc_gen.schema.lint.diagnostics import Severity
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.weight_files import (
    GENERATION,
    SPECIAL_TOKENS,
    TOKENIZER,
    TOKENIZER_CONFIG,
    WeightFiles,
    WeightFinding,
)

_OTHER_TOKENIZERS = ("tokenizer.model", "vocab.json")
"""Of older families, in place of tokenizer.json."""

_MODELS = ("BPE", "Unigram", "WordLevel", "WordPiece")
_STEPS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
_DOWNLOAD = "download it from the repository that the weights are from"
_TOKENS = ("bos_token", "eos_token", "pad_token")


@rule("VG930", Severity.ERROR, "tokenizer that does not fit the weights", scope="weights")
def tokenizer(files: WeightFiles) -> Iterator[WeightFinding]:
    """tokenizer.json is missing, is not a tokenizer, or has ids that the embedding has no row for.

    Other models than Falcons may have other files, and rows that are not in the embedding: there, a
    missing file is no finding, and ids beyond are a warning.

    Bad:
        # config.json
        {"model_type": "falcon", "vocab_size": 2}
        ---
        # tokenizer.json
        {"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []},
         "added_tokens": [{"id": 2, "content": "<|im_start|>"}]}
    Good:
        # config.json
        {"model_type": "falcon", "vocab_size": 3}
        ---
        # tokenizer.json
        {"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []},
         "added_tokens": [{"id": 2, "content": "<|im_start|>"}]}
    """
    if TOKENIZER not in files.names:
        is_needed = files.is_falcon and files.layout.tensors
        if is_needed and not {*_OTHER_TOKENIZERS} & {*files.names}:
            yield files.at_key(TOKENIZER, None, "the tokenizer is missing", _DOWNLOAD)
        return
    content = files.objects.get(TOKENIZER)
    if content is None:
        return
    fault = _fault_of_form(content) or _fault_of_merges(content["model"])
    if fault is not None:
        key, message = fault
        yield files.at_key(TOKENIZER, key, f"not a tokenizer: {message}", _DOWNLOAD)
        return
    severity = Severity.ERROR if files.is_falcon else Severity.WARNING
    for name, ids in ((TOKENIZER, _ids(content)), (TOKENIZER_CONFIG, _ids_in_config(files))):
        beyond = sorted((token_id, token) for token, token_id in ids.items() if token_id < 0)
        if files.vocabulary is not None:
            rows = files.vocabulary
            beyond += sorted((number, token) for token, number in ids.items() if number >= rows)
        if beyond:
            token_id, token = beyond[0]
            more = f", and {len(beyond) - 1} more" if len(beyond) > 1 else ""
            message = f"{shortened(token)} has the id {token_id}{more}"
            message += f"; the model has {files.vocabulary} tokens, from 0"
            hint = "tokens were added without resizing the embedding: take the model's own file"
            name, found = files.at_key(name, token, message, hint)
            yield name, found._replace(severity=severity)


def _fault_of_form(content: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the key and the reason for which a tokenizer.json is none."""
    model, added = content.get("model"), content.get("added_tokens") or []
    if not isinstance(model, dict):
        return "model", "`model` is missing, or not an object"
    if model.get("type", "BPE") not in _MODELS:
        return "type", f"the model's `type` is {shortened(model['type'])}, not {', '.join(_MODELS)}"
    for key in _STEPS:
        step = content.get(key)
        if step is not None and not (isinstance(step, dict) and _is_text(step.get("type"))):
            return key, f"`{key}` is neither null nor an object with `type`"
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, list):  # Unigram: a token's id is its place
        if not all(isinstance(pair, list) and pair and _is_text(pair[0]) for pair in vocabulary):
            return "vocab", "`vocab` is not a list of tokens and scores"
    elif not isinstance(vocabulary, dict):
        return "vocab", "`vocab` is missing"
    elif not all(type(token_id) is int for token_id in vocabulary.values()):
        return "vocab", "`vocab` has an id that is not a whole number"
    if not vocabulary:
        return "vocab", "`vocab` is empty"
    if not isinstance(added, list) or not all(
        isinstance(token, dict) and type(token.get("id")) is int and _is_text(token.get("content"))
        for token in added
    ):
        return "added_tokens", "`added_tokens` is not a list of tokens with `id` and `content`"
    return None


def _fault_of_merges(model: Mapping[str, Any]) -> tuple[str, str] | None:
    known, merges = model["vocab"], model.get("merges") or []
    if not isinstance(merges, list):
        return "merges", "`merges` is not a list"
    for merge in merges if isinstance(known, dict) else ():
        try:
            first, second = merge.split(" ") if isinstance(merge, str) else merge
            is_known = first in known and second in known
        except (TypeError, ValueError):
            return "merges", f"`merges` has {shortened(merge)}, which is not a pair of tokens"
        if not is_known and not str(merge).startswith("#version"):
            return "merges", f"`merges` has {shortened(merge)}, which is not in `vocab`"
    return None


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _ids(content: Mapping[str, Any]) -> dict[str, int]:
    """Return the ids of a tokenizer.json of the right form, by token."""
    vocabulary = content["model"]["vocab"]
    if isinstance(vocabulary, list):
        ids = {pair[0]: place for place, pair in enumerate(vocabulary)}
    else:
        ids = dict(vocabulary)
    return ids | {token["content"]: token["id"] for token in content.get("added_tokens") or []}


def _ids_in_config(files: WeightFiles) -> dict[str, int]:
    """Return the ids that tokenizer_config.json adds, by token."""
    added = files.objects.get(TOKENIZER_CONFIG, {}).get("added_tokens_decoder")
    return {
        str(token.get("content") if isinstance(token, dict) else number): int(number)
        for number, token in (added.items() if isinstance(added, dict) else ())
        if number.isdecimal() and len(number) < 19
    }


@rule("VG931", Severity.WARNING, "tokenizer whose settings are not what is used", scope="weights")
def tokenizer_settings(files: WeightFiles) -> Iterator[WeightFinding]:
    """The tokenizer cuts or fills texts, or its special tokens are others than config.json's.

    A stored truncation or padding is reset here, as transformers does. A text ends where
    generation_config.json or config.json says, whatever the tokenizer calls the end.

    Bad:
        # config.json
        {"model_type": "falcon", "vocab_size": 2, "eos_token_id": 0}
        ---
        # tokenizer.json
        {"model": {"type": "BPE", "vocab": {"a": 0, "<end>": 1}, "merges": []},
         "truncation": {"max_length": 8}}
        ---
        # tokenizer_config.json
        {"eos_token": "<end>"}
    Good:
        # config.json
        {"model_type": "falcon", "vocab_size": 2, "eos_token_id": 1}
        ---
        # tokenizer.json
        {"model": {"type": "BPE", "vocab": {"a": 0, "<end>": 1}, "merges": []},
         "truncation": null}
        ---
        # tokenizer_config.json
        {"eos_token": "<end>"}
    """
    content = files.objects.get(TOKENIZER)
    if content is None or _fault_of_form(content) is not None:
        return
    for key in ("truncation", "padding"):
        if content.get(key) is not None:
            hint = f"it is reset, as in transformers; write null for `{key}`"
            yield files.at_key(TOKENIZER, key, f"the tokenizer has a stored {key}", hint)
    ids = _ids(content)
    for file in (TOKENIZER_CONFIG, SPECIAL_TOKENS):
        for key in _TOKENS:
            token = files.objects.get(file, {}).get(key)
            token = token.get("content") if isinstance(token, dict) else token
            said = files.config.get(f"{key}_id")
            numbers = said if isinstance(said, list) else [said]
            wanted = [number for number in numbers if type(number) is int]
            if isinstance(token, str) and token not in ids:
                message = f"`{key}` is {shortened(token)}, which is not in {TOKENIZER}"
                yield files.at_key(file, key, message, "take both files from one revision")
            elif isinstance(token, str) and wanted and ids[token] not in wanted:
                message = f"`{key}` is {shortened(token)}, id {ids[token]}; config.json says "
                hint = f"set `{key}_id` in config.json, if the tokenizer is right"
                yield files.at_key(file, key, message + shortened(said), hint)


@rule("VG932", Severity.ERROR, "token ids that are none", scope="weights")
def token_ids(files: WeightFiles) -> Iterator[WeightFinding]:
    """generation_config.json or config.json has a token id that is no token of the model.

    Bad:
        # config.json
        {"model_type": "falcon", "vocab_size": 100}
        ---
        # generation_config.json
        {"eos_token_id": ["<|endoftext|>"]}
    Good:
        # config.json
        {"model_type": "falcon", "vocab_size": 100}
        ---
        # generation_config.json
        {"eos_token_id": [11]}
    """
    severity = Severity.ERROR if files.is_falcon else Severity.WARNING
    for file in (CONFIG_FILE, GENERATION):
        for token in _TOKENS:
            key = f"{token}_id"
            value = files.objects.get(file, {}).get(key)
            if value is None or (token == "pad_token" and value == -1):
                continue
            ids = value if isinstance(value, list) and value and token == "eos_token" else [value]
            reason = next(filter(None, map(files.reason_against_id, ids)), None)
            if reason is not None:
                hint = "write the number of a token, as in the repository of the model"
                name, found = files.at_key(file, key, f"`{key}` is {reason}", hint)
                yield name, found._replace(severity=severity)
