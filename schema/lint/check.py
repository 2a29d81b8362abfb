"""Files -> diagnostics.

Each stage waits for the one before: what is wrong with a text as YAML, then with its form, then
with its meaning, then with what files say of each other. So one mistake is one finding.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from vacc_gen.schema.checkpoint import ADAPTER_FILE, CONFIG_FILE, WeightFolder
from vacc_gen.schema.compile_yaml.config import CompileConfig
from vacc_gen.schema.errors import CheckpointError, UnreadableError
from vacc_gen.schema.lint import sources, structure
from vacc_gen.schema.lint.diagnostics import (
    Diagnostic,
    Finding,
    FindingsError,
    has_errors,
)
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
from vacc_gen.schema.lint.rule import Rule, Scope, all_rules
from vacc_gen.schema.lint.suggestions import Model
from vacc_gen.schema.lint.weight_files import WeightFiles

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
        is_chosen = _named(code, self.select or ("ALL",)) and not _named(code, self.ignore)
        return is_chosen or code in ALWAYS


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
    files: list[CheckedFile] = field(default_factory=list)  # those that are whole

    def add(self, document: Document, diagnostics: Sequence[Diagnostic]) -> None:
        if diagnostics:
            self.documents[document.path] = document
            self.diagnostics += diagnostics

    def update(self, other: CheckResult) -> None:
        self.checked += other.checked
        self.diagnostics += other.diagnostics
        self.documents.update(other.documents)

    @property
    def findings(self) -> list[Diagnostic]:
        """All that was found, by path and place: what `--format json` prints."""
        return self.diagnostics

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
    """Return all findings in a recipe or a compile config, in the order of the text.

    Never raises for a bad one. A checkpoint in it is looked for beside `path`.
    """
    return check_document(load(source, path), known, selection)[0]


def check_document(
    document: Document,
    known: Known | None = None,
    selection: Selection = EVERYTHING,
) -> tuple[list[Diagnostic], CheckedFile | None]:
    """Return all findings, by their place, and the typed file; None if it is not whole."""

    def found_by(scope: Scope, read: Any) -> list[Diagnostic]:
        return [
            _diagnostic(rule, finding, document.path)
            for rule in _chosen(scope, selection)
            for finding in rule.check(read)
        ]

    kind = kind_of(document)
    if document.root is not None and (
        kind is Kind.OTHER or (kind is Kind.OLDER and document.is_sound)
    ):
        return found_by("foreign", document), None
    findings = found_by("document", document)
    if kind is Kind.OTHER:  # no file of another tool is ever changed
        return [replace(found, fix=None) for found in findings], None
    file: CheckedFile | None = None
    if document.is_sound and newer_version(document) is None:
        form = structure.check(document, _model(kind))
        unfilled = {span for span, _ in placeholders(document)}
        form.faults = [fault for fault in form.faults if fault.finding.span not in unfilled]
        findings += found_by("form", form)
        if form.typed is not None and not unfilled:
            is_config = kind is Kind.CONFIG
            file = (ConfigFile if is_config else RecipeFile)(document, known, form.typed)
            findings += found_by("config" if is_config else "recipe", file)
    found = {one for one in findings if not _is_ignored(document, one)}
    return sorted(found, key=lambda one: (one.line, one.column, one.code, one.message)), file


def _model(kind: Kind) -> Model:
    if kind is Kind.CONFIG:
        return CompileConfig
    from vacc_gen.schema.recipe import Recipe

    return Recipe


def check_paths(
    paths: Sequence[str],
    known: Known | None = None,
    selection: Selection = EVERYTHING,
    with_checkpoints: bool = False,
    texts: Mapping[str, str] | None = None,
) -> CheckResult:
    """Check files, folders and `-` (the standard input), each by itself and all of them together.

    In folders, compile configs, recipes and weight folders are found; YAML of other tools is left
    alone. Files that are named are checked whatever they look like. `with_checkpoints`: and so are
    the weight folders that those files name. `texts`: what stands in files that are not saved yet.
    """
    found = sources.find(paths)
    result = CheckResult(unreadable=found.unreadable)
    for path in found.files:
        try:
            document = load(texts[path], path) if texts and path in texts else sources.read(path)
        except UnreadableError as error:
            result.unreadable.append((path, error.message.rpartition(": ")[2]))
            continue
        if path in found.found and not is_ours(document):
            continue
        result.checked += 1
        diagnostics, file = check_document(document, known, selection)
        result.add(document, diagnostics)
        if file is not None:
            result.files.append(file)
    _check_together(result.files, selection, result)
    named = _checkpoints(result.files) if with_checkpoints else ()
    for folder in sources.with_named(found.weight_folders, named):
        result.update(check_weights(folder, selection))
    for folder in found.compiled_folders:
        files_of_it = WeightFiles(Path(folder))
        result.update(_check_folder(files_of_it, folder, selection, "compiled"))
    result.diagnostics.sort(key=lambda found: (found.path, found.line, found.column, found.code))
    return result


def _checkpoints(files: list[CheckedFile]) -> Iterator[str]:
    """Yield the folders that files name as their weights."""
    for file in files:
        if isinstance(file, RecipeFile):
            yield str(file.folder / file.recipe.model.checkpoint)
        elif isinstance(file, ConfigFile) and file.is_language_model:
            yield str(file.folder / file.config.frontend.checkpoint)


def _check_together(files: list[CheckedFile], selection: Selection, result: CheckResult) -> None:
    from vacc_gen.schema.lint.workspace import Workspace

    configs = [file for file in files if isinstance(file, ConfigFile)]
    together: list[tuple[Scope, Any]] = [("configs", configs)] if len(configs) > 1 else []
    for recipe in files:
        if isinstance(recipe, RecipeFile):
            built = [one for one in configs if one.path.parent == recipe.folder / "build"]
            together.append(("workspace", Workspace(recipe, built)))
    for scope, members in together:
        for rule in _chosen(scope, selection):
            for file, finding in rule.check(members):
                diagnostic = _diagnostic(rule, finding, file.document.path)
                if not _is_ignored(file.document, diagnostic):
                    result.add(file.document, [diagnostic])


def check_weights(folder: str | Path, selection: Selection = EVERYTHING) -> CheckResult:
    """Check a weight folder: its files and headers, configs and tokenizer.

    Raises:
        UnreadableError: it is not a folder, or cannot be looked into.
    """
    return _check_folder(WeightFiles(Path(folder)), str(folder), selection)


def open_weights(
    folder: Path, selection: Selection = EVERYTHING, falcon_only: bool = False
) -> tuple[WeightFolder, list[Diagnostic]]:
    """Open a weight folder that has no errors, and return the warnings about it.

    `falcon_only`: another architecture is an error, as for whom can use Falcons alone.

    Raises:
        FindingsError: it has errors.
        CheckpointError: it is not a folder, or has no config.json.
        UnreadableError: it cannot be looked into.
    """
    if not any(os.path.lexists(folder / name) for name in (CONFIG_FILE, ADAPTER_FILE)):
        lack = "has no config.json" if os.path.isdir(folder) else "is not a folder"  # noqa: PTH112
        hint = "give the folder that holds config.json and the weights"
        raise CheckpointError(f"{folder} {lack}", hint)
    files = WeightFiles(folder, falcon_only)
    diagnostics = _check_folder(files, str(folder), selection).diagnostics
    if has_errors(diagnostics):
        raise FindingsError(f"the weight folder {folder} has errors", diagnostics)
    return WeightFolder(folder, files.config, files.tensors), diagnostics


def _check_folder(
    files: WeightFiles, folder: str, selection: Selection, scope: Scope = "weights"
) -> CheckResult:
    """Run the rules of a scope; `folder` is what the user calls it."""
    result = CheckResult(checked=1)
    for rule in _chosen(scope, selection):
        for name, finding in map(files.finding, rule.check(files)):
            path = name if folder == "." else f"{folder.rstrip('/')}/{name}"
            document = Document(files.texts.get(name, ""), path)
            result.add(document, [_diagnostic(rule, finding, path)])
    result.diagnostics.sort(key=lambda found: (found.path, found.line, found.column, found.code))
    return result


@cache
def _chosen(scope: Scope, selection: Selection) -> list[Rule]:
    return [rule for rule in all_rules() if rule.scope == scope and selection.has(rule.code)]


def _diagnostic(rule: Rule, finding: Finding, path: str) -> Diagnostic:
    span, message, hint, fix, severity = finding
    place = (span.line, span.column, span.end_line, span.end_column)
    return Diagnostic(rule.code, severity or rule.severity, path, *place, message, hint, fix)


def _is_ignored(document: Document, found: Diagnostic) -> bool:
    """Whether the line of a finding has a comment that says to ignore it."""
    if found.code in ALWAYS or found.line > len(document.lines):
        return False
    comment = _IGNORE.search(document.lines[found.line - 1])
    if comment is None:
        return False
    named = "ALL" if comment.group(1) is None else comment.group(1)
    return _named(found.code, filter(None, map(str.strip, named.split(","))))
