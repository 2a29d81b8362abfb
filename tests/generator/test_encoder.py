"""Compile configs of text encoders: the published ones, and what follows for the others."""

import pytest
import yaml

from tests.published import FOLDER
from vacc_gen import presets
from vacc_gen.generator.emit.files import sections
from vacc_gen.generator.plan import encoder_config
from vacc_gen.schema.errors import UsageError
from vacc_gen.schema.lint.check import check_text
from vacc_gen.schema.precision import Precision


def published(family, name):
    build = FOLDER / "nlp" / "text2vec" / family / "build_in" / "build"
    return yaml.safe_load((build / f"embedding_config_{name}.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_it_is_the_published_one(precision):
    theirs = published("bce", precision)
    ours = encoder_config(presets.ENCODERS.find("bce-embedding-base_v1"), Precision(precision))
    # The name of the one in fp16 says int8, and the export script ends its files with -sim.
    theirs["name"] = f"bce-embedding-base_v1-512-{precision}"
    theirs["frontend"]["checkpoint"] = "/path/to/bce-embedding-base_v1-512-sim.onnx"
    if precision == "int8":  # 0 is that of fp16 builds
        theirs["backend"]["compile"]["data_type"] = 2
    assert ours == theirs


def test_it_is_the_published_one_where_the_compiler_reads_weights():
    theirs = published("qwen3", "fp16")
    theirs["name"] = "Qwen3-Embedding-0.6B-512-fp16"
    assert encoder_config(presets.ENCODERS.find("Qwen3-Embedding-0.6B")) == theirs


def test_validate_has_nothing_to_say():
    found = {}
    for encoder in presets.ENCODERS.all():
        for precision in encoder.precisions:
            for tokens in (16, encoder.max_tokens):
                text = sections(encoder_config(encoder, precision, tokens))
                found[encoder.name] = check_text(text, "encoder.yaml", presets.KNOWN)
                assert found[encoder.name] == [], encoder.name
    assert len(found) == len(presets.ENCODERS.names())


def test_long_texts_are_split_and_a_reranker_has_no_layout():
    for tokens, split in ((512, None), (2048, 4), (4096, 8), (8192, 16)):
        config = encoder_config(presets.ENCODERS.find("bge-reranker-v2-m3"), tokens=tokens)
        options = config["backend"]["compile"]
        assert options.get("attention_split_num") == split
        assert "output_layout" not in options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": Precision.INT8}, "is published in fp16, not in int8"),
        ({"tokens": 100}, "length 100 is not a multiple of 16"),
        ({"tokens": 0}, "length 0 is not a multiple of 16"),
        ({"tokens": 1024}, "reads texts of up to 512 tokens, not 1024"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        encoder_config(presets.ENCODERS.find("Qwen3-Embedding-0.6B"), **options)
