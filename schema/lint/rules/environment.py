"""VG18: the pins of a recipe's environment; what is not a pin at all is VG105."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vacc_gen.schema.lint.diagnostics import Finding, Severity, plural
from vacc_gen.schema.lint.files import RecipeFile
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.tree import Span

if TYPE_CHECKING:
    from vacc_gen.schema.packages import Pin, PinProblem


@rule("VG186", Severity.ERROR, "pins that cannot be installed", scope="recipe")
def uninstallable_pins(file: RecipeFile) -> Iterator[Finding]:
    """Two pins of a package exclude each other, or a pinned version has no wheel for the Python.

    The recipe's pins are looked at together with those of its environment preset. What is known of
    wheels ships with vacc-gen; nothing is asked of a package index. A package that is published as
    source alone is a warning: it can be built by hand, but no lock can hold it.

    Bad:
        version: 2
        environment: {pins: [transformers>=4.40, transformers<4.38]}
    Good:
        version: 2
        environment: {pins: ["transformers>=4.38,<4.40"]}
    """
    yield from _problems(file, ("contradiction", "python", "source-only"))


@rule("VG187", Severity.ERROR, "pins that are known to break together", scope="recipe")
def breaking_pins(file: RecipeFile) -> Iterator[Finding]:
    """Two packages can be installed beside each other and do not run.

    A resolver finds such a set, and an import check passes: onnxruntime 1.13.1 beside numpy 2 is
    imported, and kills the process in its first session.

    Bad:
        version: 2
        environment: {pins: [onnxruntime==1.13.1, numpy==2.2.6]}
    Good:
        version: 2
        environment: {pins: [onnxruntime==1.13.1, numpy==1.26.4]}
    """
    yield from _problems(file, ("companion",))


def _problems(file: RecipeFile, kinds: tuple[str, ...]) -> Iterator[Finding]:
    """Yield what is known of the pins, once for each place: a Python may be wrong for many."""
    from vacc_gen.schema.packages import effective_pins, parse_pin, pin_problems

    environment = file.recipe.environment
    if file.known is None:
        return
    own = [parse_pin(text) for text in environment.pins]
    preset = [parse_pin(text) for text in file.known.environment_pins(environment.preset)]
    pins = effective_pins(preset, own)
    placed: dict[Span, list[PinProblem]] = {}
    for problem in pin_problems(pins, environment.python, file.known.pin_facts()):
        if problem.kind in kinds:
            placed.setdefault(_place(file, problem, own), []).append(problem)
    for span, (problem, *others) in placed.items():
        more = f"; {plural(len(others), 'more pin')} likewise" if others else ""
        # What has no wheel can still be built by hand.
        severity = Severity.WARNING if problem.kind == "source-only" else None
        yield Finding(span, problem.message + more, problem.hint, severity=severity)


def _place(file: RecipeFile, problem: PinProblem, own: list[Pin]) -> Span:
    """Return where the recipe's pin stands that takes part; else its Python, else its preset."""
    for pin in problem.pins:
        if pin in own:
            return file.at("environment", "pins", own.index(pin))
    return file.at("environment", "python" if problem.kind == "python" else "preset")
