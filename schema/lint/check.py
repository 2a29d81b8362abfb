"""Files -> diagnostics.

Each stage waits for the one before: what is wrong with a text as YAML, then with its form, then
with its meaning, then with what files say of each other. So one mistake is one finding.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

from vacc_gen.schema.checkpoint import ADAPTER_FILE, CONFIG_FILE, WeightFolder
from vacc_gen.schema.compile_yaml.config import CompileConfig
from vacc_gen.schema.errors import CheckpointError, UnreadableError
from vacc_gen.schema.json_files import file_names
from vacc_gen.schema.lint import sources
from vacc_gen.schema.lint.diagnostics import Diagnostic, Finding, FindingsError, has_errors
from vacc_gen.schema.lint.document import Document, Kind, is_ours, kind_of, load, placeholders
from vacc_gen.schema.lint.files import ConfigFile, Known, RecipeFile, Workspace
from vacc_gen.schema.lint.rule import Rule, Scope, all_rules
from vacc_gen.schema.lint.structure import Form
from vacc_gen.schema.lint.suggestions import Model
from vacc_gen.schema.lint.weight_files import WeightFiles

ALWAYS = ("VG001", "VG002", "VG004")
"""What cannot be read cannot be checked: these codes are reported whatever is selected."""

_IGNORE = re.compile(r"#\s*vacc-gen:\s*ignore(?:\[([^\]]*)\])?")


@dataclass(frozen=True)
class Selection:
    """Which rules run, by codes or their beginnings (`VG1`); none of `select` means all."""

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    def has(self, code: str) -> bool:
        is_chosen = code.startswith(self.select or "VG") and not code.startswith(self.ignore)
        return is_chosen or code in ALWAYS


EVERYTHING = Selection()


@dataclass
class CheckResult:
    """What a check of files came to. `unreadable` pairs paths with what is wrong with them."""

    checked: int = 0
    found: set[Diagnostic] = field(default_factory=set)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    documents: dict[str, Document] = field(default_factory=dict)  # of those with findings, by path
    files: list[ConfigFile | RecipeFile] = field(default_factory=list)  # those that are whole

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """All that was found, by path and place: what `--format json` prints."""
        return sorted(self.found, key=attrgetter("path", "line", "column", "code", "message"))

    findings = diagnostics

    def report(self, rule: Rule, document: Document, finding: Finding) -> None:
        span, message, hint, fix, severity = finding
        place = (document.path, span.line, span.column, span.end_line, span.end_column)
        found = Diagnostic(rule.code, severity or rule.severity, *place, message, hint, fix)
        if not _is_ignored(document, found):
            self.documents[document.path] = document
            self.found.add(found)

    def add(self, other: CheckResult) -> None:
        self.checked += other.checked
        self.found |= other.found
        self.documents.update(other.documents)
        self.files += other.files


def check_text(
    source: bytes | str, path: str, known: Known | None = None, selection: Selection = EVERYTHING
) -> list[Diagnostic]:
    """Return all findings in a file by itself; never raises for a bad one."""
    return check_document(load(source, path), known, selection).diagnostics


def check_document(
    document: Document,
    known: Known | None = None,
    selection: Selection = EVERYTHING,
) -> CheckResult:
    """Check a file by itself; its typed values are in `files` of the result if it is whole."""
    kind, result = kind_of(document), CheckResult(checked=1)
    is_foreign = kind is Kind.OTHER or (kind is Kind.OLDER and document.is_sound)
    reads: list[tuple[Scope, Any]] = [("document", document)]
    if is_foreign and document.root is not None:
        reads = [("foreign", document)]
    elif document.is_sound and not is_foreign:
        form = Form(document, _model(kind))
        unfilled = {span for span, _ in placeholders(document)}
        form.faults = [fault for fault in form.faults if fault.finding.span not in unfilled]
        reads.append(("form", form))
        if form.typed is not None and not unfilled:
            is_config = kind is Kind.CONFIG
            file = (ConfigFile if is_config else RecipeFile)(document, known, form.typed)
            reads.append(("config" if is_config else "recipe", file))
            result.files.append(file)
    for scope, read in reads:
        for rule, finding in _yielded(scope, selection, read):
            # No file of another tool is ever changed.
            finding = finding._replace(fix=None) if kind is Kind.OTHER else finding
            result.report(rule, document, finding)
    return result


def _model(kind: Kind) -> Model:
    if kind is Kind.CONFIG:
        return CompileConfig
    from vacc_gen.schema.recipe import Recipe

    return Recipe


def check_documents(
    documents: Iterable[Document], known: Known | None = None, selection: Selection = EVERYTHING
) -> CheckResult:
    """Check files, each by itself and all of them together."""
    result = CheckResult()
    for document in documents:
        result.add(check_document(document, known, selection))

    configs = [file for file in result.files if isinstance(file, ConfigFile)]
    reads: list[tuple[Scope, Any]] = [("configs", configs)]
    for recipe in result.files:
        if isinstance(recipe, RecipeFile):
            built = [one for one in configs if one.path.parent == recipe.folder / "build"]
            reads.append(("workspace", Workspace(recipe, built)))
    for scope, read in reads:
        for rule, (file, finding) in _yielded(scope, selection, read):
            result.report(rule, file.document, finding)
    return result


def check_paths(
    paths: Iterable[str],
    known: Known | None = None,
    selection: Selection = EVERYTHING,
    with_checkpoints: bool = False,
) -> CheckResult:
    """Check files, folders and `-` (the standard input), each by itself and all of them together.

    In folders, compile configs, recipes and weight folders are found; YAML of other tools is left
    alone. Files that are named are checked whatever they look like. `with_checkpoints`: and so are
    the weight folders that those files name.
    """
    found = sources.find(paths)
    documents = []
    for path, is_named in found.files.items():
        try:
            document = sources.read(path)
        except UnreadableError as error:
            found.unreadable.append((path, error.message.rpartition(": ")[2]))
            continue
        if is_named or is_ours(document):
            documents.append(document)
    result = check_documents(documents, known, selection)
    result.unreadable = found.unreadable
    for file in result.files if with_checkpoints else ():
        folder = os.path.normpath(file.folder / file.checkpoint)
        with suppress(UnreadableError):
            names = file_names(Path(folder))
            if CONFIG_FILE in names or sources.has_weights(folder, names):
                found.add_weights(folder)
    for folder in found.weight_folders.values():
        result.add(check_weights(WeightFiles(Path(folder)), selection))
    for folder in found.compiled_folders:
        result.add(check_weights(WeightFiles(Path(folder)), selection, "compiled"))
    return result


def check_weights(
    files: WeightFiles, selection: Selection = EVERYTHING, scope: Scope = "weights"
) -> CheckResult:
    """Check a weight folder: its files and headers, configs and tokenizer."""
    result = CheckResult(checked=1)
    for rule, fault in _yielded(scope, selection, files):
        result.report(rule, *files.place(fault))
    return result


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
    diagnostics = check_weights(files, selection).diagnostics
    if has_errors(diagnostics):
        raise FindingsError(f"the weight folder {folder} has errors", diagnostics)
    return WeightFolder(folder, files.config, files.tensors), diagnostics


@cache
def _chosen(scope: Scope, selection: Selection) -> list[Rule]:
    return [rule for rule in all_rules() if rule.scope == scope and selection.has(rule.code)]


def _yielded(scope: Scope, selection: Selection, read: Any) -> Iterator[tuple[Rule, Any]]:
    """Yield what the rules of a scope yield of what they read."""
    return ((rule, found) for rule in _chosen(scope, selection) for found in rule.check(read))


def _is_ignored(document: Document, found: Diagnostic) -> bool:
    """Whether the line of a finding has a comment that says to ignore it."""
    line = document.lines[found.line - 1] if found.line <= len(document.lines) else ""
    comment = _IGNORE.search(line)
    if comment is None or found.code in ALWAYS:
        return False
    return found.code.startswith("VG" if comment[1] is None else (*re.findall(r"\w+", comment[1]),))
