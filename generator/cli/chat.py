"""The chat of `vacc-gen run` on a terminal."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event

import typer
from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings

from vacc_gen.generator.answers import Answer
from vacc_gen.generator.files import write_atomically
from vacc_gen.generator.terminal import folded, signals_to
from vacc_gen.schema.errors import UsageError, plural

QUOTES = '"""'
HELP = f"""\
/clear      forget the conversation
/save FILE  write the conversation to a new file, as JSON
Several lines: Alt-Enter begins a new one, or put {QUOTES} before and after them.
Ctrl-C stops an answer, Ctrl-D leaves."""

ROOM = 64
"""Tokens that an answer is to have room for, as long as older turns can be dropped for it."""

Messages = list[dict[str, str]]


def chat(begin_answer: Callable[[Messages], Answer], title: str) -> None:
    """Talk until the user leaves.

    Raises:
        StageError: the model fails.
    """
    keys = KeyBindings()
    keys.add("escape", "enter")(lambda event: event.current_buffer.insert_text("\n"))
    session: PromptSession[str] = PromptSession(
        ">>> ",
        prompt_continuation="... ",
        history=_history(),
        key_bindings=keys,
        multiline=Condition(_is_open),
    )
    typer.echo(folded(f"{title}\n/? for help, Ctrl-D to leave"))
    messages: Messages = []
    stopped = Event()
    with (
        signals_to(lambda number, _: sys.exit(128 + number), signal.SIGTERM, signal.SIGHUP),
        signals_to(lambda *_: stopped.set(), signal.SIGINT),
    ):
        while (text := _read(session)) is not None:
            stopped.clear()
            if text.startswith("/"):
                _obey(text, messages)
            elif text := text.removeprefix(QUOTES).removesuffix(QUOTES).strip():
                _answer(text, messages, begin_answer, stopped)


def _read(session: PromptSession[str]) -> str | None:
    try:
        # What is typed in another encoding, or pasted from one, is no reason to end.
        return session.prompt().encode(errors="replace").decode().strip()
    except KeyboardInterrupt:
        typer.echo("Ctrl-D leaves")
        return ""
    except EOFError:
        return None


def _answer(
    text: str, messages: Messages, begin_answer: Callable[[Messages], Answer], stopped: Event
) -> None:
    """Show the answer as it comes; what was shown of it stays in the conversation."""
    before = [*messages]
    messages.append({"role": "user", "content": text})
    shown = ""
    try:
        while (answer := begin_answer(messages)).room < ROOM and len(messages) > 1:
            del messages[:2]
        for piece in answer:
            new = piece if shown else piece.lstrip()
            print(new, end="", flush=True)
            shown += new
            if stopped.is_set():
                print(" (stopped)", end="")
                break
    except UsageError as error:
        typer.echo(error.message)
        messages[:] = before
        return
    print("\n")
    messages.append({"role": "assistant", "content": shown.strip()})


def _obey(command: str, messages: Messages) -> None:
    verb, _, name = command.partition(" ")
    if verb == "/clear":
        messages.clear()
    elif verb == "/save" and name:
        try:
            file = Path(name).expanduser()
            if file.exists():
                raise FileExistsError("it exists")
            write_atomically(file, json.dumps(messages, ensure_ascii=False, indent=2) + "\n")
            typer.echo(f"{file}: {plural(len(messages), 'message')}")
        except (OSError, RuntimeError) as error:  # RuntimeError: there is no such user
            typer.echo(f"cannot write {name}: {error}")
    else:
        typer.echo(folded(HELP))


def _is_open() -> bool:
    """Whether what is typed has opening quotes and no closing ones."""
    text = get_app().current_buffer.text.strip()
    return text.startswith(QUOTES) and not (len(text) >= 6 and text.endswith(QUOTES))


def _history() -> History:
    """Return what was typed in earlier chats, of this one alone where that cannot be kept."""
    file = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state", "vacc-gen", "history")
    with suppress(OSError, RuntimeError):  # RuntimeError: there is no home
        file = file.expanduser()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(0o600)
        return FileHistory(str(file))
    return InMemoryHistory()
