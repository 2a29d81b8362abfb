"""Who may import what: the light verbs stay light."""

import json
import subprocess
import sys

import pytest

HEAVY = {
    *("torch", "transformers", "onnx", "onnxruntime", "numpy", "safetensors", "tokenizers"),
    *("prompt_toolkit", "questionary"),
}

PROBE = """
import json, sys
sys.argv = ["vacc-gen", *json.loads(sys.argv[1])]
from vacc_gen.generator.cli.main import main
try:
    main()
except SystemExit as stop:
    code = stop.code
print()
print(json.dumps({"code": code or 0, "modules": sorted({m.split(".")[0] for m in sys.modules})}))
"""


def modules_after(*arguments: str, cwd: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["code"] == 0, done.stdout + done.stderr
    return set(result["modules"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("light")
    modules_after("new", "--model", "falcon-7b-instruct", "--out", "workspace", cwd=str(root))
    return str(root)


@pytest.mark.parametrize(
    ("arguments", "forbidden"),
    [
        (("--help",), HEAVY | {"rich", "pydantic", "yaml", "jinja2"}),
        (("validate", "workspace"), HEAVY | {"rich"}),
        (("validate", "workspace/build/hf_falcon_int8.yaml"), HEAVY | {"rich", "jinja2"}),
        (("generate", "workspace"), HEAVY | {"rich"}),
        (("new", "--model", "falcon-7b", "--out", "other"), HEAVY | {"rich"}),
        (("presets", "list"), HEAVY),
        (("explain", "VG101"), HEAVY | {"rich"}),
        (("schema", "recipe"), HEAVY | {"rich"}),
    ],
)
def test_a_light_verb_loads_nothing_heavy(folder, arguments, forbidden):
    assert modules_after(*arguments, cwd=folder) & forbidden == set()
