"""What `validate` finds of mistakes that people make.

python benchmarks/mutations.py [FOLDER] [--mutants N] [--seed N] [--survivors N]

Makes one mistake in a copy of a compile config below FOLDER, and looks whether it is found, at the
right line, with the right suggestion. A mutant that means the same as its original is none. Prints
a table by kind of mistake, the totals beside their goals, and the mutants that miss one.
"""

import argparse
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from mutators import mistakes  # noqa: F401  # registers what it makes
from mutators.base import MUTATORS, Config, Mutant

from vacc_gen.schema.lint.check import check_text
from vacc_gen.schema.lint.diagnostics import Diagnostic, Severity

DEFAULT_FOLDER = Path(__file__).parents[1] / "tests" / "data" / "vamc"
GOALS_OF_MEANING = {"found": 99, "at the line": 97, "suggestion": 95}
GOALS_OF_TEXT = {"found": 100, "within one line": 90}
MOST_FINDINGS_OF_TEXT = 2

Counts = Counter[str]
"""Of `mutants`, those `found`, and of these those `at_line`; of hints `due`, those `suggested`."""


def shares(counts: Counts) -> list[float]:
    """Return found of all, at their line of found, right suggestions of those due, in %."""
    pairs = (("found", "mutants"), ("at_line", "found"), ("suggested", "due"))
    return [100 * counts[part] / counts[of] if counts[of] else 100.0 for part, of in pairs]


def judge(
    path: Path, config: Config, mutant: Mutant, is_yaml: bool
) -> tuple[Counts, list[Diagnostic], list[str]]:
    """Check a mutant; return how well that went, what was found, and what is wrong with it."""
    known = {(f.code, f.message) for f in check_text(config.text, str(path))}
    findings = [f for f in check_text(mutant.text, str(path)) if (f.code, f.message) not in known]
    margin = 0 if is_yaml else 1
    near = [f for f in findings if any(abs(f.line - line) <= margin for line in mutant.lines)]
    counts = Counts(mutants=1, found=bool(findings), at_line=bool(near), not_yaml=not is_yaml)
    faults = []
    if not near:
        faults.append("at another line" if findings else "not found")
    if not is_yaml and len(findings) > MOST_FINDINGS_OF_TEXT:
        faults.append(f"{len(findings)} findings")
    if is_yaml and findings and mutant.suggestion is not None:
        quoted = re.findall(r"`([^`]+)`", " ".join(f.hint or "" for f in near))
        is_suggested = [word for word in quoted if word != mutant.wrong][:1] == [mutant.suggestion]
        counts += Counts(due=1, suggested=is_suggested)
        if not is_suggested:
            faults.append(f"not suggested: {mutant.suggestion}")
    return counts, findings, faults


def meaning_of(text: str) -> Any:
    """Return what a text says, duplicates and types included, or None for one that is not YAML."""

    def plain(node: yaml.Node) -> Any:
        if isinstance(node, yaml.MappingNode):
            return [(plain(key), plain(value)) for key, value in node.value]
        if isinstance(node, yaml.SequenceNode):
            return [plain(item) for item in node.value]
        return node.tag, node.value

    try:
        return plain(yaml.compose(text, Loader=yaml.CSafeLoader))
    except yaml.YAMLError:
        return None


def mutants_of(
    kind: str, rng: random.Random, configs: list[tuple[Path, Config]], wanted: int
) -> Iterator[tuple[Path, Config, Mutant, bool]]:
    """Yield up to `wanted` mutants with another meaning, and whether each is still YAML."""
    for _ in range(wanted * 20):
        if not wanted:
            return
        path, config = rng.choice(configs)
        mutant = MUTATORS[kind](rng, config)
        meaning = meaning_of(mutant.text) if mutant else None
        if mutant is not None and meaning != meaning_of(config.text):
            wanted -= 1
            yield path, config, mutant, meaning is not None


def healthy_configs(folder: Path) -> Iterator[tuple[Path, Config]]:
    """Yield the compile configs without error or warning."""
    for path in sorted(folder.rglob("*.y*ml")):
        text = path.read_text(encoding="utf-8")
        findings = check_text(text, str(path))
        if "\nfrontend:" in text and all(f.severity is Severity.INFO for f in findings):
            yield path, Config(text)


def print_totals(title: str, counts: Counts, goals: dict[str, int]) -> None:
    print(f"{title}: {counts['mutants']} mutants")
    for (name, goal), share in zip(goals.items(), shares(counts), strict=False):
        print(f"  {name} {share:.1f} % (goal {goal} %)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=DEFAULT_FOLDER)
    parser.add_argument("--mutants", type=int, default=50, help="of each kind")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--survivors", type=int, default=20, help="how many to print")
    options = parser.parse_args()
    configs = list(healthy_configs(options.folder))
    if not configs:
        sys.exit(f"{options.folder}: no compile config without a finding")
    rng = random.Random(options.seed)
    meaning, text = Counts(), Counts()
    survivors = []
    print(
        f"{'mistake':34}{'mutants':>8}{'found':>8}{'at line':>9}{'suggested':>11}{'not YAML':>10}"
    )
    for kind in MUTATORS:
        of_kind = Counts()
        for path, config, mutant, is_yaml in mutants_of(kind, rng, configs, options.mutants):
            counts, findings, faults = judge(path, config, mutant, is_yaml)
            for total in (of_kind, meaning if is_yaml else text):
                total.update(counts)
            said = "; ".join(f"{f.code} line {f.line} {f.message} ({f.hint})" for f in findings)
            where = f"line {min(mutant.lines)} of {path}: {said or 'nothing'}"
            survivors += [f"{kind}: {fault}, {where}" for fault in faults]
        found, at_line, suggested = (f"{share:.0f} %" for share in shares(of_kind))
        suggested = suggested if of_kind["due"] else "-"
        print(
            f"{kind:34}{of_kind['mutants']:8}{found:>8}{at_line:>9}{suggested:>11}"
            f"{of_kind['not_yaml']:10}"
        )
    print_totals("mistakes of meaning", meaning, GOALS_OF_MEANING)
    print_totals("text that is not YAML", text, GOALS_OF_TEXT)
    for line in survivors[: options.survivors]:
        print(f"  {line}")


if __name__ == "__main__":
    main()
