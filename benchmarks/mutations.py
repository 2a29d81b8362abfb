"""What `validate` finds of mistakes that people make, and what it says of files without any.

python benchmarks/mutations.py [FOLDER] [--mutants N] [--seed N] [--survivors N]

Makes one mistake in a copy of a compile config below FOLDER, and looks whether it is found, at the
right line, with the right suggestion. A mutant that means the same as its original is none. Prints
a table by kind of mistake, the totals beside their goals, and the mutants that miss one.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from mutators import keys, notation, values  # noqa: F401  # registers what they make
from mutators.base import MUTATORS, Config, Mutant

from vacc_gen.schema.lint.check import check_text
from vacc_gen.schema.lint.diagnostics import Diagnostic, Severity

DEFAULT_FOLDER = Path(__file__).parents[1] / "tests" / "data" / "vamc"
WRONG_AS_PUBLISHED = {
    "sqlai_mobilenetv3.yaml": {"VG101"},
    "pplcnet_textline_ori.yaml": {"VG201"},
    "tensorflow_bert_base_en_qa-384.yaml": {"VG101"},
    "tensorflow_bert_large_en_qa-384.yaml": {"VG101"},
    "mmdet_yolof.yaml": {"VG201"},
    "ppocr_v4_cls.yaml": {"VG201"},
    "embedding_config_fp16.yaml": {"VG201"},
    "vamc_config.yaml": {"VG102"},
}
GOALS_OF_MEANING = {"found": 99.0, "at the line": 97.0, "suggestion": 95.0}
GOALS_OF_TEXT = {"found": 100.0, "within one line": 90.0}
MOST_FINDINGS_OF_TEXT = 2


@dataclass
class Score:
    """Counts for one kind of mistake: of mutants that are YAML, or of those that are not."""

    mutants: int = 0
    found: int = 0
    at_line: int = 0
    suggestions_due: int = 0
    suggestions: int = 0
    findings: int = 0
    most_findings: int = 0
    survivors: list[str] = field(default_factory=list)

    def add(self, other: Score) -> None:
        self.mutants += other.mutants
        self.found += other.found
        self.at_line += other.at_line
        self.suggestions_due += other.suggestions_due
        self.suggestions += other.suggestions
        self.findings += other.findings
        self.most_findings = max(self.most_findings, other.most_findings)

    def shares(self) -> tuple[float, float, float]:
        """Return found of all, at their line of found, right suggestions of those due, in %."""
        pairs = (
            (self.found, self.mutants),
            (self.at_line, self.found),
            (self.suggestions, self.suggestions_due),
        )
        found, at_line, suggestions = (
            100 * part / whole if whole else 100.0 for part, whole in pairs
        )
        return found, at_line, suggestions


def key_of(finding: Diagnostic) -> tuple[str, str]:
    return finding.code, finding.message


def judge(path: Path, config: Config, mutant: Mutant, is_yaml: bool, score: Score) -> None:
    """Check a mutant, and count how well that went."""
    known = {key_of(finding) for finding in check_text(config.text, str(path))}
    findings = [f for f in check_text(mutant.text, str(path)) if key_of(f) not in known]
    score.mutants += 1
    score.findings += len(findings)
    score.most_findings = max(score.most_findings, len(findings))
    said = (
        "; ".join(f"{f.code} line {f.line} {f.message} ({f.hint})" for f in findings) or "nothing"
    )

    def survives(why: str) -> None:
        score.survivors.append(f"{why}, line {min(mutant.lines)} of {path}: {said}")

    if not findings:
        survives("not found")
        return
    score.found += 1
    margin = 0 if is_yaml else 1
    near = [f for f in findings if any(abs(f.line - line) <= margin for line in mutant.lines)]
    if near:
        score.at_line += 1
    else:
        survives("at another line")
    if not is_yaml and len(findings) > MOST_FINDINGS_OF_TEXT:
        survives(f"{len(findings)} findings")
    if is_yaml and mutant.suggestion is not None:
        score.suggestions_due += 1
        quoted = re.findall(r"`([^`]+)`", " ".join(f.hint or "" for f in near))
        if [word for word in quoted if word != mutant.wrong][:1] == [mutant.suggestion]:
            score.suggestions += 1
        else:
            survives(f"not suggested: {mutant.suggestion}")


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


def published(folder: Path) -> tuple[list[tuple[Path, Config]], list[str]]:
    """Return the configs without error or warning, and errors where a file has no mistake."""
    configs, false_errors = [], []
    for path in sorted(folder.rglob("*.y*ml")):
        text = path.read_text(encoding="utf-8")
        findings = [f for f in check_text(text, str(path)) if f.severity is not Severity.INFO]
        errors = [f for f in findings if f.severity is Severity.ERROR]
        known = WRONG_AS_PUBLISHED.get(path.name, set())
        false_errors += [f"{path}: {f.code} {f.message}" for f in errors if f.code not in known]
        if not findings and "\nfrontend:" in text:
            configs.append((path, Config(text)))
    return configs, false_errors


def print_totals(title: str, score: Score, goals: dict[str, float]) -> None:
    shares = zip(goals.items(), score.shares(), strict=False)
    told = [f"{name} {share:.1f} % (goal {goal:.0f} %)" for (name, goal), share in shares]
    print(f"{title}: {score.mutants} mutants; {', '.join(told)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=DEFAULT_FOLDER)
    parser.add_argument("--mutants", type=int, default=50, help="of each kind")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--survivors", type=int, default=20, help="how many to print")
    options = parser.parse_args()
    configs, false_errors = published(options.folder)
    if not configs:
        sys.exit(f"{options.folder}: no compile config without a finding")
    rng = random.Random(options.seed)
    meaning, text = Score(), Score()
    survivors = []
    print(
        f"{'mistake':34}{'mutants':>8}{'found':>8}{'at line':>9}{'suggested':>11}{'not YAML':>10}"
    )
    for kind in MUTATORS:
        of_meaning, of_text = Score(), Score()
        for path, config, mutant, is_yaml in mutants_of(kind, rng, configs, options.mutants):
            judge(path, config, mutant, is_yaml, of_meaning if is_yaml else of_text)
        meaning.add(of_meaning)
        text.add(of_text)
        survivors += [f"{kind}: {line}" for line in of_meaning.survivors + of_text.survivors]
        both = Score()
        both.add(of_meaning)
        both.add(of_text)
        found, at_line, suggested = (f"{share:.0f} %" for share in both.shares())
        suggested = suggested if both.suggestions_due else "-"
        print(f"{kind:34}{both.mutants:8}{found:>8}{at_line:>9}{suggested:>11}{of_text.mutants:10}")
    print_totals("mistakes of meaning", meaning, GOALS_OF_MEANING)
    print_totals("text that is not YAML", text, GOALS_OF_TEXT)
    average = text.findings / max(1, text.mutants)
    print(f"  findings of such a text: {average:.2f}, at most {text.most_findings} (goal 2)")
    print(f"false errors in published files: {len(false_errors)} (goal 0)")
    for line in [*false_errors, *survivors][: options.survivors]:
        print(f"  {line}")


if __name__ == "__main__":
    main()
