"""The questions of `vacc-gen new` on a terminal, one after the other, then all answers."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import questionary
import typer
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.filters import Condition
from prompt_toolkit.key_binding import KeyBindings, merge_key_bindings
from prompt_toolkit.layout import Dimension
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
    answers_of,
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
)
KEYS = {
    "folder": "(Tab: complete, ?: explain)",
    "search": "(type to filter, ?: explain)",
    "several": "(Space: toggle, ?: explain)",
}
LOOK: Any = {
    "style": questionary.Style([("highlighted", "bold"), ("selected", "noreverse")]),
    "color_depth": ColorDepth.MONOCHROME,  # no colour shows on both dark and light themes
    "erase_when_done": True,  # for a line with the answer alone
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
        questions, answers = {one.field: one for one in applicable(choices)}, answers_of(decision)
        rows = [Option(name, answers[name] or "to be fetched") for name in questions]
        picked = _pick(LAST, "summary:", [Option(WRITE, str(decision.root)), *rows])
        if picked == WRITE:
            return choices
        choices = _ask(choices, questions[picked], "change:")
        while decided(choices) is None:
            choices = _ask(choices, QUESTIONS[1], "change:")


def _ask(choices: Choices, question: Question, mark: str) -> Choices:
    """Ask one question until its answer is possible."""
    while True:
        text = _answer_text(choices, question, mark)
        typer.echo(folded(f"{mark} {question.prompt} {text}"))
        try:
            return answer(choices, question, text)
        except VaccGenError as error:
            typer.echo(folded(f"  {error.message}" + (f"\n  {error.hint}" if error.hint else "")))


def _answer_text(choices: Choices, question: Question, mark: str) -> str:
    """Put one question on the terminal; return the answer as text."""
    decision = decided(choices)
    current = answers_of(decision)[question.field] if decision else ""
    if question.kind == "folder":
        return _path(question, mark, current)
    name, _, path = current.partition(":")
    offered = options = list(options_of(choices, question))
    if question.kind == "number":
        offered = [*options, Option(ANOTHER, "number")]
    elif question.kind == "own":
        offered = [one for one in options if one.value in (options[0].value, name)]
        offered.append(Option(ANOTHER, f"{len(options) - len(offered)} more"))
    picked = _pick(question, mark, offered, name or DEFAULT_MODEL)
    if picked == ANOTHER and question.kind == "number":
        return str(_run(questionary.text("number in digits:", qmark="", **LOOK), question))
    if picked == ANOTHER:
        return _pick(question, mark, options, name)
    if question.kind == "texts" and picked != NO_SET:
        file = presets.CALIBRATION_SETS.find(picked).files[0].rpartition("/")[2]
        where = replace(question, kind="folder", prompt="Where are these texts?")
        return f"{picked}:{_path(where, mark, path if picked == name else file)}"
    return picked


def _path(question: Question, mark: str, current: str) -> str:
    # An open menu would take the Enter that is meant for the path.
    look = {"qmark": mark, "complete_while_typing": False, **LOOK}
    return str(_run(questionary.path(_message(question, mark), current, **look), question))


def _pick(question: Question, mark: str, options: list[Option], current: str | None = None) -> str:
    """Return the option that was picked; of a question of several, those, with spaces between."""
    message, rows = _message(question, mark), list(_rows(options, (current or "").split()))
    look = {"qmark": mark, "instruction": " ", "use_jk_keys": False, **LOOK}
    if question.kind == "several":
        enough = "Choose at least one."
        prompt = questionary.checkbox(message, rows, validate=lambda p: bool(p) or enough, **look)
        return " ".join(_run(prompt, question))
    is_long = question.kind == "search"
    prompt = questionary.select(message, rows, current, use_search_filter=is_long, **look)
    return str(_run(prompt, question))


def _run(prompt: questionary.Question, question: Question) -> Any:
    """Return what a prompt is answered; the key `?` prints the explanation above it."""
    text = folded(f"  {question.explanation}")
    bindings, app = KeyBindings(), prompt.application
    bindings.add("?", eager=True)(lambda _: run_in_terminal(lambda: typer.echo(text)))
    for window in app.layout.find_all_windows():
        if isinstance(rows := window.content, InquirerControl):
            window.height = Dimension(max=max(5, shutil.get_terminal_size().lines - 9))
            found_none = Condition(partial(_found_none, rows))
            bindings.add("enter", eager=True, filter=found_none)(lambda _: None)
    app.key_bindings = merge_key_bindings([app.key_bindings or KeyBindings(), bindings])
    return prompt.unsafe_ask()


def _found_none(rows: InquirerControl) -> bool:
    """Whether no row is as was typed: questionary shows all, and Enter would take one of them."""
    return bool(rows.search_filter) and rows.filtered_choices is rows.choices


def _rows(options: list[Option], now: list[str]) -> Iterator[questionary.Choice]:
    """Yield options, in as many lines as the terminal needs, with their notes below each other."""
    columns = shutil.get_terminal_size().columns
    width = min(20, max(len(option.value) for option in options)) if columns > 60 else 0
    indent = " " * (width + 7)  # 5 for the pointer, and the mark of several
    for option in options:
        text = f"{option.value:{width}}  {option.note}".rstrip()
        title = textwrap.fill(text, columns - 5, subsequent_indent=indent, break_on_hyphens=False)
        yield questionary.Choice(title, option.value, checked=option.value in now)


def _message(question: Question, mark: str) -> str:
    """Return what stands behind `mark`, its lines broken between words."""
    text = f"{mark} {question.prompt} {KEYS.get(question.kind, '(?: explain)')}"
    return folded(text)[len(mark) + 1 :]
