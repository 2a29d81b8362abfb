from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vacc_gen.generator.calibration.windows import (
    concatenated,
    generator_for,
    held_bytes,
    in_random_order,
    one_text_each,
    shuffled,
)

END = 11
texts_of_tokens = st.lists(st.lists(st.integers(12, 99), max_size=30), max_size=20)


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(st.binary(max_size=20), max_size=60), seed=st.integers(0, 5))
def test_the_order_does_not_depend_on_how_much_is_held(texts, seed):
    orders = [
        list(shuffled(lambda: iter(texts), seed, "draw", held)) for held in (1, 50, 300, 10_000)
    ]
    assert all(order == orders[0] for order in orders)
    assert sorted(orders[0]) == sorted(texts)


def test_the_order_is_random_and_the_seed_decides_it():
    texts = [str(n).encode() for n in range(1000)]
    orders = [list(shuffled(lambda: iter(texts), seed, "draw", 10**6)) for seed in range(30)]
    assert len({order[0] for order in orders}) > 25
    mean_of_first_hundred = sum(int(text) for order in orders for text in order[:100]) / 3000
    assert 480 < mean_of_first_hundred < 520


def test_what_is_held_stays_within_bounds_however_long_the_texts():
    held = []

    def endless():
        for n in range(2000):
            held.append(n)
            yield b"x" * 1000

    drawn = shuffled(endless, 0, "draw", 20_000)
    assert [len(next(drawn)) for _ in range(20)] == [1000] * 20
    assert len(held) == 2000  # one pass gave twenty
    next(drawn)
    assert len(held) == 4000


def test_the_draw_is_the_documented_one():
    """Golden: sha256("0 draw") seeds random.Random; another draw would change users' windows."""
    draw = generator_for(0, "draw")
    assert [round(draw.random(), 12) for _ in range(3)] == [
        0.725366156754,
        0.724190655395,
        0.718144577937,
    ]


@given(texts=texts_of_tokens, seqlen=st.integers(1, 16))
def test_concatenated_windows_are_the_stream_cut(texts, seqlen):
    stream = [token for text in texts for token in [*text, END]]
    windows = list(concatenated(texts, seqlen, END))
    assert [token for window in windows for token in window] == (
        stream[: len(stream) // seqlen * seqlen]
    )
    assert all(len(window) == seqlen and window.itemsize == 4 for window in windows)


@given(texts=texts_of_tokens, seqlen=st.integers(1, 16), seed=st.integers(0, 3))
def test_a_window_of_one_text_is_a_run_of_it(texts, seqlen, seed):
    windows = list(one_text_each(texts, seqlen, seed, "start"))
    long_enough = [text for text in texts if len(text) >= seqlen]
    assert len(windows) == len(long_enough)
    for window, text in zip(windows, long_enough, strict=True):
        runs = [text[start : start + seqlen] for start in range(len(text) - seqlen + 1)]
        assert window.tolist() in runs


def test_windows_begin_anywhere_in_a_text():
    windows = one_text_each([range(12)] * 400, 10, 0, "start")
    assert {window[0] for window in windows} == {0, 1, 2}


def test_mixing_keeps_every_window_once():
    windows = [array("i", [n]) for n in range(50)]
    mixed = in_random_order(windows, 0, "order")
    assert sorted(window[0] for window in mixed) == list(range(50))
    assert mixed != windows


@pytest.mark.parametrize(
    ("tokens", "expected"), [(1, 1 << 20), (131_072, 4 << 20), (10**9, 32 << 20)]
)
def test_what_is_held_follows_what_is_wanted(tokens, expected):
    assert held_bytes(tokens) == expected
