import pytest

from vacc_gen.schema.lint.changes import changes, indents


def guesses(text, number, **more):
    lines = text.split("\n")
    found = {}
    for change in changes(lines, [number], None, **more):
        made = [*lines[: change.first], *change.lines, *lines[change.end :]]
        found.setdefault(change.kind, []).append("\n".join(made))
    return found


def test_indentations_are_those_of_the_neighbours_and_one_further():
    assert indents(["a:", "   b: 1", "c:"], 1) == [0, 2]


@pytest.mark.parametrize(
    ("text", "number", "kind", "meant"),
    [
        ("a:\n   b: 1", 1, "indentation", "a:\n  b: 1"),
        ("a:\n  b 1", 1, "colon", "a:\n  b: 1"),
        ("a: [1, 2", 0, "closing", "a: [1, 2]"),
        ("a: 'x", 0, "closing", "a: 'x'"),
        ("#a:\n  b: 1", 0, "commented", "a:\n  b: 1"),
        ("  # a:\n    b: 1", 0, "commented", "  a:\n    b: 1"),
        ("- a: 1\n  a: 2", 1, "dash", "- a: 1\n- a: 2"),
        ("a: b: c", 0, "quotes", 'a: "b: c"'),
        ("a: *.jpg", 0, "quotes", 'a: "*.jpg"'),
        ('a: "C:\\x"', 0, "quotes", "a: 'C:\\x'"),
        ("a: 'it's'", 0, "quotes", 'a: "it\'s"'),
        ("- a: 1, b: 2", 0, "two-keys", "- a: 1\n  b: 2"),
        ("a:\nb: 1\nc: 2", 0, "body", "a:\n  b: 1\n  c: 2"),
        ("a:\nb: 1\nc: 2", 0, "body", "a:\n  b: 1\nc: 2"),
    ],
)
def test_what_may_be_meant_is_among_the_guesses(text, number, kind, meant):
    assert meant in guesses(text, number)[kind]


def test_a_header_that_is_lacking_is_put_above_the_line():
    assert guesses("  b: 1", 0, headers=["a"])["header"] == ["a:\n  b: 1"]
    assert "header" not in guesses("b: 1", 0, headers=["a"])


def test_comments_and_empty_lines_are_not_moved():
    assert guesses("# words", 0) == {}
    assert guesses("", 0) == {}
