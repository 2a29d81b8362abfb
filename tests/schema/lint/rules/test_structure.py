"""Branches of the rules about text and structure that their examples do not show."""

from tests.schema.lint.examples import findings
from vacc_gen.schema.lint.check import check_text


def test_a_list_as_a_key_is_not_fixed():
    (found,) = check_text("backend: {[a, b]: 1}", "x.yaml")
    assert (found.code, found.column, found.fix) == ("VG008", 11, None)
    assert found.message == "a list as a key"


def test_a_missing_key_has_its_values_beside_it_if_it_is_the_only_one():
    one, two = "backend: {type: tvm_vacc}", "backend: {}"
    frontend = "\nname: x\nworkspace: {path: .}\nfrontend: {checkpoint: x, shape: {x: [1]}}"
    hints = [check_text(text + frontend, "x.yaml")[0].hint for text in (one, two)]
    assert hints == ["one of fp16, int8", None]


def test_a_null_in_a_recipe_is_a_value():
    assert findings("VG106", "calibration: null") == []
