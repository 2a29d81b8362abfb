import subprocess
from pathlib import Path

import pytest

from tests.workspaces import files_of


@pytest.fixture
def recipe(run):
    run("new", "--model", "falcon-7b")
    return Path("falcon-7b/vacc.yaml")


def test_generate_check_names_each_file_and_writes_nothing(run, recipe):
    assert run("generate", "falcon-7b", "--check")[:2] == (0, "")
    recipe.write_text(recipe.read_text().replace("tp: 4", "tp: 2"))
    Path("falcon-7b/README.md").unlink()
    script = Path("falcon-7b/scripts/prepare.sh")
    script.write_text("mine\n")
    other = Path("falcon-7b/scripts/export.py")
    other.chmod(0o644)
    before = files_of(Path())
    code, out, _ = run("generate", "falcon-7b", "--check")
    assert code == 1
    assert sorted(out.splitlines()) == [
        "falcon-7b/README.md: missing",
        "falcon-7b/build/hf_falcon_fp16.yaml: outdated",
        "falcon-7b/build/hf_falcon_int8.yaml: outdated",
        "falcon-7b/scripts/compile.sh: outdated",
        "falcon-7b/scripts/export.py: not executable",
        "falcon-7b/scripts/prepare.sh: edited by hand",
        "falcon-7b/scripts/serve.sh: outdated",
    ]
    assert run("generate", "falcon-7b", "--diff")[0] == 1
    assert before == files_of(Path())

    code, out, err = run("generate", "falcon-7b")
    assert code == 0
    assert "wrote falcon-7b/README.md\n" in out
    assert other.stat().st_mode & 0o111
    assert "kept falcon-7b/scripts/prepare.sh" in err
    assert script.read_text() == "mine\n"
    assert run("generate", "falcon-7b", "--force")[0] == 0
    assert run("generate", "falcon-7b", "--check")[0] == 0


def test_the_diff_is_a_patch_that_applies(run, recipe):
    recipe.write_text(recipe.read_text().replace("tp: 4", "tp: 2"))
    _, patch, _ = run("generate", "falcon-7b", "--diff")
    assert "-    tp: 4\n+    tp: 2\n" in patch
    subprocess.run(["git", "apply", "--directory=falcon-7b"], input=patch, text=True, check=True)
    assert run("generate", "falcon-7b", "--check")[:2] == (0, "")


def test_what_is_no_recipe_is_refused(run, recipe):
    code, _, err = run("generate")
    assert (code, "no vacc.yaml in ." in err, "vacc-gen new" in err) == (2, True, True)
    recipe.write_text(recipe.read_text().replace("prefill:", "prefil:"))
    code, _, err = run("generate", "falcon-7b")
    assert code == 1
    assert "falcon-7b/vacc.yaml:13" in err
