"""A language server (LSP) on stdin and stdout: what `validate` finds, while a file is typed.

The lint counts lines as YAML does and columns in characters; the protocol has line breaks of its
own, and columns in the units that the editor asks for, UTF-16 by default. Offsets lead from one to
the other. The editor sends the whole text at each change: a config is small.
"""

from __future__ import annotations

import re
from bisect import bisect_right

from lsprotocol import types as lsp
from pygls.lsp.server import LanguageServer

from vacc_gen.generator.extras import package_version
from vacc_gen.presets import KNOWN
from vacc_gen.schema.compile_yaml.config import CompileConfig
from vacc_gen.schema.lint.check import EVERYTHING, Selection, check_documents
from vacc_gen.schema.lint.completion import Cursor, choices, find_cursor
from vacc_gen.schema.lint.diagnostics import Diagnostic, Severity
from vacc_gen.schema.lint.document import Kind, is_ours, kind_of, load
from vacc_gen.schema.lint.rule import all_rules, as_page
from vacc_gen.schema.lint.suggestions import Model
from vacc_gen.schema.recipe import Recipe

_BREAK = re.compile("\r\n|[\r\n]")
_SEVERITIES = {Severity.ERROR: 1, Severity.WARNING: 2, Severity.INFO: 3}


class Server(LanguageServer):
    selection: Selection = EVERYTHING


server = Server("vacc-gen", package_version("vacc-gen") or "", lsp.TextDocumentSyncKind.Full)


class Text:
    """An open file, and its places as the protocol has them."""

    def __init__(self, uri: str) -> None:
        opened = server.workspace.get_text_document(uri)
        self.source, self.version = opened.source, opened.version
        self.document = load(self.source, opened.path)
        self.lines = _BREAK.split(self.source)
        self._before = len(self.document.prefix)  # a byte order mark
        self._codec = server.workspace.position_codec
        self._starts = [0, *(found.end() for found in _BREAK.finditer(self.source))]

    def findings(self) -> list[tuple[Diagnostic, lsp.Diagnostic]]:
        """Return what `validate` finds in the file as it is here, if it is one of ours."""
        if not is_ours(self.document):
            return []
        found = check_documents([self.document], KNOWN, server.selection).diagnostics
        return [(one, self._shown(one)) for one in found]

    def _shown(self, found: Diagnostic) -> lsp.Diagnostic:
        start, end = map(self.document.line_start, (found.line, found.end_line))
        return lsp.Diagnostic(
            range=self.range(start + found.column - 1, end + found.end_column - 1),
            message="\n".join(filter(None, (found.message, found.hint))),
            severity=lsp.DiagnosticSeverity(_SEVERITIES[found.severity]),
            code=found.code,
            source="vacc-gen",
        )

    def range(self, *offsets: int) -> lsp.Range:
        """Return the range between two offsets of the document."""
        places = []
        for offset in (at + self._before for at in offsets):
            line = bisect_right(self._starts, offset) - 1
            place = lsp.Position(line, offset - self._starts[line])
            places.append(self._codec.position_to_client_units(self.lines, place))
        return lsp.Range(*places)

    def cursor(self, position: lsp.Position) -> Cursor | None:
        place = self._codec.position_from_client_units(self.lines, position)
        offset = self._starts[place.line] + place.character - self._before
        return find_cursor(self.document.text, max(offset, 0))

    @property
    def model(self) -> Model | None:
        """The typed model of the file; of one that is begun, a config's if its keys allow it."""
        kind, values = kind_of(self.document), self.document.values
        if kind is Kind.RECIPE:
            return Recipe
        keys = values.keys() if isinstance(values, dict) else set()
        is_begun = keys <= CompileConfig.model_fields.keys()
        return CompileConfig if kind is Kind.CONFIG or is_begun else None


@server.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
@server.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
def publish(params: lsp.DidOpenTextDocumentParams | lsp.DidChangeTextDocumentParams) -> None:
    uri = params.text_document.uri
    text = Text(uri)
    found = [shown for _, shown in text.findings()]
    sent = lsp.PublishDiagnosticsParams(uri, found, text.version)
    server.text_document_publish_diagnostics(sent)


@server.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
def forget(params: lsp.DidCloseTextDocumentParams) -> None:
    sent = lsp.PublishDiagnosticsParams(params.text_document.uri, [])
    server.text_document_publish_diagnostics(sent)


@server.feature(lsp.TEXT_DOCUMENT_HOVER)
def hover(params: lsp.HoverParams) -> lsp.Hover | None:
    """Return the pages of the rules whose findings are here."""
    text, here = Text(params.text_document.uri), params.position
    ranges = [(found.code, shown.range) for found, shown in text.findings()]
    codes = {code for code, at in ranges if at.start <= here <= at.end}
    shown = "\n\n---\n\n".join(as_page(rule) for rule in all_rules() if rule.code in codes)
    return lsp.Hover(lsp.MarkupContent(lsp.MarkupKind.Markdown, shown)) if shown else None


@server.feature(lsp.TEXT_DOCUMENT_CODE_ACTION, lsp.CodeActionOptions([lsp.CodeActionKind.QuickFix]))
def quick_fixes(params: lsp.CodeActionParams) -> list[lsp.CodeAction]:
    """Return the fixes of what is found in a range; those that are safe are preferred."""
    text, asked = Text(params.text_document.uri), params.range
    actions = []
    for found, shown in text.findings():
        fix, at = found.fix, shown.range
        if fix is None or asked.end < at.start or at.end < asked.start:
            continue
        title = f"{found.code}: write `{fix.text}`" if fix.text.strip() else f"{found.code}: delete"
        edit = lsp.TextEdit(text.range(fix.span.start, fix.span.end), fix.text)
        action = lsp.CodeAction(
            title if fix.safe else f"{title} (unsafe: changes what is compiled)",
            kind=lsp.CodeActionKind.QuickFix,
            diagnostics=[shown],
            is_preferred=fix.safe,
            edit=lsp.WorkspaceEdit({params.text_document.uri: [edit]}),
        )
        actions.append(action)
    return actions


@server.feature(lsp.TEXT_DOCUMENT_COMPLETION, lsp.CompletionOptions([" "]))
def complete(params: lsp.CompletionParams) -> list[lsp.CompletionItem]:
    """Return the keys or values that may stand at the cursor, in the order of the models."""
    text = Text(params.text_document.uri)
    cursor, model = text.cursor(params.position), text.model
    if cursor is None or model is None:
        return []
    word = text.range(cursor.start, cursor.end)
    has_colon = text.document.text[cursor.end :].lstrip(" ").startswith(":")
    return [
        lsp.CompletionItem(
            label=choice.text,
            kind=lsp.CompletionItemKind.Property if choice.after else lsp.CompletionItemKind.Value,
            documentation=choice.meaning,
            sort_text=f"{number:04}",
            text_edit=lsp.TextEdit(word, choice.text + ("" if has_colon else choice.after)),
        )
        for number, choice in enumerate(choices(model, cursor, KNOWN))
    ]
