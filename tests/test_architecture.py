"""Who may import what: the light verbs stay light."""

import json
import subprocess
import sys

from tests.workspaces import recipe_text
from vacc_gen.generator.workspace import create

HEAVY = {
    *("torch", "transformers", "onnx", "onnxruntime", "numpy", "safetensors", "tokenizers"),
    *("prompt_toolkit", "questionary"),
}
VERBS = {
    "--help": HEAVY | {"rich", "pydantic", "yaml", "jinja2", "typer"},
    "validate workspace/build/hf_falcon_int8.yaml": HEAVY | {"rich", "jinja2"},
    "explain VG101": HEAVY | {"rich"},
    "schema recipe": HEAVY | {"rich"},
    "validate workspace": HEAVY | {"rich"},
    "generate workspace": HEAVY | {"rich"},
    "new --model falcon-7b --out other": HEAVY | {"rich"},
    "presets list": HEAVY,
}
"""With what they must not load. All run in one process: what is loaded stays loaded."""

RUNS_EACH = """
import json, sys
from vacc_gen.generator.cli.main import main
for words in sys.argv[1:]:
    sys.argv = ["vacc-gen", *words.split()]
    try:
        main()
    except SystemExit as end:
        packages = {name.partition(".")[0] for name in sys.modules}
        print(json.dumps([words, end.code or 0, sorted(packages)]), file=sys.stderr)
"""


def test_light_verbs_load_nothing_heavy(tmp_path):
    create(tmp_path / "workspace", recipe_text("falcon-7b-instruct", "/path/to/falcon"))
    command = [sys.executable, "-c", RUNS_EACH, *VERBS]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    ended = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(words, code) for words, code, _ in ended] == [(words, 0) for words in VERBS]
    assert [VERBS[words] & set(packages) for words, _, packages in ended] == [set()] * len(VERBS)
    assert "vacc_gen" in ended[0][2]
