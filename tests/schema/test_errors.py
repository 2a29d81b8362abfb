"""Text that every terminal and file can take."""

from hypothesis import given
from hypothesis import strategies as st

from vacc_gen.schema.errors import encodable, first_few, on_one_line


@given(st.text(st.sampled_from("a\\xu0dfe89\udcff\udc80\ud800\n☃")))
def test_any_text_can_be_encoded_and_stays_as_it_is_where_it_can(text):
    encodable(text).encode("utf-8")
    assert (encodable(text) == text) is not any("\ud800" <= mark <= "\udfff" for mark in text)


def test_a_line_break_in_a_path_takes_no_line():
    assert on_one_line("a\nb\t\x1b\udcff☃") == r"a\nb\t\x1b\udcff☃"


def test_the_first_names_are_shown():
    assert first_few(["a", "b", "c"]) == "a, b, c"
    assert first_few(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
