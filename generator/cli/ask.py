"""The questions of `vacc-gen new` on a terminal, one after the other, then all answers."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import questionary
import typer
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.key_binding import KeyBindings, merge_key_bindings
from prompt_toolkit.layout import Dimension, ScrollbarMargin
from prompt_toolkit.output import ColorDepth
from questionary.prompts.common import InquirerControl

from vacc_gen import presets
from vacc_gen.generator.new.choices import Choices
from vacc_gen.generator.new.memory import target_lines
from vacc_gen.generator.new.questions import (
    NO_SET,
    QUESTIONS,
    Option,
    Question,
    answer,
    applicable,
    decided,
    options_of,
)
from vacc_gen.generator.terminal import folded
from vacc_gen.schema.errors import VaccGenError

DEFAULT_MODEL = "falcon-7b-instruct"
ANOTHER = "another"
WRITE = "write"
LAST = Question(
    field="",
    kind="choice",
    prompt="Nothing is written yet. Write it, or change an answer?",
    explanation="Enter on the first row writes the workspace. On another it asks again.",
    current=str,
    read=str,
)
KEYS = {
    "folder": "(Tab: complete, ?: explain)",
    "search": "(type to filter, ?: explain)",
    "several": "(Space: toggle, ?: explain)",
}
LOOK: Any = {
    "style": questionary.Style(
        [
            ("highlighted", "bold"),
            ("selected", "noreverse"),
            ("search_none", "underline"),
            ("scrollbar.button", "reverse"),
        ]
    ),
    "color_depth": ColorDepth.MONOCHROME,  # no colour shows on both dark and light themes
}


def ask_choices(given: Choices) -> Choices:
    """Ask until all is answered and confirmed; what the command line gave is offered.

    Raises:
        UsageError: what the command line gave is impossible.
        typer.Exit: the user left, with 130.
    """
    replace(given, model=DEFAULT_MODEL).decide()
    choices, step = given, 0
    try:
        while step < len(steps := applicable(choices)):
            step += 1
            choices = _ask(choices, steps[step - 1], f"step {step} of {len(steps)}:")
        return _review(choices)
    except (KeyboardInterrupt, EOFError):
        typer.echo("\nnothing was written", err=True)
        raise typer.Exit(130) from None


def _review(choices: Choices) -> Choices:
    """Show every answer until nothing is to be changed."""
    while True:
        decision = choices.decide()
        typer.echo(folded("\n".join(["", *decision.notes, *target_lines(decision.plan)])) + "\n")
        questions = {question.field: question for question in applicable(choices)}
        rows = [Option(WRITE, str(decision.root))]
        for name, question in questions.items():
            rows.append(Option(name, question.current(decision) or "to be fetched"))
        picked = _pick(LAST, "summary:", rows)
        if picked == WRITE:
            return choices
        choices = _ask(choices, questions[picked], "change:")
        while decided(choices) is None:
            choices = _ask(choices, QUESTIONS[1], "change:")


def _ask(choices: Choices, question: Question, mark: str) -> Choices:
    """Ask one question until its answer is possible."""
    while True:
        text = _answer_text(choices, question, mark)
        try:
            return answer(choices, question, text)
        except VaccGenError as error:
            typer.echo(folded(f"  {error.message}" + (f"\n  {error.hint}" if error.hint else "")))


def _answer_text(choices: Choices, question: Question, mark: str) -> str:
    """Put one question on the terminal; return the answer as text."""
    decision = decided(choices)
    current = question.current(decision) if decision else ""
    if question.kind == "folder":
        return _path(question, mark, current)
    name, _, path = current.partition(":")
    options = list(options_of(choices, question))
    shown = (options[0].value, name)
    offered = [one for one in options if question.kind != "own" or one.value in shown]
    if question.kind == "number":
        offered.append(Option(ANOTHER, "number"))
    elif len(offered) < len(options):
        offered.append(Option(ANOTHER, f"{len(options) - len(offered)} more"))
    picked = _pick(question, mark, offered, name or DEFAULT_MODEL)
    if picked == ANOTHER and question.kind == "number":
        return _run(questionary.text("number in digits:", qmark="", **LOOK), question)
    if picked == ANOTHER:
        return _pick(question, mark, options, name)
    if question.kind == "texts" and picked != NO_SET:
        file = presets.CALIBRATION_SETS.find(picked).files[0].rpartition("/")[2]
        where = replace(question, prompt="Where are these texts?")
        return f"{picked}:{_path(where, mark, path if picked == name else file)}"
    return picked


def _path(question: Question, mark: str, current: str) -> str:
    keys = KEYS["folder"].replace(" ", "\xa0")  # stays in one line
    message = _fitted(mark, f"{question.prompt} {keys}", max(12, len(current)))
    # An open menu would take the Enter that is meant for the path.
    prompt = questionary.path(message, current, qmark=mark, complete_while_typing=False, **LOOK)
    return _run(prompt, question)


def _pick(question: Question, mark: str, options: list[Option], current: str | None = None) -> str:
    """Return the option that was picked; of a question of several, those, with spaces between."""
    kind, longest = question.kind, max(len(option.value) for option in options)
    keys = KEYS.get(kind, "(?: explain)")
    message = _fitted(mark, question.prompt, max(longest, len(keys)))
    rows = list(_rows(options, min(longest, 20), (current or "").split()))
    look = {"qmark": mark, "instruction": keys, "use_jk_keys": False, **LOOK}
    if kind == "several":
        prompt = questionary.checkbox(message, rows, **look)
    else:
        searched = kind == "search"
        prompt = questionary.select(message, rows, current, use_search_filter=searched, **look)
    windows = prompt.application.layout.find_all_windows()
    window = next(window for window in windows if isinstance(window.content, InquirerControl))
    listed: Any = window.content
    if kind == "search":
        window.right_margins = [ScrollbarMargin(display_arrows=True)]
    window.height = Dimension(max=max(5, shutil.get_terminal_size().lines - 9))
    return _run(prompt, question, enter=lambda event: _take(event, listed, kind == "several"))


def _take(event: Any, rows: Any, several: bool) -> None:
    """Let Enter end a list, which then shows the values that were picked."""
    picked = rows.get_selected_values() if several else [rows.get_pointed_at()]
    if not picked:
        rows.error_message = [("class:validation-toolbar", "Choose at least one.")]
    elif rows.search_filter is None or rows.found_in_search:  # else questionary shows all
        values = " ".join(str(row.value) for row in picked)
        # One row is left, to show the values: of several, questionary would show their number.
        picked[0].title = [("", values)]
        rows.choices, rows.selected_options = picked[:1], [picked[0].value]
        rows.pointed_at, rows.search_filter, rows.is_answered = 0, None, True
        event.app.exit(result=values)


def _run(prompt: questionary.Question, question: Question, **keys: Any) -> str:
    """Return what a prompt is answered; the key `?` prints the explanation above it."""
    text = folded(f"  {question.explanation}")
    bindings, app = KeyBindings(), prompt.application
    keys["?"] = lambda _: run_in_terminal(lambda: typer.echo(text))
    for key, act in keys.items():
        bindings.add(key, eager=True)(act)
    app.key_bindings = merge_key_bindings([app.key_bindings or KeyBindings(), bindings])
    return str(prompt.unsafe_ask())


def _rows(options: list[Option], width: int, now: list[str]) -> Iterator[questionary.Choice]:
    """Yield options, in as many lines as the terminal needs, with their notes below each other."""
    room = shutil.get_terminal_size().columns - 5  # the pointer's, and the mark's of several
    if width + 2 + min(30, max(len(option.note) for option in options)) > room:
        width = 0  # a narrow terminal: notes stand right behind their options
    indent = " " * (5 + width + 2)
    for option in options:
        text = f"{option.value:{width}}  {option.note}".rstrip()
        title = textwrap.fill(text, room, subsequent_indent=indent, break_on_hyphens=False)
        yield questionary.Choice(title, option.value, checked=option.value in now)


def _fitted(mark: str, message: str, room: int) -> str:
    """Return a message to stand behind `mark`, with so many columns, or a line, left behind it."""
    lines = textwrap.wrap(f"{mark} {message}", shutil.get_terminal_size().columns - 1)
    lines += [""] * (len(lines[-1]) + 2 + room > shutil.get_terminal_size().columns)
    return "\n".join(lines)[len(mark) + 1 :]
