"""Files -> diagnostics.

Each stage waits for the one before: what is wrong with a text as YAML, then with its form, then
with its meaning, then with what files say of each other. So one mistake is one finding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vacc_gen.schema.compile_yaml.config import CompileConfig
from vacc_gen.schema.errors import UnreadableError
from vacc_gen.schema.lint import sources, structure
from vacc_gen.schema.lint.diagnostics import Diagnostic, Finding
from vacc_gen.schema.lint.document import (
    Document,
    Kind,
    is_ours,
    kind_of,
    load,
    newer_version,
    placeholders,
)
from vacc_gen.schema.lint.files import CheckedFile, ConfigFile, Known, RecipeFile
from vacc_gen.schema.lint.rule import Rule, Scope, rules_of
from vacc_gen.schema.lint.suggestions import Model

ALWAYS = ("VG001", "VG002", "VG004")
"""What cannot be read cannot be checked: these codes are reported whatever is selected."""

_IGNORE = re.compile(r"#\s*vacc-gen:\s*ignore(?:\[([^\]]*)\])?")


@dataclass(frozen=True)
class Selection:
    """Which rules run: codes or their beginnings (`VG1`), or ALL.

    `select` replaces all rules, `ignore` takes away.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    def has(self, code: str) -> bool:
        """Whether a rule with this code runs."""
        if code in ALWAYS:
            return True
        if _named(code, self.ignore):
            return False
        return not self.select or _named(code, self.select)


def _named(code: str, names: Iterable[str]) -> bool:
    return any(name == "ALL" or code.startswith(name) for name in names)


EVERYTHING = Selection()


@dataclass
class CheckResult:
    """What a check of files came to. `unreadable` pairs paths with what is wrong with them."""

    checked: int = 0
    diagnostics: list[Diagnostic] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    documents: dict[str, Document] = field(default_factory=dict)  # of those with findings, by path

    def add(self, document: Document, diagnostics: Sequence[Diagnostic]) -> None:
        """Add findings in a file."""
        if diagnostics:
            self.documents[document.path] = document
            self.diagnostics += diagnostics

    @property
    def lines(self) -> dict[str, list[str]]:
        """The lines of the files with findings, by path."""
        return {path: document.lines for path, document in self.documents.items()}


def check_text(
    source: bytes | str,
    path: str,
    known: Known | None = None,
    selection: Selection = EVERYTHING,
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
    return check_document(load(source, path), known, selection)[0]


def check_document(
    document: Document, known: Known | None = None, selection: Selection = EVERYTHING
) -> tuple[list[Diagnostic], CheckedFile | None]:
    """Check one document.

    Returns:
        All findings, in the order of the text; and the typed file, None where it is not whole.
    """
    kind = kind_of(document)
    if kind in (Kind.OTHER, Kind.OLDER) and document.root is not None:
        return _findings("foreign", document, document, selection), None
    findings = _findings("document", document, document, selection)
    if kind is Kind.OTHER:  # no file of another tool is ever changed
        return [replace(found, fix=None) for found in findings], None
    file: CheckedFile | None = None
    if document.is_sound and newer_version(document) is None:
        form = structure.check(document, _model(kind))
        unfilled = {span for span, _ in placeholders(document)}
        form.faults = [fault for fault in form.faults if fault.span not in unfilled]
        findings += _findings("form", form, document, selection)
        if form.typed is not None and not unfilled:
            file = _typed(document, form.typed, known)
            scope: Scope = "config" if kind is Kind.CONFIG else "recipe"
            findings += _findings(scope, file, document, selection)
    found = _not_ignored(document, findings)
    return sorted(set(found), key=lambda one: (one.line, one.column, one.code, one.message)), file


def _model(kind: Kind) -> Model:
    if kind is Kind.CONFIG:
        return CompileConfig
    from vacc_gen.schema.recipe import Recipe

    return Recipe


def _typed(document: Document, typed: Any, known: Known | None) -> CheckedFile:
    if isinstance(typed, CompileConfig):
        return ConfigFile(document, known, typed)
    return RecipeFile(document, known, typed)


def check_paths(
    paths: Sequence[str], known: Known | None = None, selection: Selection = EVERYTHING
) -> CheckResult:
    """Check files, folders and `-` (the standard input), each by itself and all of them together.

    In folders, compile configs, recipes and weight folders are found; YAML of other tools is left
    alone. Files that are named are checked whatever they look like.
    """
    found = sources.find(paths)
    result = CheckResult(unreadable=found.unreadable)
    files: list[CheckedFile] = []
    for path in found.files:
        try:
            document = sources.read(path)
        except UnreadableError as error:
            result.unreadable.append((path, error.message.split(": ", 1)[-1]))
            continue
        if path in found.found and not is_ours(document):
            continue
        result.checked += 1
        diagnostics, file = check_document(document, known, selection)
        result.add(document, diagnostics)
        if file is not None:
            files.append(file)
    _check_together(files, selection, result)
    for folder in found.weight_folders:
        _check_weights(folder, selection, result)
    result.diagnostics.sort(key=lambda found: (found.path, found.line, found.column, found.code))
    return result


def _check_together(files: list[CheckedFile], selection: Selection, result: CheckResult) -> None:
    """Run the rules about several files at once."""
    from vacc_gen.schema.lint.workspace import workspaces

    configs = [file for file in files if isinstance(file, ConfigFile)]
    recipes = [file for file in files if isinstance(file, RecipeFile)]
    together: list[tuple[Scope, Any]] = [("configs", configs)] if len(configs) > 1 else []
    together += [("workspace", workspace) for workspace in workspaces(recipes, configs)]
    for scope, members in together:
        for rule in _chosen(scope, selection):
            for file, finding in rule.check(members):
                diagnostic = as_diagnostic(rule, finding, file.document.path)
                result.add(file.document, _not_ignored(file.document, [diagnostic]))


def _check_weights(folder: str, selection: Selection, result: CheckResult) -> None:
    """Run the rules about the files of a weight folder."""
    from vacc_gen.schema.lint.weight_files import WeightFiles

    files = WeightFiles(Path(folder))
    result.checked += 1
    result.unreadable += [(_in(folder, name), why) for name, why in files.unreadable.items()]
    for rule in _chosen("weights", selection):
        for name, finding in rule.check(files):
            path = _in(folder, name)
            diagnostic = as_diagnostic(rule, finding, path)
            result.add(Document(files.texts[name], path), [diagnostic])


def _in(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder.rstrip('/')}/{name}"


def _chosen(scope: Scope, selection: Selection) -> Iterator[Rule]:
    return (rule for rule in rules_of(scope) if selection.has(rule.code))


def _findings(
    scope: Scope, read: Any, document: Document, selection: Selection
) -> list[Diagnostic]:
    """Return what the rules of a scope find in what they read."""
    return [
        as_diagnostic(rule, finding, document.path)
        for rule in _chosen(scope, selection)
        for finding in rule.check(read)
    ]


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
