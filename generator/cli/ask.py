"""The questions of `vacc-gen new` on a terminal: one after the other, then a page of all answers.

Bold and underlined alone: no colour shows on both dark and light themes.
"""

from __future__ import annotations

import textwrap
from dataclasses import replace
from typing import Any

import questionary
import typer
from questionary.prompts.common import InquirerControl

from vacc_gen import presets
from vacc_gen.generator.new.choices import Choices
from vacc_gen.generator.new.memory import target_lines
from vacc_gen.generator.new.questions import (
    NO_SET,
    QUESTIONS,
    Question,
    answer,
    applicable,
    decided,
    options_of,
)
from vacc_gen.schema.errors import VaccGenError

DEFAULT_MODEL = "falcon-7b-instruct"
EXPLAIN = "?"
OTHER = "another number"
WRITE = "write"
STYLE = questionary.Style(
    [
        ("qmark", "noinherit"),
        ("answer", "noinherit bold"),
        ("highlighted", "bold"),
        ("search_success", "noinherit bold"),
        ("search_none", "noinherit underline"),
        ("validation-toolbar", "noinherit reverse"),
        ("bottom-toolbar", "noinherit"),
    ]
)


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
        typer.echo("\n" + "\n".join([*decision.notes, *target_lines(decision.plan)]) + "\n")
        questions = {question.field: question for question in applicable(choices)}
        rows = [questionary.Choice(f"write {decision.root}", WRITE)]
        for name, question in questions.items():
            rows.append(
                questionary.Choice(f"{name:13} {question.current(decision) or 'later'}", name)
            )
        picked = _pick("Nothing is written yet. Write it, or change an answer?", "", rows)
        if picked == WRITE:
            return choices
        if picked == EXPLAIN:
            typer.echo("  Enter on the first row writes the workspace. On another it asks again.")
        else:
            choices = _ask(choices, questions[picked], "change:")
        while decided(choices) is None:
            choices = _ask(choices, QUESTIONS[1], "change:")


def _ask(choices: Choices, question: Question, mark: str) -> Choices:
    """Ask one question until its answer is possible; `?` explains it."""
    while True:
        text = _answer_text(choices, question, mark)
        if text == EXPLAIN:
            typer.echo(textwrap.indent(textwrap.fill(question.explanation, 76), "  "))
            continue
        try:
            return answer(choices, question, text)
        except VaccGenError as error:
            typer.echo(f"  {error.message}" + (f"\n  {error.hint}" if error.hint else ""))


def _answer_text(choices: Choices, question: Question, mark: str) -> str:
    """Put one question on the terminal; return the answer as text, or `EXPLAIN`."""
    decision = decided(choices)
    current = question.current(decision) if decision else ""
    if question.kind == "folder":
        return _path(question.prompt, mark, current)
    name, _, path = current.partition(":")
    options = list(options_of(choices, question))
    width = max(len(option.value) for option in options)
    rows = [
        questionary.Choice(f"{option.value:{width}}  {option.note}".rstrip(), option.value)
        for option in options
    ]
    if question.kind == "number":
        rows.append(questionary.Choice(OTHER))
    picked = _pick(question.prompt, mark, rows, name or DEFAULT_MODEL, question.kind)
    if picked == OTHER:
        return str(questionary.text("number in digits:", qmark="", style=STYLE).unsafe_ask())
    if question.kind == "texts" and picked not in (NO_SET, EXPLAIN):
        file = presets.CALIBRATION_SETS.find(picked).files[0].rpartition("/")[2]
        path = _path("Where are these texts?", mark, path if picked == name else file)
        return path if path == EXPLAIN else f"{picked}:{path}"
    return " ".join(picked) if isinstance(picked, list) else str(picked)


def _path(message: str, mark: str, current: str) -> str:
    message += " (Tab completes, ? explains)"
    # An open menu would take the Enter that is meant for the path.
    prompt = questionary.path(
        message, current, qmark=mark, style=STYLE, complete_while_typing=False
    )
    return str(prompt.unsafe_ask())


def _pick(
    message: str,
    mark: str,
    rows: list[questionary.Choice],
    current: str | None = None,
    kind: str = "",
) -> Any:
    """Return the value of the row that was picked, a list of them for `several`, or `EXPLAIN`."""
    if kind == "several":
        for row in rows:
            row.checked = row.value in (current or "").split()
        prompt = questionary.checkbox(
            message,
            rows,
            qmark=mark,
            instruction="(Space toggles, ? explains)",
            validate=lambda picked: bool(picked) or "Choose at least one.",
            style=STYLE,
        )
    else:
        prompt = questionary.select(
            message,
            rows,
            current,
            qmark=mark,
            instruction="(type to filter, ? explains)" if kind == "search" else "(? explains)",
            use_search_filter=kind == "search",
            use_jk_keys=False,
            style=STYLE,
        )
        _bind_enter(prompt)
    bindings: Any = prompt.application.key_bindings
    bindings.add("?", eager=True)(lambda event: event.app.exit(result=EXPLAIN))
    return prompt.unsafe_ask()


def _bind_enter(prompt: questionary.Question) -> None:
    """Let Enter take the row whose value is then shown; and none where the filter finds none."""
    bindings: Any = prompt.application.key_bindings
    controls = prompt.application.layout.find_all_controls()
    rows = next(control for control in controls if isinstance(control, InquirerControl))

    def take(event: Any) -> None:
        row = rows.get_pointed_at()
        if rows.search_filter is None or rows.found_in_search:  # else questionary shows all
            row.title, rows.is_answered = str(row.value), True
            event.app.exit(result=row.value)

    bindings.add("enter", eager=True)(take)
