"""A conversation as a prompt, and how its checkpoint wants to be sampled.

Templates are rendered as transformers does it, without transformers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Template, TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from vacc_gen.generator.backends.onnxruntime.runtime import Sampling
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
            name: token["content"] if isinstance(token, Mapping) else token
            for name, token in config.items()
            if name.endswith("_token") and isinstance(token, str | Mapping)
        }
        self.stop: tuple[str, ...] = ()
        source, text = CONFIG_FILE, config.get("chat_template")
        try:
            if isinstance(text, list):  # several, by name
                text = {each["name"]: each["template"] for each in text}.get("default")
            if (content := read_regular(folder / TEMPLATE_FILE, MAX_TEMPLATE_BYTES)) is not None:
                source, text = TEMPLATE_FILE, content.decode()
            self.description = f"chat template of {source}"
            if not text:
                self.stop, text = PLAIN_STOP, PLAIN_TEMPLATE
                self.description = "plain User: and Assistant: turns, as there is no chat template"
            self._template = _compiled(text)
        except (OSError, ValueError, TypeError, KeyError, TemplateError) as error:
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


def _compiled(text: str) -> Template:
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
    return made if made.temperature > 0 else Sampling(repetition_penalty=made.repetition_penalty)
