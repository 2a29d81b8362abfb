from hypothesis import given
from hypothesis import strategies as st

from vacc_gen.schema.lint.suggestions import distance, nearest, nearest_of_all

WORDS = st.text("abc", max_size=7)


@given(WORDS, WORDS)
def test_distance_is_symmetric_and_zero_for_equals_alone(one, other):
    assert distance(one, other, 9) == distance(other, one, 9)
    assert (distance(one, other, 9) == 0) == (one == other)


@given(WORDS, WORDS, st.integers(0, 3))
def test_the_limit_cuts_and_changes_nothing_below(one, other, limit):
    assert distance(one, other, limit) == min(distance(one, other, 9), limit + 1)


def test_case_and_separators_do_not_count():
    assert nearest_of_all("Data-Type", ["dtype", "data_type"]) == ["data_type"]
    assert nearest("gatherdata", ["gather_data"]) == "gather_data"


def test_equally_near_words_are_all_returned_and_far_ones_are_not():
    assert nearest_of_all("int", ["int8", "int4", "fp16"]) == ["int8", "int4"]
    assert nearest("workers", ["path", "pyenv"]) is None
    assert nearest("tp", ["b2s"]) is None
    assert nearest("abcd", ["axyd"]) is None  # two edits are too many for a short word
    assert nearest("abcde", ["axyde"]) == "axyde"
