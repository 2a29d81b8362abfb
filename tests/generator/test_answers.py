"""Answers as text: whole characters, stop strings across tokens, why they end."""

import pytest

from tests.workspaces import FALCON_TINY
from vacc_gen.generator.answers import Answer, StopStrings
from vacc_gen.generator.backends.onnxruntime.runtime import Sampling
from vacc_gen.generator.calibration.tokenizer import Tokenizer

TEXT = " the Lord 世界 — é🙂 said"
TOKENIZER = Tokenizer(FALCON_TINY / "tokenizer.json")
TOKENS = TOKENIZER.encode(TEXT.encode())


class Parrot:
    """Answers with the tokens of a text, and ends then unless that is ignored."""

    total_tokens = 64

    def generate(self, token_ids, max_tokens, sampling, *, ignore_eos=False):
        yield from (TOKENS * (1 + 9 * ignore_eos))[:max_tokens]


def answer(**options):
    made = Answer(Parrot(), TOKENIZER, "And", Sampling(), **options)
    return "".join(made), made.finish_reason, made.tokens


def test_characters_of_several_tokens_come_whole():
    """A byte-level tokenizer splits what it has not seen; no half character is shown."""
    for end in range(len(TOKENS) + 1):
        pieces = list(map(TOKENIZER.stream(), TOKENS[:end]))
        assert TEXT.startswith("".join(pieces))
    assert "".join(pieces) == TEXT
    assert len(TOKENS) > len([piece for piece in pieces if piece]) > 4


@pytest.mark.parametrize(
    ("stop", "texts", "shown", "rest"),
    [
        ((), ["a", "b"], ["a", "b"], ""),
        (("\nUser:",), ["a\n", "\nUs", "e it"], ["a", "\n", "\nUse it"], ""),
        (("xyz",), ["ab", "x", "y"], ["ab", "", ""], "xy"),
        (("b", "ab"), ["a", "abc"], ["", "a"], "abc"),
    ],
)
def test_text_is_held_back_only_while_a_stop_string_may_begin(stop, texts, shown, rest):
    strings = StopStrings(stop)
    assert [strings.add(text) for text in texts] == shown
    assert (strings.held, strings.found) == (rest, "b" in stop)


def test_why_an_answer_ends():
    count = len(TOKENS)
    text, reason, tokens = answer(stop=("nothing", "d 世界"))
    assert (text, reason, tokens < count) == (" the Lor", "stop", True)
    assert answer(stop=("said!",)) == (TEXT, "stop", count), "what was held back comes at the end"
    assert answer(max_tokens=2) == (" the Lord", "length", 2)
    assert answer(ignore_eos=True)[1:] == ("length", 63)
