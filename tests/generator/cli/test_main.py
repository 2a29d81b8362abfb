"""What every verb makes of help, misspellings and streams that cannot be used."""

import subprocess
from pathlib import Path

import pytest
import typer

from tests.processes import VACC_GEN
from tests.workspaces import FALCON_TINY
from vacc_gen.generator.cli.main import VERBS
from vacc_gen.generator.cli.options import PrecisionName
from vacc_gen.schema.precision import Precision

ROOT = Path(__file__).parents[3]
DOCS = ("-m", "typer", "vacc_gen.generator.cli.main", "utils", "docs", "--name", "vacc-gen")
"""`make docs` runs this with `--output docs/cli.md`."""
SUBVERBS = ("presets list", "presets show", "presets config")
CONSTRAINTS = (ROOT / "constraints.txt").read_text()


def in_shell(line, cwd, *arguments):
    """Run vacc-gen as `"$@"` of a line of bash."""
    command = ["bash", "-c", line, "bash", *VACC_GEN, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("verb", ["", *VERBS, *SUBVERBS])
def test_every_verb_has_help_and_mends_a_misspelled_option(run, verb):
    code, out, _ = run(*verb.split(), "-h")
    assert code == 0
    assert out.startswith(f"Usage: vacc-gen {verb}".rstrip())
    code, out, err = run(*verb.split(), "--hepl")
    assert (code, out) == (2, "")
    assert "No such option" in err and "--hepl" in err
    assert "--help" in err


@pytest.mark.parametrize(
    ("words", "suggested"),
    [
        ("validat", "'validate'"),
        ("presets shwo", "'show'"),
        ("validate --selct VG1", "--select"),
        ("new --modle falcon-7b", "--model"),
        ("run . --promt a", "--prompt"),
        ("explain VG1O1", "VG101"),
    ],
)
def test_what_was_meant_is_suggested(run, words, suggested):
    code, out, err = run(*words.split())
    assert (code, out) == (2, "")
    assert suggested in err


@pytest.mark.skipif(
    f"typer=={typer.__version__}" not in CONSTRAINTS, reason="another typer writes it otherwise"
)
def test_docs_cli_is_what_the_verbs_say():
    done = subprocess.run(
        [VACC_GEN[0], *DOCS], capture_output=True, text=True, check=True, cwd=ROOT
    )
    page = (ROOT / "docs" / "cli.md").read_text()
    assert done.stdout.strip() == page.strip(), "run `make docs`"


@pytest.mark.parametrize(
    "words", ["--help", "presets list", "validate --format json vacc.yaml"], ids=str.split
)
def test_a_full_disk_behind_the_output(tmp_path, words):
    (tmp_path / "vacc.yaml").write_text("version: 2\n")
    done = in_shell('"$@" >/dev/full', tmp_path, *words.split())
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_closed_streams(tmp_path):
    done = in_shell('"$@" <&-', tmp_path, "validate", "-")
    assert (done.returncode, done.stderr[:6]) == (2, "error:")
    assert "closed" in done.stderr
    assert "Traceback" not in in_shell('"$@" >&-', tmp_path, "validate", str(FALCON_TINY)).stderr


COMPLETED = {
    "vacc-gen new --model FALCON-RW": "FALCON-RW-1b FALCON-RW-7b",
    "vacc-gen new --card va10": "va10L",
    "vacc-gen new --precision i": "int8 int4",
    "vacc-gen new --calibration c": "c4: ceval:",
    "vacc-gen build --until ver": "verify",
    "vacc-gen presets show falcon-py": "falcon-py310",
    "vacc-gen new --model nothing": "",
    "vacc-gen val": "validate",
}
COMPLETES = """
import os, sys
from vacc_gen.generator.cli.main import main
os.environ["_VACC_GEN_COMPLETE"] = "complete_bash"
for words in sys.argv[1:]:
    os.environ |= {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    sys.argv = ["vacc-gen"]
    try:
        main()
    except SystemExit:
        print("\\0", end="")
print("yaml" in sys.modules)
"""


def test_the_shell_completes_names_and_loads_little_for_it():
    command = [VACC_GEN[0], "-c", COMPLETES, *COMPLETED]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    *completed, has_yaml = done.stdout.split("\0")
    assert [" ".join(names.split()) for names in completed] == list(COMPLETED.values())
    assert has_yaml == "False\n"


def test_the_precisions_of_options_are_all():
    assert [name.value for name in PrecisionName] == [name.value for name in Precision]
