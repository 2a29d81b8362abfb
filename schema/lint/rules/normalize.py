"""VG51: are mean and std both there, and each in its place?"""

from __future__ import annotations

from collections.abc import Iterator

from vacc_gen.schema.lint import fixes as edits
from vacc_gen.schema.lint.diagnostics import Severity
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.subject import Finding, Subject

_OPS = ("dataset", "process_ops")
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_ROUNDING = 0.002
"""Half of a grey value of 255: how far published copies of ImageNet's numbers are apart."""


@rule("VG511", Severity.WARNING, "mean without std, or std without mean")
def half_normalized(subject: Subject) -> Iterator[Finding]:
    """Models are trained with both, and every published config has both or neither.

    Bad:
        dataset:
          process_ops:
            - type: DecodeImage
            - type: Resize
              size: [224, 224]
            - type: Normalize
              mean: [0.485, 0.456, 0.406]
            - type: ToTensor
    Good:
        dataset:
          process_ops:
            - type: DecodeImage
            - type: Resize
              size: [224, 224]
            - type: Normalize
              mean: [0.485, 0.456, 0.406]
              std: [0.229, 0.224, 0.225]
            - type: ToTensor
    """
    for index, op in subject.items(*_OPS):
        if op.get("type") != "Normalize":
            continue
        for key, other in (("mean", "std"), ("std", "mean")):
            if op.get(key) and subject.lacks(*_OPS, index, other):
                yield Finding(
                    subject.key_span(*_OPS, index, key),
                    f"`{key}` without `{other}`",
                    f"write the `{other}` that the model was trained with",
                )


@rule("VG512", Severity.ERROR, "mean and std exchanged", fix="unsafe")
def exchanged(subject: Subject) -> Iterator[Finding]:
    """ImageNet's std stands where the mean belongs, or its mean where the std belongs.

    Bad:
        dataset:
          process_ops:
            - type: DecodeImage
            - type: Resize
              size: [224, 224]
            - type: Normalize
              mean: [0.229, 0.224, 0.225]
              std: [0.485, 0.456, 0.406]
            - type: ToTensor
    Good:
        dataset:
          process_ops:
            - type: DecodeImage
            - type: Resize
              size: [224, 224]
            - type: Normalize
              mean: [0.485, 0.456, 0.406]
              std: [0.229, 0.224, 0.225]
            - type: ToTensor
    """
    for index, op in subject.items(*_OPS):
        mean, std = op.get("mean"), op.get("std")
        if not mean or not std or not (_is(mean, _STD) and _is(std, _MEAN)):
            continue
        spans = [subject.span(*_OPS, index, key) for key in ("mean", "std")]
        first, second = (subject.document.text[span.start : span.end] for span in spans)
        fix = None
        if "\n" not in first + second:
            fix = edits.swap(subject.document, *spans, safe=False)
        yield Finding(spans[0], "mean and std are exchanged", "ImageNet's mean is the larger", fix)


def _is(values: list[float], known: tuple[float, ...]) -> bool:
    """Whether values are the known ones, for pixels of 0 to 1 or of 0 to 255."""
    scale = 255 if max(values) > 1 else 1
    pairs = zip(values, known, strict=False)
    return len(values) == len(known) and all(abs(a / scale - b) < _ROUNDING for a, b in pairs)
