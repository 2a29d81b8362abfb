from vacc_gen.schema.lint.suggestions import nearest, nearest_of_all


def test_case_and_separators_do_not_count():
    assert nearest_of_all("Data-Type", ["dtype", "data_type"]) == ["data_type"]
    assert nearest("gatherdata", ["gather_data"]) == "gather_data"


def test_equally_near_words_are_all_returned_and_far_ones_are_not():
    assert nearest_of_all("int", ["int8", "int4", "fp16"]) == ["int8", "int4"]
    assert nearest("workers", ["path", "pyenv"]) is None
    assert nearest("tp", ["b2s"]) is None
    assert nearest("abcd", ["axyd"]) is None  # two edits are too many for a short word
    assert nearest("abcde", ["axyde"]) == "axyde"
