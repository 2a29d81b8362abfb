import io
import json

import pytest

from tests.published import FALCON
from tests.terminals import Terminal

WRONG = FALCON.replace("  workers: 4", "  wokers: 4  # one for each die")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "x.yaml").write_text(FALCON)
    return tmp_path


@pytest.fixture
def validate(folder, run):
    """Run the verb in `folder`; returns (exit code, stdout, stderr)."""
    return lambda *arguments: run("validate", *arguments)


def wrong(folder, text=WRONG):
    path = folder / "build" / "x.yaml"
    path.write_bytes(text.encode())
    return path


def test_no_errors_is_0_and_errors_are_1_and_warnings_only_if_strict(folder, validate):
    assert validate() == (0, "1 file checked: nothing found\n", "")
    wrong(folder, FALCON.replace("    model_arch: vacc\n", ""))
    assert validate("build/x.yaml")[0] == 0
    assert validate("build/x.yaml", "--strict")[0] == 1
    wrong(folder)
    assert validate()[0] == 1


def test_what_cannot_be_read_is_2_and_what_can_is_summed_up(folder, validate):
    missing = "error: cannot read missing.yaml: no such file or directory\n"
    code, out, err = validate("build/x.yaml", "missing.yaml")
    assert (code, err) == (2, missing)
    assert "1 file checked" in out
    (folder / "empty").mkdir()
    code, _, err = validate("empty")
    assert code == 2
    assert err.startswith("error: no recipe, compile config or weight folder in empty\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--diff", "--diff and --unsafe-fixes belong to --fix"),
        ("--select VG99", "no rule is called VG99"),
        ("--ignore VG1O1", "no rule is called VG1O1\nhint: did you mean VG101?"),
        ("- build/x.yaml", "drop the other paths"),
    ],
)
def test_errors_of_the_command_line_are_2(validate, arguments, said):
    code, out, err = validate(*arguments.split())
    assert (code, out) == (2, "")
    assert said in err


def test_text_that_a_terminal_cannot_show_is_no_error(folder):
    wrong(folder, WRONG.replace("each die", "每个 die"))
    terminal = Terminal(folder, "validate", PYTHONIOENCODING="ascii")
    assert terminal.exit_code() == 1
    assert r"\u6bcf\u4e2a die" in terminal.printed


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_a_terminal_gets_colours_unless_it_wants_none(folder, no_color, coloured):
    wrong(folder)
    terminal = Terminal(folder, "validate", NO_COLOR=no_color)
    assert terminal.exit_code() == 1
    assert ("\x1b[1;31merror VG101" in terminal.received) is coloured
    assert "unknown key `wokers`" in terminal.printed


def test_fix_keeps_everything_else(folder, validate):
    path = wrong(folder, WRONG.replace("\n", "\r\n"))
    path.chmod(0o640)
    code, _, err = validate("build/x.yaml", "--fix")
    assert (code, err) == (0, "fixed build/x.yaml\n")
    fixed = WRONG.replace("wokers", "workers").replace("\n", "\r\n")
    assert path.read_bytes().decode() == fixed
    assert path.stat().st_mode & 0o777 == 0o640
    assert [file.name for file in path.parent.iterdir()] == ["x.yaml"]
    stamp = path.stat().st_mtime_ns
    assert validate(".", "--fix")[2] == ""
    assert path.stat().st_mtime_ns == stamp
    # A config is the user's, and so is a link to it.
    path.write_text(WRONG)
    (path.parent / "link.yaml").symlink_to("x.yaml")
    validate("build/link.yaml", "--fix")
    assert (path.parent / "link.yaml").is_symlink()
    assert path.read_text() == WRONG.replace("wokers", "workers")


def test_diff_shows_and_writes_nothing(folder, validate):
    path = wrong(folder)
    code, out, _ = validate("build/x.yaml", "--fix", "--diff")
    assert code == 1
    assert "-  wokers: 4  # one for each die\n+  workers: 4  # one for each die\n" in out
    assert path.read_text() == WRONG


def test_unsafe_fixes_wait_to_be_asked(folder, validate):
    text = FALCON.replace("-int8-", "-fp16-")
    path = wrong(folder, text)
    assert validate("build/x.yaml", "--fix")[0] == 1
    assert path.read_text() == text
    assert validate("build/x.yaml", "--fix", "--unsafe-fixes")[0] == 0
    assert path.read_text() == FALCON


def test_what_comes_to_light_behind_a_fix_is_fixed_in_the_same_run(folder, validate):
    path = wrong(folder, WRONG.replace("    tp: 4", "\ttp: 4"))
    assert validate("build/x.yaml", "--fix")[0] == 0
    assert path.read_text() == WRONG.replace("wokers", "workers")


def test_the_standard_input_is_fixed_to_the_standard_output(validate, monkeypatch):
    left = "<stdin>:10:9: error VG105"
    for given, code, error in (WRONG, 0, ""), (WRONG.replace("tp: 4", "tp: 0"), 1, left):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
        got, out, err = validate("-", "--fix")
        assert (got, out) == (code, given.replace("wokers", "workers"))
        assert err.startswith(error) and bool(err) is bool(error)


def test_options_are_read_from_the_nearest_pyproject(folder, validate):
    wrong(folder)
    (folder / "pyproject.toml").write_text('[tool.vacc-gen]\nignore = ["VG101"]\n')
    assert validate("build/x.yaml")[0] == 0
    (folder / "pyproject.toml").write_text('[tool.vacc-gen]\nselect = ["VG2"]\n')
    assert validate("build/x.yaml")[0] == 0
    assert validate("build/x.yaml", "--select", "VG1")[0] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'[tool.vacc-gen]\nignroe = ["VG101"]', "may hold only `select` and `ignore`"),
        (b'[tool.vacc-gen]\nignore = "VG101"', "may hold only `select` and `ignore`"),
        (b'[tool.vacc-gen]\nignore = ["XY1"]', "no rule is called XY1 (in "),
        (b"[tool.vacc-gen]\nignore = [", "is not valid TOML: "),
        (b"a = " + b"[" * 100_000, "is not valid TOML: "),
    ],
    ids=["key", "type", "code", "cut", "nested"],
)
def test_an_unusable_pyproject_is_one_error(folder, validate, content, message):
    (folder / "pyproject.toml").write_bytes(content)
    code, out, err = validate("build/x.yaml")
    assert (code, out) == (2, "")
    assert message in err.splitlines()[0]
    assert err.count("error: ") == 1


def test_explain_and_schema_print_what_they_name(run):
    for name in ("vg101", "unknown-key"):
        assert run("explain", name)[1].startswith("# VG101 unknown-key\n")
    assert run("explain", "unkown-key").err.endswith("hint: did you mean unknown-key?\n")
    assert run("explain")[1].count("VG505") == 1 and not run("explain")[1].endswith("\n\n")
    assert run("explain", "VG1")[0] == 2
    assert json.loads(run("schema", "vamc")[1])["title"] == "Compile YAML of vamc"
