"""What `validate` finds of mistakes that people make, and what it says of files without any.

python benchmarks/mutations.py [FOLDER] [--mutants N] [--seed N] [--survivors N]

Takes the compile configs below FOLDER in which `validate` finds nothing, makes one mistake in a
copy, and looks whether it is found, at the right line, with the right suggestion first. A mutant
that means the same as the original is none. Prints a table by kind of mistake, then the survivors.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mutators import HARMLESS, MUTATORS, Mutant

from vacc_gen.generator.cli.checking import PresetModels
from vacc_gen.schema.lint.check import check_paths, check_text
from vacc_gen.schema.lint.diagnostics import Diagnostic, Severity
from vacc_gen.schema.lint.document import Document, load

DEFAULT_FOLDER = Path(__file__).parents[1] / "tests" / "data" / "vamc"
KNOWN = PresetModels()


@dataclass
class Score:
    """Counts for one kind of mistake."""

    mutants: int = 0
    detected: int = 0
    right_line: int = 0
    suggestions: int = 0
    right_suggestion: int = 0
    exact: int = 0  # as many findings as mistakes
    survivors: list[str] = field(default_factory=list)

    def add(self, other: Score) -> None:
        for name in (
            "mutants",
            "detected",
            "right_line",
            "suggestions",
            "right_suggestion",
            "exact",
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))


def key_of(found: Diagnostic) -> tuple[str, str]:
    return found.code, found.message


def judge(path: str, document: Document, mutant: Mutant, score: Score) -> None:
    """Check a mutant, and count how well that went."""
    before = {key_of(found) for found in check_text(document.text, path, KNOWN)}
    found = [one for one in check_text(mutant.text, path, KNOWN) if key_of(one) not in before]
    score.mutants += 1
    where = f"{path}: {mutant.what}"
    if not found:
        score.survivors.append(f"not found: {where}")
        return
    score.detected += 1
    told = "; ".join(f"{one.code} line {one.line} {one.message}" for one in found)
    if len(found) == mutant.mistakes:
        score.exact += 1
    else:
        score.survivors.append(f"{len(found)} findings: {where}: {told}")
    at_line = [one for one in found if one.line in mutant.lines]
    told_all = {one.line for one in at_line} == mutant.lines
    if at_line and (told_all or mutant.mistakes == 1):
        score.right_line += 1
    else:
        score.survivors.append(f"line {sorted(mutant.lines)[:3]}: {where}: {told}")
    if mutant.suggestion is not None:
        score.suggestions += 1
        first = re.search(r"`([^`]+)`|(the top level)", at_line[0].hint or "") if at_line else None
        said = (first.group(1) or first.group(2)) if first else None
        if said == mutant.suggestion:
            score.right_suggestion += 1
        elif at_line:
            score.survivors.append(f"suggestion {said}, not {mutant.suggestion}: {where}: {told}")


def same_output(rng: random.Random, paths: list[Path], score: Score) -> None:
    """Give a config the name and workspace of another one beside it."""
    one, other = rng.sample(paths, 2)
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder, "one.yaml"), Path(folder, "two.yaml")
        first.write_bytes(one.read_bytes())
        document = load(other.read_bytes())
        ours = load(one.read_bytes()).values
        name, where = document.node("name"), document.node("workspace", "path")
        if name is None or where is None or "path" not in ours["workspace"]:
            return
        if name.span.start > where.span.start:
            return
        text = document.text[: name.span.start] + ours["name"]
        text += document.text[name.span.end : where.span.start] + ours["workspace"]["path"]
        second.write_text(text + document.text[where.span.end :], encoding="utf-8")
        alone = {key_of(one) for one in check_text(second.read_text("utf-8"), str(second), KNOWN)}
        found = check_paths([folder], KNOWN).diagnostics
    score.mutants += 1
    at_second = [d for d in found if d.path.endswith("two.yaml") and d.line == name.span.line]
    if at_second:  # the name may contradict its own file, too
        score.exact += sum(key_of(one) not in alone for one in at_second) <= 1
        score.detected += 1
        score.right_line += 1
    else:
        score.survivors.append(f"not found: {other} with the name of {one}")


def healthy(folder: Path) -> Iterator[tuple[Path, Document]]:
    """Yield the compile configs with no finding; that heads do not split (VG6) is no mistake."""
    for path in sorted(folder.rglob("*.y*ml")):
        document = load(path.read_bytes(), str(path))
        found = check_text(document.text, str(path), KNOWN)
        if all(one.code.startswith("VG6") for one in found) and "frontend" in document.values:
            yield path, document


def mutants(
    rng: random.Random, files: list[tuple[Path, Document]], name: str, wanted: int
) -> Iterator[tuple[str, Document, Mutant]]:
    """Yield up to `wanted` mutants of one kind that mean something else than their originals."""
    for _ in range(wanted * 20):
        if not wanted:
            return
        path, document = rng.choice(files)
        mutant = MUTATORS[name](rng, document)
        if mutant is None or mutant.text == document.text:
            continue
        again = load(mutant.text)
        if not again.problems and again.values == document.values:
            continue
        wanted -= 1
        yield str(path), document, mutant


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=DEFAULT_FOLDER)
    parser.add_argument("--mutants", type=int, default=100, help="of each kind")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--survivors", type=int, default=1000, help="how many to print")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    files = list(healthy(options.folder))
    if len(files) < 2:
        sys.exit(f"no healthy compile configs in {options.folder}")
    scores: dict[str, Score] = {}
    for name in MUTATORS:
        scores[name] = Score()
        for path, document, mutant in mutants(rng, files, name, options.mutants):
            judge(path, document, mutant, scores[name])
    scores["repeated output name"] = Score()
    for _ in range(options.mutants):
        same_output(rng, [path for path, _ in files], scores["repeated output name"])
    report(options.folder, files, scores, options.survivors)
    print_harmless(rng, files, options.mutants)


def report(
    folder: Path, files: list[tuple[Path, Document]], scores: dict[str, Score], survivors: int
) -> None:
    total = Score()
    print(
        f"{'mistake':36}{'mutants':>9}{'found':>9}{'right line':>12}"
        f"{'one finding':>13}{'suggestion':>12}"
    )
    for name, score in scores.items():
        print_row(name, score)
        total.add(score)
    print_row("all", total)
    everything = sorted(folder.rglob("*.y*ml"))
    found = check_paths([str(path) for path in everything], KNOWN).diagnostics
    errors = sum(one.severity is Severity.ERROR for one in found)
    print(f"\n{len(everything)} files as they are: {errors} errors, {len(found) - errors} others")
    print(f"{len(files)} of them, without any finding, were mutated")
    lines = [f"{name}: {line}" for name, score in scores.items() for line in score.survivors]
    print(f"\nsurvivors: {len(lines)}")
    for line in lines[:survivors]:
        print(f"  {line}")


def print_harmless(rng: random.Random, files: list[tuple[Path, Document]], wanted: int) -> None:
    """Change files without changing their meaning, and print what is said of that."""
    print("\nchanges that mean the same")
    for name, change in HARMLESS.items():
        wrong: list[str] = []
        for _ in range(wanted):
            path, document = rng.choice(files)
            before = {key_of(one) for one in check_text(document.text, str(path), KNOWN)}
            after = check_text(change(rng, document), str(path), KNOWN)
            told = [f"{one.code} {one.message}" for one in after if key_of(one) not in before]
            wrong += [f"  {path}: {line}" for line in told]
        print(f"{name:36}{wanted:9} changes, {len(wrong)} findings", *wrong[:10], sep="\n")


def print_row(name: str, score: Score) -> None:
    def share(part: int, whole: int) -> str:
        return f"{100 * part / whole:.1f} %" if whole else "-"

    print(
        f"{name:36}{score.mutants:9}{share(score.detected, score.mutants):>9}"
        f"{share(score.right_line, score.detected):>12}"
        f"{share(score.exact, score.detected):>13}"
        f"{share(score.right_suggestion, score.suggestions):>12}"
    )


if __name__ == "__main__":
    main()
