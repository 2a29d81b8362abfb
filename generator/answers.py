"""What a model is asked and answers, as text: chat templates, sampling, stop strings.

Templates are rendered as transformers does it, without transformers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Template, TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from vacc_gen.generator.backends.onnxruntime.runtime import Sampling, TextModel
from vacc_gen.generator.calibration.tokenizer import Tokenizer
from vacc_gen.schema.errors import UnreadableError, UsageError
from vacc_gen.schema.json_files import read_json, read_regular

TEMPLATE_FILE, CONFIG_FILE = "chat_template.jinja", "tokenizer_config.json"
MAX_TEMPLATE_BYTES = 1 << 20

PLAIN_TEMPLATE = """\
{% for message in messages %}
{% if message.role != "system" %}{{ message.role | title }}: {% endif %}
{{- message.content | trim }}{{ "\n\n" }}
{%- endfor %}Assistant:"""
"""How Falcon-7B-Instruct was trained to talk; where a model goes on, PLAIN_STOP ends its turn."""
PLAIN_STOP = ("\nUser:",)


class ChatFormat:
    """How a checkpoint writes conversations; `description` says where that is from."""

    def __init__(self, folder: Path) -> None:
        """Read the template of a deployed folder, or take the plain form.

        Raises:
            UnreadableError: the template cannot be read, or is not one.
        """
        config = read_json(folder / CONFIG_FILE) or {}
        self._tokens = {
            name: token.get("content") if isinstance(token, Mapping) else token
            for name, token in config.items()
            if name.endswith("_token") and isinstance(token, str | Mapping)
        }
        self.stop: tuple[str, ...] = ()
        source, text = CONFIG_FILE, config.get("chat_template")
        try:
            if (content := read_regular(folder / TEMPLATE_FILE, MAX_TEMPLATE_BYTES)) is not None:
                source, text = TEMPLATE_FILE, content.decode()
            self.description = f"chat template of {source}"
            if not text:
                self.stop, text = PLAIN_STOP, PLAIN_TEMPLATE
                self.description = "no chat template: plain `User:` and `Assistant:` turns"
            self._template = _compile(text)
        except (OSError, ValueError, TypeError, TemplateError) as error:
            message = f"{folder / source} has no usable chat template: {error}"
            raise UnreadableError(message, "take the checkpoint's own, and build again") from error

    def prompt(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Return the text that an assistant's answer to `messages` continues.

        Raises:
            UsageError: the template refuses them.
        """
        values = {"add_generation_prompt": True, "tools": None, "documents": None, **self._tokens}
        try:
            return self._template.render(messages=messages, **values)
        except Exception as error:  # a template can do anything that an expression can
            raise UsageError(f"the chat template refuses these messages: {error}") from error


def _compile(text: str) -> Template:
    def to_json(value: Any, **options: Any) -> str:
        return json.dumps(value, **{"ensure_ascii": False, **options})  # not escaped for HTML

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(text)


def default_sampling(folder: Path) -> Sampling:
    """Return what generation_config.json says; without `do_sample`, the likeliest token."""
    config = read_json(folder / "generation_config.json") or {}
    made, names = Sampling(), ["repetition_penalty"]
    if config.get("do_sample"):
        made = Sampling(temperature=1.0, top_k=50)  # transformers' own defaults
        names += ["temperature", "top_p", "top_k"]
    return replace(made, **{n: config[n] for n in names if isinstance(config.get(n), int | float)})


def sampling_of(defaults: Sampling, asked: Mapping[str, Any]) -> Sampling:
    """Return `defaults` with what was asked; a limit alone asks for sampling too."""
    made = replace(defaults, **{name: value for name, value in asked.items() if value is not None})
    if asked.get("temperature") is None and (made.top_p < 1 or made.top_k > 0):
        made = replace(made, temperature=made.temperature or 1.0)
    return made


@dataclass
class Answer:
    """What a model answers to a prompt: iterate once for one piece of text a token.

    A piece is whole characters, and "" where text is held back.
    """

    model: TextModel
    tokenizer: Tokenizer
    prompt: str
    sampling: Sampling
    max_tokens: int | None = None
    """None for as many as fit."""
    stop: Sequence[str] = ()
    finish_reason: str = "length"
    times: list[float] = field(default_factory=list)
    """When it began, and when each token came: seconds of `time.monotonic`."""

    def __post_init__(self) -> None:
        self.token_ids = self.tokenizer.encode(self.prompt.encode())
        self.room = self.model.total_tokens - len(self.token_ids)
        """Tokens that an answer can have; the model refuses to begin where that is too few."""

    @property
    def tokens(self) -> int:
        """How many tokens came so far, those of a stop string too."""
        return len(self.times[1:])

    def __iter__(self) -> Iterator[str]:
        most = self.max_tokens or max(1, self.room)
        text_of, held = self.tokenizer.stream(), ""
        self.times.append(time.monotonic())
        for token in self.model.generate(self.token_ids, most, self.sampling):
            self.times.append(time.monotonic())
            held += text_of(token)
            end, is_stop = shown_length(held, self.stop)
            yield held[:end]
            held = held[end:]
            if is_stop:
                self.finish_reason = "stop"
                return
        if self.tokens < most:
            self.finish_reason = "stop"
        yield held


def shown_length(text: str, stop: Sequence[str]) -> tuple[int, bool]:
    """How much of a text can be shown, and whether it ends there, before a stop string.

    From where on it may be the beginning of a stop string, it is held back.
    """
    places = [place for each in stop if (place := text.find(each)) >= 0]
    if places:
        return min(places), True
    for place in range(len(text)):
        if any(each.startswith(text[place:]) for each in stop):
            return place, False
    return len(text), False
