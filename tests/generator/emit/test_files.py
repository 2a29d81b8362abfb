import json

import yaml

from tests.published import FOLDER
from vacc_gen import presets
from vacc_gen.generator.emit.files import compile_config_text
from vacc_gen.generator.plan import make_plan
from vacc_gen.schema.recipe import Recipe


def jobs(**values):
    recipe = Recipe.model_validate_json(json.dumps({"version": 2, **values}))
    return make_plan(recipe, presets.MODELS.find(recipe.model.preset), None).jobs


def published(path):
    return yaml.safe_load((FOLDER / path).read_text(encoding="utf-8"))


INSTRUCT = {"preset": "falcon-7b-instruct", "checkpoint": "/path/to/falcon-7b-instruct"}


def test_calibration_adds_the_published_dataset_to_int8():
    reference = published("tools/vamc/vamc_quant.yaml")["dataset"]
    calibration = {
        "set": reference["name"],
        "path": reference["path"],
        "samples": reference["nsamples"],
        "seqlen": reference["seqlen"],
    }
    fp16, int8 = (
        yaml.safe_load(compile_config_text(job))
        for job in jobs(model=INSTRUCT, calibration=calibration)
    )
    assert "dataset" not in fp16
    assert int8.pop("dataset") == reference
    assert int8 == published("llm/falcon/build_in/build/hf_falcon_int8.yaml")
