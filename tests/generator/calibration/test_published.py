import pytest

from vacc_gen.generator.calibration.published import calibration_targets
from vacc_gen.presets import CALIBRATION_SETS
from vacc_gen.schema.recipe import TextSource

TRAIN, VALIDATION = "c4-train.00000-of-01024.json.gz", "c4-validation.00000-of-00008.json.gz"
ALPACA = "alpaca_data_cleaned.json"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"set": "alpaca", "path": "a"}, {ALPACA: f"a/{ALPACA}"}),
        ({"set": "alpaca", "path": "/a/mine.json"}, {ALPACA: "/a/mine.json"}),
        ({"set": "ceval", "path": "x/exam.zip"}, {"ceval-exam.zip": "x/exam.zip"}),
        ({"set": "c4", "path": "c4"}, {f"en/{TRAIN}": f"c4/{TRAIN}"}),
        (
            {"set": "c4", "path": "c4", "split": "validation"},
            {f"en/{VALIDATION}": f"c4/{VALIDATION}"},
        ),
        ({"set": "c4", "path": "data/c4.json.gz"}, {f"en/{TRAIN}": "data/c4.json.gz"}),
        (
            {"set": "c4", "path": "c4/c4-train.00007-of-01024.json.gz"},
            {"en/c4-train.00007-of-01024.json.gz": "c4/c4-train.00007-of-01024.json.gz"},
        ),
    ],
)
def test_targets_follow_the_path_and_the_split(source, expected):
    found = calibration_targets(CALIBRATION_SETS.find(source["set"]), TextSource(**source))
    assert {str(name): str(path) for name, path in found.items()} == expected
