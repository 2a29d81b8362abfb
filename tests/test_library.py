"""What programs import: the public names, the page that shows them, and what light verbs load."""

import contextlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import vacc_gen.generator
import vacc_gen.presets
import vacc_gen.schema
from tests.test_guide import blocks_of, is_printed
from tests.workspaces import FALCON_TINY, recipe_text
from vacc_gen.generator.workspace import create
from vacc_gen.schema.errors import UsageError

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "how-to" / "library.md"
NAMES = {
    vacc_gen.schema: ["CompileConfig", "Recipe", "__version__", "validate"],
    vacc_gen.generator: ["build", "new"],
}


@pytest.mark.parametrize("room", NAMES, ids=lambda room: room.__name__)
def test_the_public_names_are_these(room):
    assert sorted(room.__all__) == NAMES[room]
    assert [name for name in NAMES[room] if not hasattr(room, name)] == []
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = room.nothing
    assert callable(vacc_gen.presets.load)


def test_names_load_when_they_are_asked_for():
    """And stay those of the functions when the rooms of the same names are imported."""
    code = """
import sys, vacc_gen.generator, vacc_gen.schema, vacc_gen.presets
assert not {"pydantic", "yaml", "jinja2", "rich", "typer"} & set(sys.modules)
from vacc_gen.generator.new import choices
from vacc_gen.generator.build import report
from vacc_gen.generator import build, new
from vacc_gen.schema import validate
assert callable(build) and callable(new) and callable(validate)
assert not {"torch", "onnxruntime", "rich", "typer"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_a_type_checker_sees_the_names(tmp_path):
    (tmp_path / "program.py").write_text("""\
from vacc_gen.generator import build, new
from vacc_gen.presets import load
from vacc_gen.schema import CompileConfig, Recipe, __version__, validate
new(modle="falcon-7b")
reveal_type((validate(".").findings[0].line, new("falcon-7b").notes, build(".")[0].seconds))
reveal_type((load("falcon-7b").name, CompileConfig.name, Recipe.version, __version__))
""")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "program.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert 'did you mean "model"' in done.stdout
    assert "tuple[int, tuple[str, ...], float]" in done.stdout
    assert "tuple[str, str, Literal[2], str]" in done.stdout


def test_findings_are_what_the_command_prints(tmp_path, monkeypatch, capsys):
    from vacc_gen.generator.cli.main import main

    (tmp_path / "vacc.yaml").write_text(recipe_text("falcon-7b", "/path/to/x", tagret={"tp": 2}))
    result = vacc_gen.schema.validate(tmp_path)
    monkeypatch.setattr(sys, "argv", ["vacc-gen", "validate", str(tmp_path), "--format", "json"])
    with pytest.raises(SystemExit):
        main()
    printed = json.loads(capsys.readouterr().out)
    assert printed["checked"] == result.checked
    assert printed["findings"] == [finding.as_dict() for finding in result.findings]
    (found,) = printed["findings"]
    assert found == {name: getattr(result.findings[0], name) for name in found}


def test_paths_and_codes():
    missing = vacc_gen.schema.validate(["nothing", Path("none")])
    assert [path for path, _ in missing.unreadable] == ["nothing", "none"]
    assert vacc_gen.schema.validate(FALCON_TINY, select="VG5").checked == 1
    with pytest.raises(UsageError, match="no rule is called VG1O1"):
        vacc_gen.schema.validate(FALCON_TINY, ignore=["VG1O1"])


def test_the_page_runs(tmp_path, monkeypatch):
    shutil.copytree(FALCON_TINY, tmp_path / "weights" / FALCON_TINY.name)
    monkeypatch.chdir(tmp_path)
    names = {}
    blocks = iter(blocks_of(PAGE))
    for code in blocks:
        assert code.language == "python"
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(code.text, names)
        expected = next(blocks)
        assert expected.language == "text"
        assert is_printed(expected.text.splitlines(), printed.getvalue()), printed.getvalue()


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
