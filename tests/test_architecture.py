"""Who may import what: the light verbs stay light."""

import re
import subprocess
import sys

import pytest

from tests.processes import VACC_GEN

HEAVY = {
    *("torch", "transformers", "onnx", "onnxruntime", "numpy", "safetensors", "tokenizers"),
    *("prompt_toolkit", "questionary"),
}


def modules_after(*arguments: str, cwd: str) -> set[str]:
    """Run a verb, and return the packages that it imports."""
    command = [sys.executable, "-X", "importtime", *VACC_GEN[1:], *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    modules = re.findall(r"^import time:.*\| +([^ ]+)$", done.stderr, re.MULTILINE)
    assert "vacc_gen.schema.errors" in modules
    return {module.partition(".")[0] for module in modules}


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
