"""Reading files of others: nothing waits, nothing is without bound, and faults have a place."""

import os

import pytest

from vacc_gen.schema.errors import UnreadableError
from vacc_gen.schema.json_files import (
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
        (b'{"a": 1, b}', 9, "key must be a string"),
        ('{"ä": 1,\n "é": b}'.encode(), 15, "expected value"),
        (b"", 0, "EOF while parsing a value"),
        (b'["\xe4"]', 2, "invalid unicode"),
        (rb'["a", "\ud800"]', 13, "unexpected end of hex escape"),
        (b'{"a":' * 300, 1005, "recursion limit"),
        (b"9" * 5000, 4301, "number out of range"),
        (b"[]", 0, "not an object"),
    ],
)
def test_what_is_not_json_has_a_place(source, offset, reason):
    with pytest.raises(JsonError, match=reason) as raised:
        parse_object(source)
    assert raised.value.offset == offset


def test_numbers_that_are_none_are_read_as_python_reads_them():
    assert parse_object(b'{"a": -Infinity, "b": 1e999}') == {"a": -float("inf"), "b": float("inf")}


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
