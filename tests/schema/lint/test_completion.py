"""What may be written at a cursor (`|`) in texts that are being typed."""

import pytest

from vacc_gen.presets import KNOWN
from vacc_gen.schema.compile_yaml.config import CompileConfig
from vacc_gen.schema.lint.completion import choices, find_cursor
from vacc_gen.schema.recipe import Recipe

OPS = "dataset:\n  process_ops:\n  - type: Resize\n    size: [1, 2]\n"
OFFERS = [
    ("|", "name frontend backend graph dataset workspace"),
    ("name: x\nba|\nbackend:\n", "frontend graph dataset workspace"),
    ("frontend: [\nbackend:\n  dtype: |\nname: 'x", "fp16 int8"),
    ("backend:\n  compile:\n    data_type: |", "0 2"),
    ("backend:\n  compile:\n    stream_mode: t|", "true false"),
    ("backend: {dtype: |", "fp16 int8"),
    ("backend:\n  dtype: '|'", "fp16 int8"),
    (f"{OPS}    |", "adaptive_side interpolation backend"),
    (f"{OPS}    interpolation: b|\n  - type: x", "nearest bilinear bicubic area lanczos"),
    ("dataset:\n  process_ops:\n  - {type: Pad, p|", "pad_to_square size_divisor pad_val"),
    ("dataset:\n  type: huggingface\n  |", "path name nsamples seqlen"),
    ("dataset:\n  type: |", "tvm huggingface"),
    ("frontend:\n  type:|", ""),  # a space comes first
    ("frontend:\n  type: a b|", ""),
    ("frontend:  # type: |", ""),
    ("version: 2\nmodel: {preset: falcon-7b, |", "checkpoint name"),
    ("version: 2\nprecisions: [fp16, |]", "fp16 int8 int4 kv8"),
    ("version: 2\nprecisions:\n- fp16\n- i|", "fp16 int8 int4 kv8"),
    ("version: 2\ntarget:\n  card: V|", "VA1-16G VA10L VA16"),
    ("version: 2\ntarget:\n  tp: |", "4"),
    ("version: 2\nenvironment:\n  python: |", '"3.8" "3.9" "3.10" "3.11" "3.12" "3.13"'),
]


def cursor_in(text):
    before, _, after = text.partition("|")
    return find_cursor(before + after, len(before))


@pytest.mark.parametrize(("text", "words"), OFFERS)
def test_what_may_be_written_is_offered(text, words):
    root, cursor = Recipe if text.startswith("version") else CompileConfig, cursor_in(text)
    offered = [] if cursor is None else [*choices(root, cursor, KNOWN)]
    assert [one.text for one in offered] == words.split()
    assert all(one.meaning for one in offered if one.after)
