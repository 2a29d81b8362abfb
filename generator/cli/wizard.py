"""The wizard on a terminal: draws one page after the other, and takes the keys."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence

from prompt_toolkit.application import Application, get_app
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.data_structures import Point
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout import (
    BufferControl,
    ConditionalContainer,
    Dimension,
    FormattedTextControl,
    HSplit,
    Layout,
    VSplit,
    Window,
)
from prompt_toolkit.styles import Style
from prompt_toolkit.utils import get_cwidth

from vacc_gen.generator.cli.cells import clip, clip_start, pad, wrap
from vacc_gen.generator.cli.page import Page
from vacc_gen.generator.new.draft import Draft
from vacc_gen.generator.new.interview import Interview
from vacc_gen.generator.new.memory import plan_target, target_lines

NAME_COLUMNS = 14
PROMPT_COLUMNS = 2
NOTE_COLUMNS = 22
"""What `has a config.json` and the cursor take beside a path."""
KEY_WAIT_SECONDS = 0.05
"""How long a lone Escape waits for the rest of an arrow key's sequence."""

LEAST_ROWS = 3
FIRST_SERVED, THEN_SERVED = 20, 10
"""Weights of what gets the lines of a low terminal; answers that were given weigh 1. Layout takes
as many steps as the weights add up to, so they are small."""

STYLE = Style.from_dict(
    {
        "title": "bold",
        "name": "ansicyan",
        "current": "bold ansicyan",
        "note": "ansibrightblack",
        "error": "bold ansired",
        "warning": "ansiyellow",
    }
)

Lines = Sequence[tuple[str, str]]
"""Lines of text, each with its style."""


def run_wizard(interview: Interview) -> Draft:
    """Ask until all is answered and the summary confirmed; return what to make.

    Raises:
        KeyboardInterrupt: the user left.
    """
    return _Wizard(interview).application.run()


class _Wizard:
    def __init__(self, interview: Interview) -> None:
        self._interview = interview
        self._page: Page | None = None
        self._offered: str | None = None
        """What stands in the field and was not typed; None where it was."""
        self._field = Buffer(multiline=False, on_text_changed=self._typed)
        self._field_window = Window(BufferControl(self._field), height=1)
        self._list_control = FormattedTextControl(
            self._rows, focusable=True, show_cursor=False, get_cursor_position=self._row
        )
        self._layout = self._make_layout()
        self.application: Application[Draft] = Application(
            layout=self._layout,
            key_bindings=self._keys(),
            style=STYLE,
            full_screen=True,
            include_default_pygments_style=False,
        )
        self.application.ttimeoutlen = KEY_WAIT_SECONDS
        self._open()

    def _open(self) -> None:
        """Turn to the question that is open, or to the summary."""
        self._page = Page(self._interview) if self._interview.question else None
        self._show_text()
        self._layout.focus(self._field_window if self._has_field() else self._list_control)

    def _show_text(self) -> None:
        text = self._page.text if self._page else ""
        self._field.set_document(Document(text), bypass_readonly=True)
        self._offered = text

    def _typed(self, field: Buffer) -> None:
        self._offered = None
        if get_cwidth(field.text) < _columns() - PROMPT_COLUMNS:
            self._field_window.horizontal_scroll = 0  # a longer text that stood there left its own
        if self._page:
            self._page.type(field.text)

    # --- what is shown ---

    def _make_layout(self) -> Layout:
        answers = Window(
            FormattedTextControl(
                self._answers,
                show_cursor=False,
                get_cursor_position=lambda: Point(0, max(len(self._answer_lines()) - 1, 0)),
            ),
            height=lambda: _height(len(self._answer_lines()), 0),
        )
        mark = Window(FormattedTextControl("> "), width=PROMPT_COLUMNS, height=1)
        field = VSplit([mark, self._field_window])
        rows = Window(self._list_control, height=self._list_height)
        return Layout(
            HSplit(
                [
                    _lines(lambda: [("class:title", "vacc-gen new: a workspace, step by step")]),
                    answers,
                    _lines(self._prompt),
                    ConditionalContainer(field, Condition(self._has_field)),
                    rows,
                    _lines(self._status),
                    _lines(self._memory, yields=True),
                    Window(),
                    _lines(lambda: [("class:note", self._key_help())]),
                ]
            )
        )

    def _has_field(self) -> bool:
        return self._page is not None and (self._page.is_typed or self._page.is_searched)

    def _answer_lines(self) -> Sequence[tuple[str, str]]:
        draft = self._interview.draft
        if self._page is None and draft is not None:
            return summary(draft)
        return self._interview.answered

    def _answers(self) -> StyleAndTextTuples:
        room = _columns() - NAME_COLUMNS - 2
        return _joined(
            [("class:name", f"  {name:{NAME_COLUMNS}}"), ("", clip(answer or "later", room))]
            for name, answer in self._answer_lines()
        )

    def _prompt(self) -> Lines:
        if self._page is None:
            return [("", ""), ("class:title", "Make it? Nothing is written yet.")]
        prompt = self._page.question.prompt
        return [("", ""), ("class:title", prompt), ("class:note", self._page.help)]

    def _rows(self) -> StyleAndTextTuples:
        if self._page is None:
            return []
        lines: list[StyleAndTextTuples] = []
        rows = self._page.rows
        are_paths = self._page.question.kind in ("file", "folder")
        kept, room = (
            (clip_start, _columns() - NOTE_COLUMNS) if are_paths else (clip, _columns() // 2)
        )
        width = min(max((get_cwidth(row.value) for row in rows), default=0), room)
        for index, row in enumerate(rows):
            here = index == self._page.cursor
            mark = ">" if here else " "
            if self._page.question.kind == "several":
                mark += " [x]" if row.value in self._page.taken else " [ ]"
            value = pad(kept(row.value, width), width)
            style = "class:current" if here else ""
            note = clip(row.note, _columns() - width - len(mark) - 3)
            lines.append([(style, f"{mark} {value}"), ("class:note", f"  {note}")])
        return _joined(lines)

    def _row(self) -> Point:
        return Point(0, max(self._page.cursor, 0) if self._page else 0)

    def _list_height(self) -> Dimension:
        return _height(len(self._page.rows) if self._page else 0, LEAST_ROWS, THEN_SERVED)

    def _status(self) -> Lines:
        if self._page is None:
            return self._closing()
        lines: list[tuple[str, str]] = [("", note) for note in self._page.notes()]
        lines += [("class:warning", f"warning: {warning}") for warning in self._page.warnings()]
        error = self._page.meaning.error
        if error:
            lines += [("class:error", error.message)]
            lines += [("class:note", f"hint: {error.hint}")] if error.hint else []
        return [("", ""), *lines] if lines else []

    def _closing(self) -> Lines:
        draft = self._interview.draft
        assert draft is not None
        warned = "; ".join(f"{one.message} ({one.code})" for one in draft.warnings)
        lines = [("class:warning", f"`validate` will warn: {warned}")] if warned else []
        return [
            *lines,
            ("", ""),
            ("", "The same in one line:"),
            ("class:name", shlex.join(draft.choices.command())),
        ]

    def _memory(self) -> Lines:
        if self._page is None:
            draft = self._interview.draft
            assert draft is not None
            target = plan_target(draft.plan)
            lines = target_lines(target)[: 1 + len(target.footprints)]
        else:
            lines = tuple(self._page.memory())
        return [("", ""), *(("", line) for line in lines)] if lines else []

    def _key_help(self) -> str:
        if self._page is None:
            return "Enter: write it   Esc: back   Ctrl-C: leave"
        kind = self._page.question.kind
        keys = ["Enter: next"]
        if self._interview.answered:
            keys.append("Esc: back")
        if kind == "several":
            keys.append("Space: take or leave")
        elif self._page.rows:
            keys.append("Up, Down: choose")
        if kind in ("file", "folder"):
            keys.append("Tab: complete")
        return "   ".join([*keys, "Ctrl-C: leave"])

    # --- what keys do ---

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        several = Condition(lambda: bool(self._page and self._page.question.kind == "several"))
        keys.add("enter")(lambda event: self._enter(event))
        keys.add("escape", eager=True)(lambda event: self._back())
        keys.add("s-tab")(lambda event: self._back())
        keys.add("up")(lambda event: self._step(-1))
        keys.add("down")(lambda event: self._step(1))
        keys.add("pageup")(lambda event: self._step(-10))
        keys.add("pagedown")(lambda event: self._step(10))
        keys.add("tab")(lambda event: self._complete())
        keys.add(Keys.Any, filter=Condition(self._is_replaced))(lambda event: self._retype(event))
        keys.add(Keys.Any, filter=~Condition(self._has_field))(lambda event: self._seek(event.data))
        keys.add(" ", filter=several)(lambda event: self._toggle())
        keys.add(Keys.BracketedPaste)(lambda event: self._paste(event.data))
        keys.add("c-c")(_leave)
        keys.add("c-d")(_leave)
        return keys

    def _enter(self, event: KeyPressEvent) -> None:
        if self._page is None:
            event.app.exit(result=self._interview.draft)
        elif self._page.meaning.error is None:
            self._interview.answer(self._page.value)
            self._open()

    def _back(self) -> None:
        if self._interview.back():
            self._open()

    def _step(self, rows: int) -> None:
        if self._page:
            self._page.step(rows)
            self._show_text()

    def _seek(self, letter: str) -> None:
        if self._page:
            self._page.seek(letter)

    def _complete(self) -> None:
        if self._page:
            self._page.complete()
            self._show_text()

    def _toggle(self) -> None:
        if self._page:
            self._page.toggle()

    def _is_replaced(self) -> bool:
        """Whether what is typed takes the place of an offered number, as in a selected field."""
        is_number = self._page is not None and self._page.question.kind == "number"
        at_end = self._field.document.is_cursor_at_the_end
        return is_number and at_end and self._field.text == self._offered

    def _retype(self, event: KeyPressEvent) -> None:
        self._field.set_document(Document(event.data))

    def _paste(self, text: str) -> None:
        if self._is_replaced():
            self._field.reset()
        if self._has_field():
            self._field.insert_text(text.strip().partition("\n")[0].rstrip("\r"))


def summary(draft: Draft) -> list[tuple[str, str]]:
    """Return what would be made, in lines with a name."""
    recipe, plan = draft.decision.recipe, draft.plan
    target = recipe.target
    split = [
        *([target.card] if target.card else []),
        f"tp {target.tp}",
        *(["align_qkv"] if target.align_qkv else []),
        f"for {target.optimize_for}",
    ]
    files = draft.workspace.files()
    lines = [
        ("model", f"{plan.preset.name}: {plan.preset.summary}"),
        ("checkpoint", recipe.model.checkpoint),
        ("precisions", ", ".join(precision.value for precision in recipe.precisions)),
        ("target", ", ".join(split)),
        ("lengths", f"{target.prefill} tokens of prompt, {target.total} with the answer"),
        ("environment", recipe.environment.preset),
        ("folder", f"{draft.decision.root}: {len(files) + 1} files"),
    ]
    if recipe.calibration:
        texts = ("calibration", f"{recipe.calibration.set}: {recipe.calibration.path}")
        lines.insert(-2, texts)
    return lines


def _leave(event: KeyPressEvent) -> None:
    event.app.exit(exception=KeyboardInterrupt)


def _lines(lines: Callable[[], Lines], yields: bool = False) -> Window:
    """A window of lines, exactly as high as they are when wrapped, or lower where it `yields`."""

    def wrapped() -> list[StyleAndTextTuples]:
        columns = _columns()
        return [[(style, part)] for style, line in lines() for part in wrap(line, columns)]

    return Window(
        FormattedTextControl(lambda: _joined(wrapped()), show_cursor=False),
        height=lambda: _height(len(wrapped()), 0 if yields else None, FIRST_SERVED),
    )


def _height(lines: int, least: int | None = None, weight: int = 1) -> Dimension:
    """A height of so many lines, where there is room; what weighs more gets room first."""
    least = lines if least is None else min(lines, least)
    return Dimension(min=least, preferred=lines, max=lines, weight=weight)


def _joined(lines: Iterable[StyleAndTextTuples]) -> StyleAndTextTuples:
    parts: StyleAndTextTuples = []
    for line in lines:
        parts += [("", "\n"), *line] if parts else line
    return parts


def _columns() -> int:
    return get_app().output.get_size().columns
