"""VG31: are the inputs called as the model calls them, and of lengths that go together?"""

from __future__ import annotations

from collections.abc import Iterator

from vacc_gen.schema.lint import fixes as edits
from vacc_gen.schema.lint.diagnostics import Severity
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.rules._facts import (
    TEXT_INPUTS,
    is_contradicted,
    is_huggingface,
    may_be_vision,
    shapes_of,
)
from vacc_gen.schema.lint.subject import Finding, Subject
from vacc_gen.schema.lint.suggestions import distance

KNOWN_INPUTS = (
    "input_ids",
    "attention_mask",
    "token_type_ids",
    "position_ids",
    "segment_ids",
    "input_mask",
    "inputs_embeds",
    "pixel_values",
    "text_token_mask",
    "voxel_coords",
    "images",
    "image",
    "inputs",
    "input",
)
"""Names that published configs and exporters give to inputs; a number may follow."""

_SHORT = 6
"""Names up to this length must have the same letters: `inputs` is not a slip for `input`."""


@rule("VG310", Severity.ERROR, "text inputs of unequal shape")
def unequal_text_inputs(subject: Subject) -> Iterator[Finding]:
    """An encoder's `input_ids`, `attention_mask` and `token_type_ids` say the same tokens over:
    what they are, which of them count, and which sentence each is of.

    Models with a cache are left out: their mask is longer than their input.

    Bad:
        frontend:
          type: onnx
          checkpoint: /models/bert.onnx
          dtype: int64
          shape:
            input_ids: [1, 384]
            attention_mask: [1, 256]
    Good:
        frontend:
          type: onnx
          checkpoint: /models/bert.onnx
          dtype: int64
          shape:
            input_ids: [1, 384]
            attention_mask: [1, 384]
    """
    shapes = shapes_of(subject)
    if any("past" in name or "cache" in name for name in shapes):
        return
    texts = {
        name: shape
        for name, shape in shapes.items()
        if TEXT_INPUTS.match(name) and shape and all(type(size) is int for size in shape)
    }
    sizes = list(texts.values())
    usual = max(sizes, key=sizes.count, default=[])
    first = next((name for name, shape in texts.items() if shape == usual), "")
    for name, shape in texts.items():
        steps: tuple[str | int, ...] = ("frontend", "shape", name)
        odd = next((axis for axis in range(len(shape)) if shape[axis:] == usual[axis:]), len(shape))
        if len(shape) == len(usual) and odd:
            steps = (*steps, odd - 1)
        elif len(shape) == len(usual) or ("mask" in name and shape[-1] == usual[-1]):
            continue  # a mask may have axes of its own
        yield Finding(
            subject.span(*steps),
            f"`{name}` is {shape}, `{first}` is {usual}",
            "inputs about the same tokens have the same shape",
        )


@rule("VG311", Severity.WARNING, "input that looks misspelled", fix="unsafe")
def misspelled_input(subject: Subject) -> Iterator[Finding]:
    """The name of an input is nearly one that models have; the compiler finds inputs by name.

    Bad:
        frontend:
          type: onnx
          checkpoint: /models/bert.onnx
          shape:
            input_ids: [1, 384]
            attention_maks: [1, 384]
    Good:
        frontend:
          type: onnx
          checkpoint: /models/bert.onnx
          shape:
            input_ids: [1, 384]
            attention_mask: [1, 384]
    """
    shape = subject.node("frontend", "shape")
    if shape is None or not isinstance(shape.value, dict):
        return
    found = False
    for name, entry in shape.value.items():
        meant = _meant(name)
        if meant is not None and meant not in shape.value:
            found = True
            yield Finding(
                entry.key_span,
                f"the input `{name}` looks misspelled",
                f"did you mean `{meant}`?",
                edits.replace(entry.key_span, meant, safe=False),
            )
    language = is_huggingface(subject) and not may_be_vision(subject)
    language = language and not is_contradicted(subject)
    if language and shape.value and not found and "input_ids" not in shape.value:
        first = next(iter(shape.value.values()))
        name = next(iter(shape.value))
        yield Finding(
            first.key_span,
            f"a language model has no input `{name}`",
            "its one input is `input_ids`",
        )


def _meant(name: str) -> str | None:
    """Return the known name that another one is a slip for, its number kept; None without one."""
    stem = name.rstrip("0123456789").rstrip("_.")
    rest = name[len(stem) :]
    if not stem.isascii() or stem in KNOWN_INPUTS or stem == "att_mask":
        return None
    for known in KNOWN_INPUTS:
        if stem.lower().replace("-", "_") == known and stem != known:
            return known + rest
        slip = distance(stem, known, 1) <= 1
        if slip and (len(known) > _SHORT or sorted(stem) == sorted(known)):
            return known + rest
    return None
