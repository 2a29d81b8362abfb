"""Documents -> diagnostics."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from vacc_gen.schema.errors import UnreadableError
from vacc_gen.schema.lint import sources, structure
from vacc_gen.schema.lint.diagnostics import Diagnostic
from vacc_gen.schema.lint.document import Document, Problem, load
from vacc_gen.schema.lint.group import Group, workspaces
from vacc_gen.schema.lint.migration import RECIPE_VERSION, migrate, version_of
from vacc_gen.schema.lint.rule import Rule, Scope, rules_of
from vacc_gen.schema.lint.subject import Finding, Known, KnowsNothing, Subject
from vacc_gen.schema.lint.tree import START
from vacc_gen.schema.lint.walk import packaged_schema

ALWAYS = ("VG001", "VG002", "VG004")
"""What cannot be read cannot be checked: these codes are told whatever is selected."""

_MOST_LINES = 3
_IGNORE = re.compile(r"#\s*vacc-gen:\s*ignore(?:\[([^\]]*)\])?")
_SECTION = re.compile(r"^(frontend|backend|workspace)\s*:", re.MULTILINE)


@dataclass(frozen=True)
class Selection:
    """Which rules run: codes or their beginnings (`VG1`), or ALL.

    `select` replaces the rules that run by default, `extend` adds to them, `ignore` takes away.
    """

    select: tuple[str, ...] = ()
    extend: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    def has(self, code: str, default: bool) -> bool:
        """Whether a rule with this code runs."""
        if code in ALWAYS:
            return True
        if _named(code, self.ignore):
            return False
        chosen = _named(code, self.select) if self.select else default
        return chosen or _named(code, self.extend)


def _named(code: str, names: Iterable[str]) -> bool:
    return any(name == "ALL" or code.startswith(name) for name in names)


DEFAULT = Selection()


@dataclass
class CheckResult:
    """What a check of files came to. `unreadable` pairs paths with what is wrong with them."""

    checked: int = 0
    diagnostics: list[Diagnostic] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)  # of the files with findings, by path

    def take(self, path: str, text: str, diagnostics: Sequence[Diagnostic]) -> None:
        """Add findings in a file, each in its place by path and line."""
        if diagnostics:
            self.texts[path] = text
            self.diagnostics += diagnostics

    @property
    def lines(self) -> dict[str, list[str]]:
        """The lines of the files with findings, by path."""
        return {path: Document(text, path).lines for path, text in self.texts.items()}


def kind_of(document: Document) -> str:
    """Return what a document is: `recipe` or `vamc`."""
    root = document.root
    keys = root.value if root is not None and isinstance(root.value, dict) else {}
    name = re.split(r"[\\/]", document.path)[-1]
    is_named = name == "vacc.yaml"
    if is_named and "version" in keys and "model" in keys:
        return "recipe"
    if "frontend" in keys or "backend" in keys:
        return "vamc"
    return "recipe" if is_named or "version" in keys else "vamc"


def is_ours(document: Document) -> bool:
    """Whether a YAML that was found in a folder is a recipe or a compile config."""
    name = re.split(r"[\\/]", document.path)[-1]
    return name == "vacc.yaml" or len(set(_SECTION.findall(document.text))) > 1


def check_text(
    source: bytes | str,
    path: str,
    known: Known | None = None,
    selection: Selection = DEFAULT,
) -> list[Diagnostic]:
    """Check one text, a recipe or a compile config. Never raises for a bad one.

    Args:
        source: the file's bytes or text.
        path: how it is called in messages; a checkpoint in it is looked for beside this path.
        known: what is known about models.
        selection: which rules run.

    Returns:
        All findings, in the order of the text.
    """
    return check_document(load(source, path), known, selection)


def check_document(
    document: Document, known: Known | None = None, selection: Selection = DEFAULT
) -> list[Diagnostic]:
    """Check one document; its tree is repaired on the way, so use it for nothing else."""
    return check_subject(Subject(document, kind_of(document), known or KnowsNothing()), selection)


def check_subject(subject: Subject, selection: Selection = DEFAULT) -> list[Diagnostic]:
    """Check what a subject holds; see `check_document`."""
    document, beyond = subject.document, []
    found: list[Problem] = []
    if document.root is not None:
        if subject.kind == "recipe":
            subject.migration = migrate(document)
        if document.complete and not _of_a_newer_version(subject):
            found = structure.check(document, packaged_schema(subject.kind))
    told = _recovered(subject, found, selection)
    if told is None:
        subject.add_problems(found)
    else:
        beyond = told.beyond
    subject.add_problems(document.problems)
    if document.root is None and document.complete and told is None:
        subject.add_problems([Problem("no-content", START, {})])
    scopes: list[Scope] = ["text"]
    if told is None and document.complete and isinstance(getattr(document.root, "value", 0), dict):
        scopes.append("recipe" if subject.kind == "recipe" else "vamc")
    diagnostics = [
        as_diagnostic(rule, finding, document.path)
        for scope in scopes
        for rule in _chosen(scope, selection)
        if _concerns(rule, subject, told is None or not told.elsewhere)
        for finding in rule.check(subject)
    ]
    return sorted(
        {
            (found.line, found.column, found.code, found.message): found
            for found in [*_not_ignored(document, diagnostics), *beyond]
        }.values(),
        key=lambda found: (found.line, found.column, found.code),
    )


def check_paths(
    paths: Sequence[str], known: Known | None = None, selection: Selection = DEFAULT
) -> CheckResult:
    """Check files, folders and `-` (the standard input), each by itself and all of them together.

    In folders, compile configs, recipes and weight folders are found; YAML of other tools is left
    alone. Files that are named are checked whatever they look like.
    """
    known = known or KnowsNothing()
    found = sources.find(paths)
    result = CheckResult(unreadable=found.unreadable)
    subjects: list[Subject] = []
    for path in found.files:
        try:
            document = sources.read(path)
        except UnreadableError as error:
            result.unreadable.append((path, error.message.split(": ", 1)[-1]))
            continue
        if path in found.found and not is_ours(document):
            continue
        subject = Subject(document, kind_of(document), known)
        result.checked += 1
        result.take(document.path, document.text, check_subject(subject, selection))
        if document.complete and document.root is not None:
            subjects.append(subject)
    _check_together(subjects, selection, result)
    for folder in found.weight_folders:
        _check_weights(folder, selection, result)
    result.diagnostics.sort(key=lambda found: (found.path, found.line, found.column, found.code))
    return result


def _check_together(subjects: list[Subject], selection: Selection, result: CheckResult) -> None:
    """Run the rules about several files at once."""
    configs = [subject for subject in subjects if subject.kind == "vamc"]
    recipes = [subject for subject in subjects if subject.kind == "recipe"]
    together: list[tuple[Scope, Any]] = [("group", Group(configs))] if len(configs) > 1 else []
    together += [("workspace", workspace) for workspace in workspaces(recipes, configs)]
    for scope, members in together:
        for rule in _chosen(scope, selection):
            for subject, finding in rule.check(members):
                document = subject.document
                diagnostic = as_diagnostic(rule, finding, document.path)
                result.take(document.path, document.text, _not_ignored(document, [diagnostic]))


def _check_weights(folder: str, selection: Selection, result: CheckResult) -> None:
    """Run the rules about the files of a weight folder."""
    from vacc_gen.schema.lint.weight_files import WeightFiles

    files = WeightFiles(Path(folder))
    result.checked += 1
    result.unreadable += [(_in(folder, name), why) for name, why in files.unreadable.items()]
    for rule in _chosen("weights", selection):
        for name, finding in rule.check(files):
            path = _in(folder, name)
            result.take(path, files.texts[name], [as_diagnostic(rule, finding, path)])


def _in(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder.rstrip('/')}/{name}"


def _chosen(scope: Scope, selection: Selection) -> Iterator[Rule]:
    return (rule for rule in rules_of(scope) if selection.has(rule.code, rule.default))


def _concerns(rule: Rule, subject: Subject, as_it_is: bool) -> bool:
    """Whether a rule has anything to look at; one without problems looks at the text itself."""
    if not rule.problems:
        return as_it_is
    return any(kind in subject.problems for kind in rule.problems)


class _Recovered(NamedTuple):
    """What is wrong beyond the mistake that made a text unreadable, or odd throughout."""

    beyond: list[Diagnostic]
    elsewhere: bool  # whether another text was checked, in which that is put right


def _recovered(subject: Subject, found: list[Problem], selection: Selection) -> _Recovered | None:
    """Return what is wrong with a text apart from what makes it unreadable or odd throughout.

    That itself takes the place of the document's problems. None where there is nothing of the kind.
    """
    document = subject.document
    if document.complete and not found and not document.problems and not document.suspicious:
        return None
    from vacc_gen.schema.lint.recovery import recover

    if not document.complete:
        document.root = None  # what was read before the error may be cut short
    repaired = recover(document, "recipe" if subject.kind == "recipe" else "vamc", found)
    if repaired is None:
        return None
    if repaired.text is None:
        return _Recovered([], elsewhere=False)
    beyond = check_text(repaired.text, document.path, subject.known, selection)
    moved = repaired.moved(beyond, document)
    kept = [one for one in moved if repaired.changed.isdisjoint(_lines_of(one))]
    return _Recovered(kept, elsewhere=True)


def _lines_of(found: Diagnostic) -> range:
    """Return the lines of a value that goes on, but no more than such a value usually has."""
    return range(found.line, min(found.end_line, found.line + _MOST_LINES) + 1)


def _of_a_newer_version(subject: Subject) -> bool:
    """Whether a recipe is of a version that our schema does not describe."""
    version = version_of(subject.document) if subject.kind == "recipe" else None
    return version is not None and version > RECIPE_VERSION


def as_diagnostic(rule: Rule, finding: Finding, path: str) -> Diagnostic:
    """Return a rule's finding with code and path."""
    span = finding.span
    return Diagnostic(
        rule.code,
        finding.severity or rule.severity,
        path,
        span.line,
        span.column,
        span.end_line,
        span.end_column,
        finding.message,
        finding.hint,
        finding.fix,
    )


def _not_ignored(document: Document, diagnostics: list[Diagnostic]) -> list[Diagnostic]:
    if "vacc-gen:" not in document.text:
        return diagnostics
    return [found for found in diagnostics if not _ignored(document, found)]


def _ignored(document: Document, found: Diagnostic) -> bool:
    """Whether the line of a finding has a comment that says to ignore it."""
    if found.code in ALWAYS or found.line > len(document.lines):
        return False
    comment = _IGNORE.search(document.lines[found.line - 1])
    if comment is None:
        return False
    named = "ALL" if comment.group(1) is None else comment.group(1)
    names = [name.strip() for name in named.split(",") if name.strip()]
    return _named(found.code, names)
