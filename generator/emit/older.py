"""A config of the older `vamc build` -> the config of `vamc compile` that means the same.

presets/older_keys.yaml has today's keys beside the older ones. Values keep their places in the
older text, so what today's typed models refuse is reported there.
"""

from __future__ import annotations

from pathlib import PurePath

import yaml

from vacc_gen.generator.emit.yaml_text import sections
from vacc_gen.presets import OLDER_KEYS
from vacc_gen.schema.compile_yaml.config import CompileConfig
from vacc_gen.schema.errors import UnreadableError, on_one_line
from vacc_gen.schema.lint.check import check_document
from vacc_gen.schema.lint.diagnostics import (
    START,
    FindingsError,
    Severity,
    Span,
    Steps,
    as_written,
    dotted,
)
from vacc_gen.schema.lint.document import Document, Kind, kind_of
from vacc_gen.schema.lint.files import MODEL_FILES
from vacc_gen.schema.lint.reader import Entry, Node
from vacc_gen.schema.lint.suggestions import models_at

VALUES = {
    "engine.type": {"vacc": "tvm_vacc"},
    "engine.common.do_quantization": {"true": "int8", "false": "fp16"},
}
"""What values are called today, of the keys of which they are called otherwise."""


def converted(older: Document) -> Conversion:
    """Return what a config of the older `vamc build` becomes; it has no errors.

    Raises:
        UnreadableError: it is another file.
        FindingsError: it is not YAML, or would have errors as a config of `vamc compile`.
    """
    if older.is_sound and kind_of(older) is not Kind.OLDER:
        hint = "such a config has `model` and `engine`"
        raise UnreadableError(f"{older.path} is not a config of the older `vamc build`", hint)
    made = Conversion(older)
    found = check_document(made.config if older.is_sound else older).diagnostics
    if errors := [one for one in found if one.severity is Severity.ERROR]:
        raise FindingsError(f"{older.path} was not converted", errors)
    return made


class Conversion:
    """Today's config, and what could not be carried over or is not known."""

    def __init__(self, older: Document) -> None:
        self.config = Document(older.text, older.path)
        self.config.faults = older.faults
        self.config.root = self._root = Node({}, START)
        self.remarks: list[tuple[Span, str]] = []
        self._older = older
        table: dict[str, str | None] = yaml.safe_load(OLDER_KEYS.read_text(encoding="utf-8"))
        self._today: dict[Steps, Steps | None] = {
            tuple(key.split(".")): tuple(today.split(".")) if today else None
            for key, today in table.items()
        }
        if older.root and older.is_sound:
            self._carry(older.root)
            self._complete()
            self.remarks.sort()

    @property
    def text(self) -> str:
        """The config as YAML, with the remarks as comments."""
        name, values = PurePath(self._older.path).name, self.config.values
        lines = [f"By `vacc-gen convert` from {name}, a config of the older `vamc build`."]
        lines += [f"- line {span.line}: {text}" for span, text in self.remarks]
        ordered = {key: values[key] for key in CompileConfig.model_fields if key in values}
        return "".join(f"# {on_one_line(line)}\n" for line in lines) + sections(ordered)

    def _carry(self, section: Node, steps: Steps = ()) -> None:
        """Put the values of an older section where they are today; remark on the others."""
        for key, entry in section.value.items():
            here, value = (*steps, key), entry.node.value
            written = f"`{dotted(here)}: {as_written(entry.node.plain())}`"
            today = self._place_of(here)
            if today and (value is None or self.config.node(*today)):
                self.remarks.append((entry.key_span, f"{written} is left out"))
            elif today:
                known = VALUES.get(dotted(here), {}).get(str(value).lower())
                if known:
                    self.remarks.append((entry.key_span, f"{written} is read as {known}"))
                    entry = Entry(entry.key_span, Node(known, entry.node.span))
                self._put(today, entry)
            elif isinstance(value, dict) and any(row[: len(here)] == here for row in self._today):
                self._carry(entry.node, here)
            else:
                self.remarks.append((entry.key_span, f"{written} has no counterpart"))

    def _place_of(self, older: Steps) -> Steps | None:
        """Return where the value of an older key is today, or None."""
        section = self._today.get((*older[:-1], "*"))
        if section is None or older in self._today:
            return self._today.get(older)
        *above, key = *section[:-1], older[-1]
        has_key = any(key in part.model_fields for part in models_at(CompileConfig, tuple(above)))
        return (*above, key) if has_key else None

    def _put(self, today: Steps, entry: Entry) -> None:
        section = self._root
        for step in today[:-1]:
            empty = Entry(entry.key_span, Node({}, entry.node.span))
            section = section.value.setdefault(step, empty).node
        section.value[today[-1]] = entry

    def _complete(self) -> None:
        """Add what the older format implies; remark on what today's needs and it does not say."""
        place_of, checkpoint = self._older.key_span, self.config.node("frontend", "checkpoint")
        suffix = PurePath(str(checkpoint.value)).suffix.lower() if checkpoint else ""
        place = place_of("model", "checkpoint")
        if suffix in MODEL_FILES:
            self._put(("frontend", "type"), Entry(place, Node(MODEL_FILES[suffix], place)))
        else:
            text = "`frontend.type` is not known: write what kind of checkpoint it is"
            self.remarks.append((place, text))
        if not self.config.node("dataset", "process_ops"):  # they make floating point of images
            text = "`frontend.dtype` is not known: write the type of the inputs unless it is fp32"
            self.remarks.append((place_of("model", "inputs"), text))
        dataset, sampler = self.config.node("dataset"), self.config.node("dataset", "sampler")
        if dataset and sampler and "get_data_num" not in sampler.value:
            del dataset.value["sampler"]
            text = "`dataset.sampler` lacks `get_data_num` and is left out"
            self.remarks.append((place_of("dataset", "sampler"), text))
