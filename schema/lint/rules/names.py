"""VG2: does the name say what the config does?"""

from __future__ import annotations

import re
from collections.abc import Iterator

from vacc_gen.schema.lint import fixes as edits
from vacc_gen.schema.lint.diagnostics import Severity
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.rules._facts import (
    IN_FOLDERS,
    MODEL_FILES,
    PRECISIONS,
    basename,
    is_huggingface,
    is_unwritten,
    lengths_of,
    name_span,
    numbers,
    text_length,
    words,
)
from vacc_gen.schema.lint.subject import Finding, Subject

_SIZES = ("tiny", "mini", "nano", "small", "medium", "base", "large", "xlarge")
_GENERIC = frozenset(("llm", "vlm", "model", "test", "visual", "text", "vision", "chat", "hf"))


@rule("VG201", Severity.ERROR, "precision in the name contradicts backend.dtype", fix="unsafe")
def precision_in_name(subject: Subject) -> Iterator[Finding]:
    """The name says one precision and `backend.dtype` another; scripts load the model by its name.

    Bad:
        name: resnet50_int8
        backend:
          dtype: fp16
    Good:
        name: resnet50_fp16
        backend:
          dtype: fp16
    """
    name, dtype = subject.get("name"), subject.get("backend", "dtype")
    if not isinstance(name, str) or dtype is None:
        return
    said = [word for word in words(name) if word in PRECISIONS]
    if said and dtype not in said:
        span = name_span(subject, said[-1])
        yield Finding(
            span,
            f"the name says {said[-1]}, `backend.dtype` says {dtype}",
            f"`backend.dtype` is on line {subject.span('backend', 'dtype').line}",
            edits.replace(span, dtype, safe=False) if span.end - span.start == 4 else None,
        )


@rule("VG202", Severity.ERROR, "tp in the name contradicts model_kwargs.tp", fix="unsafe")
def tp_in_name(subject: Subject) -> Iterator[Finding]:
    """The name says another tensor parallelism than the model is compiled for.

    The server is started with as many dies as the name promises.

    Bad:
        name: falcon-7b-instruct-fp16-tp8-1024-2048
        frontend:
          model_kwargs:
            tp: 4
    Good:
        name: falcon-7b-instruct-fp16-tp4-1024-2048
        frontend:
          model_kwargs:
            tp: 4
    """
    name = subject.get("name")
    if not isinstance(name, str) or not is_huggingface(subject):
        return
    said = next((word for word in words(name) if re.fullmatch(r"tp\d{1,3}", word)), None)
    tp = subject.get("frontend", "model_kwargs", "tp")
    span = name_span(subject, said) if said else None
    if said is None or span is None:
        return
    if tp is None and subject.lacks("frontend", "model_kwargs", "tp"):
        section = ("frontend", "model_kwargs") if subject.has("frontend", "model_kwargs") else ()
        node = subject.document.node(*section) if section else None
        yield Finding(
            subject.key_span("frontend", "model_kwargs", "tp"),
            f"`tp` is missing, and the name says {said}",
            f"write `tp: {said[2:]}` in `frontend.model_kwargs`",
            edits.insert(subject.document, node, f"tp: {said[2:]}", safe=False) if node else None,
        )
    elif tp is not None and int(said[2:]) != tp:
        yield Finding(
            span,
            f"the name says {said}, `frontend.model_kwargs.tp` says {tp}",
            f"`tp` is on line {subject.span('frontend', 'model_kwargs', 'tp').line}",
            edits.replace(span, f"tp{tp}", safe=False),
        )


@rule("VG203", Severity.ERROR, "lengths in the name contradict the shape", fix="unsafe")
def lengths_in_name(subject: Subject) -> Iterator[Finding]:
    """The name says other lengths than the model is compiled for.

    Bad:
        name: falcon-7b-instruct-fp16-tp4-2048-4096
        frontend:
          shape:
            input_ids: [[1024], [2048]]
    Good:
        name: falcon-7b-instruct-fp16-tp4-1024-2048
        frontend:
          shape:
            input_ids: [[1024], [2048]]
    """
    name, lengths = subject.get("name"), lengths_of(subject)
    if not isinstance(name, str) or lengths is None or lengths.total is None:
        return
    prefill, total = lengths.prefill.value, lengths.total.value
    if prefill > total or prefill % 16 or total % 16:
        return  # VG302, VG303
    pairs = [
        (int(one), int(other))
        for one, other in re.findall(
            r"(?<![A-Za-z0-9.])(\d{2,7})[-_](?=(\d{2,7})(?![A-Za-z0-9]))", name
        )
    ]
    if not pairs or (prefill, total) in pairs:
        return
    said = pairs[-1]
    wrong, right = (said[0], prefill) if said[0] != prefill else (said[1], total)
    span = name_span(subject, str(wrong))
    both_wrong = said[0] != prefill and said[1] != total
    yield Finding(
        span,
        f"the name says {said[0]}-{said[1]}, the shape says {prefill}-{total}",
        f"the shape is on line {lengths.prefill.span.line}",
        None if both_wrong else edits.replace(span, str(right), safe=False),
    )


@rule("VG204", Severity.ERROR, "kv8 in the name contradicts frontend.quantize", fix="none")
def kv8_in_name(subject: Subject) -> Iterator[Finding]:
    """`kv8` in the name stands for an 8-bit KV cache, `w16kv8`; without it the cache has 16 bits.

    Bad:
        name: falcon-7b-instruct-int8-tp4-1024-2048-kv8
        backend:
          dtype: int8
        frontend:
          quantize:
            type: w8a16_gptq
    Good:
        name: falcon-7b-instruct-int8-tp4-1024-2048-kv8
        backend:
          dtype: int8
        frontend:
          quantize:
            type: w16kv8
    """
    name = subject.get("name")
    quantize = subject.get("frontend", "quantize", "type")
    if not isinstance(name, str) or not is_huggingface(subject):
        return
    if subject.has("frontend", "quantize", "type") and quantize is None:
        return
    said = "kv8" in words(name)
    if not quantize and subject.lacks("dataset") and subject.get("backend", "dtype") == "int8":
        return  # VG401
    if said and quantize != "w16kv8":
        what = f"is {quantize}" if quantize else "is absent"
        yield Finding(
            name_span(subject, "kv8"),
            f"the name says kv8, `frontend.quantize.type` {what}",
            "an 8-bit KV cache is `type: w16kv8`",
        )
    elif quantize == "w16kv8" and not said:
        yield Finding(
            subject.span("name"),
            "the KV cache has 8 bits (`w16kv8`), and the name does not say kv8",
            "end the name in -kv8, or it overwrites the one with a 16-bit cache",
        )


@rule("VG205", Severity.WARNING, "the name or the file is of another model than the checkpoint")
def model_in_name(subject: Subject) -> Iterator[Finding]:
    """A config that was copied from another model's: the name or the file says qwen1.5, and the
    checkpoint is a Qwen2.

    Bad:
        name: Qwen1.5-7B-fp16-tp4-1024-2048
        frontend:
          checkpoint: /models/Qwen2-7B
    Good:
        name: Qwen2-7B-fp16-tp4-1024-2048
        frontend:
          checkpoint: /models/Qwen2-7B
    """
    name, checkpoint = subject.get("name"), subject.get("frontend", "checkpoint")
    if not isinstance(name, str) or not isinstance(checkpoint, str) or not is_huggingface(subject):
        return
    if checkpoint.endswith((*IN_FOLDERS, *MODEL_FILES)):
        return  # VG301
    if is_unwritten(name) or is_unwritten(checkpoint):
        return  # VG119
    model = basename(checkpoint)
    conflict = _conflict(name, model)
    if conflict:
        yield Finding(subject.span("name"), f"the name says {conflict}, the checkpoint is {model}")
        return
    file = basename(subject.document.path)
    conflict = _conflict(file.rsplit(".", 1)[0], model, by_series=True)
    if conflict:
        yield Finding(
            subject.span("frontend", "checkpoint"),
            f"the file is called {file}, the checkpoint is {model}",
            f"{conflict} or not?",
        )
        return
    said = {word for word in words(name) if not _is_technical(word)} - _GENERIC
    said = {word for word in said if not _SIZE_OR_VERSION.fullmatch(word)}
    telling = [
        word for word in words(model) if len(word) >= 3 and not _SIZE_OR_VERSION.fullmatch(word)
    ]
    if (
        said
        and telling
        and not any(_alike(name, word) for word in telling)
        and not any(_alike(model, word) for word in said)
    ):
        yield Finding(
            subject.span("name"),
            f"the name has nothing of the checkpoint's, {model}",
            "by custom it begins with the checkpoint's name",
        )


_SIZE_OR_VERSION = re.compile(r"v?\d+[a-z]?")
"""`7b`, `v1` and `2`: words that stand in every other model's name."""

_VERSIONED = re.compile(r"([a-z]{2,})[-_ ]?v?(\d+(?:[._]\d+)?)(?![0-9]*[a-z])")


def _versions(text: str) -> dict[str, set[str]]:
    """Return the versions that a name gives to words: qwen to 1.5, llama to 2."""
    found: dict[str, set[str]] = {}
    for word, version in _VERSIONED.findall(text.lower()[:255]):
        if word not in ("fp", "int", "tp", "bf", "kv") and float(version.replace("_", ".")) < 16:
            found.setdefault(word, set()).add(version.replace("_", ".").removesuffix(".0"))
    return found


def _conflict(one: str, other: str, by_series: bool = False) -> str | None:
    """Return the word and version in `one` that `other` has in another version, or None.

    `by_series`, 2 in `one` stands for 2.5 in `other` too: a file is called by the architecture,
    hf_qwen2 for a Qwen2.5.
    """
    ours, theirs = _versions(one), _versions(other)
    for word, versions in ours.items():
        known = theirs.get(word, set())
        if by_series:
            known = known | {version.partition(".")[0] for version in known}
        if known and not versions & known:
            return f"{word}{min(versions)}"
    return None


def _is_technical(word: str) -> bool:
    return word in PRECISIONS or word.isdigit() or bool(re.fullmatch(r"tp\d+|kv8|\d+layer", word))


def _alike(text: str, word: str) -> bool:
    return word in "".join(words(text)) or word.rstrip("0123456789") in words(text)


@rule("VG206", Severity.WARNING, "word in the name looks misspelled", fix="unsafe")
def misspelled_word(subject: Subject) -> Iterator[Finding]:
    """Two letters of a size or a precision are swapped, so that nobody finds the output.

    Bad:
        name: electra_samll
    Good:
        name: electra_small
    """
    name = subject.get("name")
    if not isinstance(name, str):
        return
    vocabulary = (*PRECISIONS, *_SIZES)
    for word in words(name):
        if word in vocabulary:
            continue
        meant = next((known for known in vocabulary if _swapped(word, known)), None)
        if meant:
            span = name_span(subject, word)
            yield Finding(
                span,
                f"`{word}` in the name looks misspelled",
                f"did you mean `{meant}`?",
                edits.replace(span, meant, safe=False),
            )


def _swapped(word: str, known: str) -> bool:
    if len(word) != len(known):
        return False
    apart = [index for index in range(len(word)) if word[index] != known[index]]
    return (
        len(apart) == 2
        and apart[1] == apart[0] + 1
        and word[apart[0]] == known[apart[1]]
        and word[apart[1]] == known[apart[0]]
    )


@rule("VG207", Severity.WARNING, "length in the name differs from the encoder's input")
def encoder_length_in_name(subject: Subject) -> Iterator[Finding]:
    """The name of a text encoder says another sequence length than its inputs have.

    Bad:
        name: bert_base_en_qa-384_fp16
        frontend:
          type: onnx
          checkpoint: /models/bert.onnx
          shape:
            input_ids: [1, 256]
    Good:
        name: bert_base_en_qa-256_fp16
        frontend:
          type: onnx
          checkpoint: /models/bert.onnx
          shape:
            input_ids: [1, 256]
    """
    name, length = subject.get("name"), text_length(subject)
    if not isinstance(name, str) or length is None:
        return
    said = [number for number in numbers(name) if number >= 64 and number % 16 == 0]
    if said and length not in said:
        yield Finding(
            name_span(subject, str(said[-1])),
            f"the name says {said[-1]}, the inputs are {length} tokens long",
        )


@rule("VG208", Severity.INFO, "int8 in the name of 16-bit weights", default=False)
def kv8_called_int8(subject: Subject) -> Iterator[Finding]:
    """`w16kv8` keeps the weights in 16 bits; only the KV cache has 8. The name says int8.

    That is how the published configs are called, and how vacc-gen calls its own.

    Bad:
        name: falcon-7b-int8-tp4-1024-2048-kv8
        backend:
          dtype: int8
        frontend:
          quantize:
            type: w16kv8
    Good:
        name: falcon-7b-tp4-1024-2048-kv8
        backend:
          dtype: int8
        frontend:
          quantize:
            type: w16kv8
    """
    name = subject.get("name")
    kv8 = subject.get("frontend", "quantize", "type") == "w16kv8"
    if kv8 and isinstance(name, str) and "int8" in words(name):
        yield Finding(name_span(subject, "int8"), "the name says int8, the weights have 16 bits")


_FILE_WORDS = frozenset((*PRECISIONS, "config", "cfg", "yaml", "yml"))


@rule("VG209", Severity.INFO, "name unlike the file's", default=False)
def name_unlike_file(subject: Subject) -> Iterator[Finding]:
    """By custom the name begins with the file's, and pages and scripts load the model by it.

    A fifth of the published configs for images do not keep to that, so this is for those who do.

    Bad:
        # timm_resnet.yaml
        name: torchvision_resnet_fp16
        frontend: {type: onnx, checkpoint: /models/resnet.onnx}
    Good:
        # timm_resnet.yaml
        name: timm_resnet_fp16
        frontend: {type: onnx, checkpoint: /models/resnet.onnx}
    """
    name, file = subject.get("name"), basename(subject.document.path)
    if not isinstance(name, str) or is_huggingface(subject) or "." not in file:
        return
    of_file = [word for word in words(file.rsplit(".", 1)[0]) if word not in _FILE_WORDS]
    if of_file and not "".join(words(name)).startswith("".join(of_file)):
        yield Finding(subject.span("name"), f"the file is called {file}")
