"""Chat templates, sampling, and answers as text: whole characters, stop strings across tokens."""

import json

import pytest

from tests.workspaces import FALCON_TINY
from vacc_gen.generator.answers import (
    Answer,
    ChatFormat,
    default_sampling,
    sampling_of,
    shown_length,
)
from vacc_gen.generator.backends.onnxruntime.runtime import Sampling
from vacc_gen.generator.calibration.tokenizer import Tokenizer
from vacc_gen.schema.errors import UnreadableError, UsageError

TEMPLATE = """\
{%- if messages[0].role == 'assistant' %}{{ raise_exception('a user begins') }}{% endif %}
{{ bos_token }}{% for message in messages %}
    {% if loop.index > 9 %}{% break %}{% endif %}
<|{{ message['role'] }}|>{{ message.content | tojson }}{{ eos_token }}
{% endfor %}
{{ strftime_now('%Y') | length }}{% if tools is none %}!{% endif %}
{% if add_generation_prompt %}<|assistant|>{% endif %}
"""
MESSAGES = [
    {"role": "system", "content": "Be brief. "},
    {"role": "user", "content": "Is 1 < 2 in 世界?"},
    {"role": "assistant", "content": "Yes."},
    {"role": "user", "content": "And 3?"},
]


def chat_format(folder, template):
    config = {"bos_token": {"content": "<s>"}, "eos_token": "</s>", "add_bos_token": True}
    config["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return ChatFormat(folder)


def test_a_template_renders_as_in_transformers(tmp_path):
    transformers = pytest.importorskip("transformers.utils.chat_template_utils")
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    (expected,), _ = transformers.render_jinja_template(
        [MESSAGES], chat_template=TEMPLATE, add_generation_prompt=True, **tokens
    )
    form = chat_format(tmp_path, TEMPLATE)
    assert form.prompt(MESSAGES) == expected
    assert '"Is 1 < 2 in 世界?"</s>' in expected
    with pytest.raises(UsageError, match="refuses these messages: a user begins"):
        form.prompt(MESSAGES[2:])


def test_which_template_is_taken(tmp_path):
    form = chat_format(tmp_path, None)
    assert form.prompt(MESSAGES) == (
        "Be brief.\n\nUser: Is 1 < 2 in 世界?\n\nAssistant: Yes.\n\nUser: And 3?\n\nAssistant:"
    )
    assert form.stop == ("\nUser:",)
    (tmp_path / "chat_template.jinja").write_text("beside")
    form = chat_format(tmp_path, "in the config")
    assert (form.prompt(MESSAGES), form.stop) == ("beside", ())
    assert form.description == "chat template of chat_template.jinja"


@pytest.mark.parametrize("template", ["{% for %}", "{{ ''.__class__.__mro__[1].mro() }}", 7, [{}]])
def test_templates_are_not_trusted(tmp_path, template):
    with pytest.raises((UnreadableError, UsageError), match="chat template"):
        chat_format(tmp_path, template).prompt(MESSAGES)


def test_sampling_comes_from_the_checkpoint_and_is_overruled(tmp_path):
    file = tmp_path / "generation_config.json"
    greedy = Sampling(repetition_penalty=1.1)
    file.write_text('{"temperature": 0.7, "repetition_penalty": 1.1, "top_k": null}')
    assert default_sampling(tmp_path) == greedy
    assert sampling_of(greedy, {"top_p": 1.0, "seed": None}) == greedy
    assert sampling_of(greedy, {"top_p": 0.9}) == Sampling(1.0, 0.9, repetition_penalty=1.1)
    file.write_text('{"do_sample": true, "temperature": 0.7, "top_p": "x"}')
    drawn = default_sampling(tmp_path)
    assert drawn == Sampling(temperature=0.7, top_k=50)
    assert sampling_of(drawn, {"temperature": None, "seed": 3}) == Sampling(0.7, top_k=50, seed=3)
    assert sampling_of(drawn, {"temperature": 0.0, "seed": 3}).temperature == 0


TEXT = " the Lord 世界 — é🙂 said"
TOKENIZER = Tokenizer(FALCON_TINY / "tokenizer.json")
TOKENS = TOKENIZER.encode(TEXT.encode())


class Parrot:
    """Answers with the tokens of a text, and ends then unless that is ignored."""

    total_tokens = 64

    def generate(self, token_ids, max_tokens, sampling):
        yield from (TOKENS * (1 + 9 * sampling.ignore_eos))[:max_tokens]


def answer(ignore_eos=False, **options):
    sampling = Sampling(ignore_eos=ignore_eos)
    made = Answer(Parrot(), TOKENIZER, "And", sampling, **options)
    return "".join(made), made.finish_reason, made.tokens


def test_characters_of_several_tokens_come_whole():
    """A byte-level tokenizer splits what it has not seen; no half character is shown."""
    for end in range(len(TOKENS) + 1):
        pieces = list(map(TOKENIZER.stream(), TOKENS[:end]))
        assert TEXT.startswith("".join(pieces))
    assert "".join(pieces) == TEXT
    assert len(TOKENS) > len([piece for piece in pieces if piece]) > 4


@pytest.mark.parametrize(
    ("stop", "text", "shown", "ends"),
    [
        ((), "ab", "ab", False),
        (("\nUser:",), "a\nUs", "a", False),
        (("\nUser:",), "a\nUse it", "a\nUse it", False),
        (("xyz",), "abxxy", "abx", False),
        (("b", "ab"), "aabc", "a", True),
    ],
)
def test_text_is_held_back_only_while_a_stop_string_may_begin(stop, text, shown, ends):
    assert shown_length(text, stop) == (len(shown), ends)


def test_why_an_answer_ends():
    count = len(TOKENS)
    text, reason, tokens = answer(stop=("nothing", "d 世界"))
    assert (text, reason, tokens < count) == (" the Lor", "stop", True)
    assert answer(stop=("said!",)) == (TEXT, "stop", count), "what was held back comes at the end"
    assert answer(max_tokens=2) == (" the Lord", "length", 2)
    assert answer(ignore_eos=True)[1:] == ("length", 63)
