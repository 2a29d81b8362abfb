"""Findings as SARIF 2.1.0, which code hosts show beside the lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from vacc_gen.schema.lint.diagnostics import Diagnostic, Severity
from vacc_gen.schema.lint.pages import page_of
from vacc_gen.schema.lint.rule import all_rules
from vacc_gen.schema.printable import encodable

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


def as_sarif(diagnostics: Sequence[Diagnostic]) -> str:
    """Return findings as one run of vacc-gen, with the rules that they are of."""
    found = {diagnostic.code for diagnostic in diagnostics}
    rules = [rule for rule in all_rules() if rule.code in found]
    position = {rule.code: index for index, rule in enumerate(rules)}
    log = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "vacc-gen",
                        "rules": [
                            {
                                "id": rule.code,
                                "name": rule.name,
                                "shortDescription": {"text": rule.summary},
                                "fullDescription": {"text": page_of(rule).why},
                                "defaultConfiguration": {"level": _LEVELS[rule.severity]},
                            }
                            for rule in rules
                        ],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(one, position[one.code]) for one in diagnostics],
            }
        ],
    }
    return json.dumps(log, indent=2) + "\n"


def _result(found: Diagnostic, rule_index: int) -> dict[str, Any]:
    message = found.message + (f"\n{found.hint}" if found.hint else "")
    return {
        "ruleId": found.code,
        "ruleIndex": rule_index,
        "level": _LEVELS[found.severity],
        "message": {"text": encodable(message)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(found.path)},
                    "region": {
                        "startLine": found.line,
                        "startColumn": found.column,
                        "endLine": found.end_line,
                        "endColumn": found.end_column,
                    },
                }
            }
        ],
    }


def _uri(path: str) -> str:
    """Return a path as a relative reference, byte for byte."""
    return quote(path.encode("utf-8", "surrogateescape"), safe="/-._~")
