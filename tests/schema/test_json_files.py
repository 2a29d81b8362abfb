"""Reading files of others: nothing waits, nothing is without bound, and faults have a place."""

import os

import pytest

from vacc_gen.schema.errors import UnreadableError
from vacc_gen.schema.json_files import (
    MAX_DEPTH,
    JsonError,
    file_names,
    parse_object,
    read_json,
    read_json_object,
    read_regular,
)


@pytest.mark.parametrize(
    ("source", "offset", "reason"),
    [
        (b'{"a": 1, b}', 9, "expecting property name"),
        (b'["\xe4"]', 2, "not UTF-8 text"),
        (rb'["a", "\ud800"]', 7, "half of a surrogate pair"),
        (rb'{"\uDFFF": 1}', 2, "half of a surrogate pair"),
        (b'{"a": 1, "b": 2, "a": 1}', 17, "`a` is given twice"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), 0, "nested too deeply"),
        (b"9" * 5000, 0, "thousands of digits"),
    ],
)
def test_what_is_not_json_has_a_place(source, offset, reason):
    with pytest.raises(JsonError, match=reason) as raised:
        parse_object(source)
    assert raised.value.offset == offset


def test_numbers_that_are_none_are_read_where_python_reads():
    assert parse_object(b'{"a": -Infinity}')["a"] == -float("inf")
    with pytest.raises(JsonError, match="-Infinity is not a number") as raised:
        parse_object(b'{"a": -Infinity}', with_nan=False)
    assert raised.value.offset == 6


def test_what_is_json_is_read():
    deepest = b'{"a": ' + b"[" * (MAX_DEPTH - 2) + b"]" * (MAX_DEPTH - 2) + b"}"
    assert parse_object(deepest)
    assert parse_object(rb'{"\ud83d\ude00": [1e999, "\\ud800"]}') == {
        "\U0001f600": [float("inf"), r"\ud800"]
    }


def test_only_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "large").write_bytes(b"12345")
    assert file_names(tmp_path) == ["fifo", "large", "link", "loop"]
    for name in ("fifo", "link", "loop", "large", ".", "\0"):
        with pytest.raises(OSError, match=r"."):
            read_regular(tmp_path / name, 4)
        assert read_json(tmp_path / name) is None
    assert read_regular(tmp_path / "absent", 4) is None
    assert read_regular(tmp_path / "large" / "below", 4) is None
    assert read_regular(tmp_path / "large", 5) == b"12345"
    for folder in ("absent", "large", "\0"):
        with pytest.raises(UnreadableError, match="cannot read"):
            file_names(tmp_path / folder)
    with pytest.raises(UnreadableError, match="not valid JSON"):
        read_json_object(tmp_path / "large")
