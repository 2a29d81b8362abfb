"""VG19: does the recipe fit its model and its card?"""

from __future__ import annotations

from collections.abc import Iterator

from vacc_gen.schema.lint import fixes as edits
from vacc_gen.schema.lint.diagnostics import Severity
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.subject import Finding, Subject


@rule("VG190", Severity.ERROR, "unknown preset", scope="recipe", fix="safe")
def unknown_preset(subject: Subject) -> Iterator[Finding]:
    """No model, card or environment of this name comes with vacc-gen.

    Bad:
        version: 2
        model:
          preset: falcon-7b-instrct
          checkpoint: /path/to/falcon-7b-instruct
    Good:
        version: 2
        model:
          preset: falcon-7b-instruct
          checkpoint: /path/to/falcon-7b-instruct
    """
    from vacc_gen.schema.lint.suggestions import nearest

    for shelf, noun, steps in (
        ("models", "model", ("model", "preset")),
        ("cards", "card", ("target", "card")),
        ("environments", "environment", ("environment", "preset")),
    ):
        name, known = subject.get(*steps), subject.known.names(shelf)
        if not isinstance(name, str) or not known:
            continue
        if name.casefold() in (one.casefold() for one in known):
            continue
        span, near = subject.span(*steps), nearest(name, known)
        yield Finding(
            span,
            f"no {noun} is called `{name}`",
            f"did you mean `{near}`?" if near else f"known: {', '.join(known)}",
            edits.replace(span, near) if near else None,
        )


@rule("VG191", Severity.ERROR, "prefill longer than total", scope="recipe")
def recipe_lengths(subject: Subject) -> Iterator[Finding]:
    """The total length holds the prompt and the answer, so it is at least the prompt's.

    Bad:
        version: 2
        model: {preset: falcon-7b, checkpoint: /path/to/falcon-7b}
        target: {prefill: 2048, total: 1024}
    Good:
        version: 2
        model: {preset: falcon-7b, checkpoint: /path/to/falcon-7b}
        target: {prefill: 1024, total: 2048}
    """
    unknown = [problem.facts["steps"] for problem in subject.problems.get("unknown-key", ())]
    if ("target",) in unknown:
        return  # it may have been one of the lengths
    prefill, total = (_length(subject, key) for key in ("prefill", "total"))
    if prefill is not None and total is not None and prefill > total:
        key = "prefill" if subject.has("target", "prefill") else "total"
        yield Finding(
            subject.span("target", key), f"prefill {prefill} is longer than total {total}"
        )


def _length(subject: Subject, key: str) -> int | None:
    """Return a length of the target, or its default where it is absent; None where it is wrong."""
    if subject.has("target", key):
        value: int | None = subject.get("target", key)
        return value
    from vacc_gen.schema.lint.walk import packaged_schema

    default: int = packaged_schema("recipe")["$defs"]["Target"]["properties"][key]["default"]
    return default


@rule("VG192", Severity.WARNING, "longer than the model's positions", scope="recipe")
def recipe_positions(subject: Subject) -> Iterator[Finding]:
    """The model was trained on shorter texts than `total`, and has no positions for the rest.

    Bad:
        version: 2
        model: {preset: falcon-7b, checkpoint: /path/to/falcon-7b}
        target: {total: 4096}
    Good:
        version: 2
        model: {preset: falcon-7b, checkpoint: /path/to/falcon-7b}
        target: {total: 2048}
    """
    total = subject.get("target", "total")
    most = (subject.geometry or {}).get("max_positions") if total else None
    if total and most and total > most:
        yield Finding(
            subject.span("target", "total"),
            f"total {total} is longer than the model's {most} positions",
        )


@rule("VG193", Severity.ERROR, "quantization group does not divide the widths", scope="recipe")
def group_size(subject: Subject) -> Iterator[Finding]:
    """Weights of a group share a scale, so the group's size divides every width of the model.

    Bad:
        version: 2
        model: {preset: falcon-tiny, checkpoint: /path/to/falcon-tiny}
        quantization: {group_size: 64}
    Good:
        version: 2
        model: {preset: falcon-7b, checkpoint: /path/to/falcon-7b}
        quantization: {group_size: 64}
    """
    size, geometry = subject.get("quantization", "group_size"), subject.geometry
    if size is None or geometry is None:
        return
    for key in ("hidden_size", "ffn_hidden_size"):
        width = geometry.get(key)
        if width and width % size:
            yield Finding(
                subject.span("quantization", "group_size"),
                f"a group of {size} does not divide the model's {key} {width}",
                "leave `group_size` out, and the widest that does is taken",
            )
            return


@rule("VG194", Severity.ERROR, "checkpoint of another model than the preset", scope="recipe")
def checkpoint_against_preset(subject: Subject) -> Iterator[Finding]:
    """The checkpoint is there, and its config.json has other sizes than the preset.

    A vocabulary or a number of positions of its own is no fault: fine-tunes have that. Where the
    preset's sizes are not verified this is a warning, and the checkpoint's own count.

    Bad:
        # vacc.yaml
        version: 2
        model: {preset: falcon-7b, checkpoint: weights}
        ---
        # weights/config.json
        {"model_type": "falcon", "hidden_size": 8192, "num_attention_heads": 128,
         "num_kv_heads": 8, "new_decoder_architecture": true, "num_hidden_layers": 60,
         "vocab_size": 65024}
    Good:
        # vacc.yaml
        version: 2
        model: {preset: falcon-40b, checkpoint: weights}
        ---
        # weights/config.json
        {"model_type": "falcon", "hidden_size": 8192, "num_attention_heads": 128,
         "num_kv_heads": 8, "new_decoder_architecture": true, "num_hidden_layers": 60,
         "vocab_size": 65024}
    """
    from vacc_gen.schema.checkpoint_facts import geometry_of, shape_difference

    preset, checkpoint = subject.get("model", "preset"), subject.get("model", "checkpoint")
    if not isinstance(preset, str) or not isinstance(checkpoint, str):
        return
    expected = subject.known.geometry(preset)
    found = geometry_of(subject.folder / checkpoint) if expected else None
    difference = shape_difference(expected, found) if expected and found else None
    if difference:
        yield Finding(
            subject.span("model", "checkpoint"),
            f"the checkpoint is no {preset}: {difference}",
            "choose the preset of this checkpoint, or the checkpoint of this preset",
            severity=None if subject.known.is_verified(preset) else Severity.WARNING,
        )


@rule("VG195", Severity.WARNING, "weights and cache exceed the card", scope="recipe")
def does_not_fit(subject: Subject) -> Iterator[Finding]:
    """Weights and KV cache of a die, by our estimate, need more memory than a die of the card has.

    The estimate counts 16 requests at once, as `vastgenx serve` takes them by default, and no
    activations or code; docs/memory.md has the formula.

    Bad:
        version: 2
        model: {preset: falcon-40b, checkpoint: /path/to/falcon-40b}
        target: {card: VA1-16G, tp: 2}
    Good:
        version: 2
        model: {preset: falcon-40b, checkpoint: /path/to/falcon-40b}
        target: {card: VA16, tp: 8}
    """
    card, sizes = subject.get("target", "card"), subject.geometry
    memory_bytes = subject.known.die_memory_bytes(card) if isinstance(card, str) else None
    total = _length(subject, "total")
    if memory_bytes is None or sizes is None or total is None:
        return
    from vacc_gen.schema.footprint import TP_CHOICES, footprint
    from vacc_gen.schema.geometry import Geometry
    from vacc_gen.schema.precision import EMBEDDED_ONLY, Precision

    geometry = Geometry.model_validate(sizes)
    for precision in subject.get("precisions") or ("fp16", "int8"):
        if precision in EMBEDDED_ONLY:
            continue
        kind, tp = Precision(precision), subject.get("target", "tp") or 4
        need_bytes = footprint(geometry, kind, tp, total).total_bytes
        if need_bytes > memory_bytes:
            enough = next(
                (
                    choice
                    for choice in TP_CHOICES
                    if footprint(geometry, kind, choice, total).total_bytes <= memory_bytes
                ),
                None,
            )
            yield Finding(
                subject.span("target", "tp" if subject.has("target", "tp") else "card"),
                f"{precision} on {tp} dies needs about {need_bytes / 2**30:.1f} GiB of each, "
                f"{card} has {memory_bytes / 2**30:.0f}",
                f"by our estimate tp {enough} would do" if enough else None,
            )
            return


@rule("VG196", Severity.ERROR, "nothing for the compiler", scope="recipe")
def nothing_to_compile(subject: Subject) -> Iterator[Finding]:
    """int4 is made by the embedded backend alone: a workspace needs a precision beside it that the
    vendor's compiler makes too.

    Bad:
        version: 2
        model: {preset: falcon-7b, checkpoint: /path/to/falcon-7b}
        precisions: [int4]
    Good:
        version: 2
        model: {preset: falcon-7b, checkpoint: /path/to/falcon-7b}
        precisions: [int8, int4]
    """
    from vacc_gen.schema.precision import EMBEDDED_ONLY

    precisions = subject.get("precisions")
    if precisions and all(precision in EMBEDDED_ONLY for precision in precisions):
        yield Finding(
            subject.span("precisions"),
            f"the compiler makes no {' or '.join(precisions)}",
            "name fp16, int8 or kv8 as well",
        )
