"""The tokenizer of a weight folder: the library's own tokens, and the token that ends a text."""

import gzip
import json
import shutil
from pathlib import Path

import pytest

from vacc_gen.generator.calibration.tokenizer import PIECE, Tokenizer, check_tokenizer
from vacc_gen.schema.errors import CheckpointError, UnreadableError

DATA = Path(__file__).parents[2] / "data"
TINY = DATA / "falcon-tiny" / "tokenizer.json"


def test_a_long_text_is_encoded_in_pieces_to_the_same_tokens(tmp_path):
    from tokenizers import Tokenizer as Peer

    file = tmp_path / "tokenizer.json"
    file.write_bytes(gzip.decompress((DATA / "falcon-tokenizer.json.gz").read_bytes()))
    long = "And the earth was without form, 约翰福音 Größe,\nand void. " * 1_500
    for text, count in ((long, 2), ("x" * 200_000, 4), (" ", 1), ("", 0)):
        assert "".join(PIECE.findall(text)) == text
        assert len(PIECE.findall(text)) == count
    tokenizer = Tokenizer(file)
    ids = tokenizer.encode(long.encode())
    assert ids == Peer.from_file(str(file)).encode(long).ids
    assert tokenizer.decode(ids) == long


def test_special_tokens_add_nothing_to_an_answer():
    tokenizer = Tokenizer(TINY)
    ids = [*tokenizer.encode(b"God"), tokenizer.end_of_text()]
    assert tokenizer.decode(ids) == "God<|endoftext|>"
    assert "".join(map(tokenizer.stream(), ids)) == "God"


def test_stored_truncation_and_padding_are_not_applied(tmp_path):
    from tokenizers import Tokenizer as Peer

    peer = Peer.from_file(str(TINY))
    peer.enable_truncation(2)
    peer.enable_padding(length=64)
    peer.save(str(tmp_path / "tokenizer.json"))
    ids = Tokenizer(tmp_path / "tokenizer.json").encode(b"In the beginning")
    assert ids == Tokenizer(TINY).encode(b"In the beginning")


def test_what_is_no_tokenizer(tmp_path):
    with pytest.raises(UnreadableError, match=r"has no tokenizer\.json"):
        Tokenizer(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UnreadableError, match="is not a tokenizer"):
        Tokenizer(tmp_path / "tokenizer.json")


def test_a_tokenizer_that_does_not_say_how_texts_end(tmp_path):
    content = json.loads(TINY.read_text())
    content["added_tokens"] = []
    del content["model"]["vocab"]["<|endoftext|>"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="does not say which token ends a text"):
        Tokenizer(tmp_path / "tokenizer.json").end_of_text()


@pytest.mark.parametrize("eos", [">>TITLE<<", {"content": ">>TITLE<<", "lstrip": False}])
def test_the_tokenizers_config_names_the_end_of_a_text(tmp_path, eos):
    shutil.copy(TINY, tmp_path)
    assert Tokenizer(tmp_path / "tokenizer.json").end_of_text() == 11
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": eos}))
    assert Tokenizer(tmp_path / "tokenizer.json").end_of_text() == 0


PANIC = {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "!!!"}}


@pytest.mark.parametrize(
    "change",
    [{"decoder": {"type": "Foo"}}, {"version": "9.0"}, PANIC],
    ids=["type", "version", "panic"],
)
def test_no_verb_starts_with_a_tokenizer_that_the_library_cannot_load(tmp_path, change):
    content = json.loads(TINY.read_text())
    check_tokenizer(tmp_path)  # has none
    (tmp_path / "tokenizer.json").write_text(json.dumps(content | change))
    with pytest.raises(UnreadableError, match="is not a tokenizer"):
        check_tokenizer(tmp_path)


def test_a_tokenizer_that_has_no_token_for_a_text(tmp_path):
    content = json.loads(TINY.read_text()) | {"pre_tokenizer": None, "decoder": None}
    content["model"] = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "?"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(UnreadableError, match=r"is not a tokenizer that works: .*UNK"):
        Tokenizer(tmp_path / "tokenizer.json").encode(b"b")
