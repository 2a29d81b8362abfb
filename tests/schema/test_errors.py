import pytest
from hypothesis import given
from hypothesis import strategies as st

from vacc_gen.schema.errors import encodable, on_one_line


@given(st.text(st.sampled_from("a\\xu0dfe89\udcff\udc80\ud800\n☃")))
def test_any_text_can_be_encoded(text):
    encodable(text).encode("utf-8")


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("build/hf.yaml", "build/hf.yaml"),
        ("C:\\build\\hf.yaml", "C:\\build\\hf.yaml"),
        ("caf\udce9.yaml", r"caf\xe9.yaml"),
        ("a\\b\udcff", r"a\\b\xff"),
    ],
)
def test_text_stays_as_it_is_where_it_can(text, made):
    assert encodable(text) == made


def test_a_line_break_in_a_path_takes_no_line():
    assert on_one_line("a\nb\t\x1b\udcff☃") == r"a\nb\t\x1b\xff☃"
