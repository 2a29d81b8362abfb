import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.utils import get_cwidth

from vacc_gen.generator.cli.cells import clip, clip_start, pad, wrap

TEXTS = st.text(st.sampled_from("ab 模型，é"), max_size=60)
WIDTHS = st.integers(4, 30)


@given(TEXTS, WIDTHS)
def test_wrapped_lines_fit_and_lose_nothing_but_blanks(text, cells):
    lines = wrap(text, cells)
    assert all(get_cwidth(line) <= cells for line in lines if line.strip())
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@given(TEXTS, WIDTHS)
def test_clipped_text_fits(text, cells):
    clipped = clip(text, cells)
    assert get_cwidth(clipped) <= cells
    assert clipped == text or (clipped.endswith("...") and text.startswith(clipped[:-3]))


@given(TEXTS, WIDTHS)
def test_of_a_path_the_end_is_kept(text, cells):
    clipped = clip_start(text, cells)
    assert get_cwidth(clipped) <= cells
    assert clipped == text or (clipped.startswith("...") and text.endswith(clipped[3:]))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [""]),
        ("  indented words", ["  indented", "words"]),
        ("模型权重文件夹", ["模型权重文", "件夹"]),
        ("a 模型权重文件夹", ["a", "模型权重文", "件夹"]),
    ],
)
def test_wrapping(text, lines):
    assert wrap(text, 10) == lines


def test_padding_counts_cells():
    assert pad("模型", 6) == "模型  "
