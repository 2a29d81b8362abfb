import json
import os
import shlex
import subprocess
import sys

import pexpect
import pytest

from tests.published import FOLDER
from vacc_gen.generator.cli.main import main

FALCON = (FOLDER / "llm/falcon/build_in/build/hf_falcon_int8.yaml").read_text(encoding="utf-8")
WRONG = FALCON.replace("  workers: 4", "  wokers: 4  # one for each die")
VALIDATE = [sys.executable, "-m", "vacc_gen.generator.cli.main", "validate"]


def process(*arguments, cwd, **options):
    return subprocess.run(
        [*VALIDATE, *arguments], cwd=cwd, capture_output=True, text=True, check=False, **options
    )


def run(*arguments):
    """Run the verb in this process, as the command does, and return its exit code."""
    sys.argv = ["vacc-gen", "validate", *arguments]
    with pytest.raises(SystemExit) as leaving:
        main()
    return leaving.value.code


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "x.yaml").write_text(FALCON)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)
    return tmp_path


def wrong(folder, text=WRONG):
    path = folder / "build" / "x.yaml"
    path.write_bytes(text.encode())
    return path


def test_no_errors_is_0_and_errors_are_1(folder):
    assert run(".") == 0
    wrong(folder)
    assert run(".") == 1


def test_warnings_are_0_unless_strict(folder):
    wrong(folder, FALCON.replace("    model_arch: vacc\n", ""))
    assert run("build/x.yaml") == 0
    assert run("build/x.yaml", "--strict") == 1


def test_what_cannot_be_read_is_2(folder, capsys):
    assert run("build/x.yaml", "missing.yaml") == 2
    captured = capsys.readouterr()
    assert captured.err == "error: cannot read missing.yaml: no such file or directory\n"
    assert "1 file checked" in captured.out


def test_where_nothing_could_be_read_nothing_is_summed_up(folder, capsys):
    assert run("missing.yaml") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: cannot read missing.yaml: no such file or directory\n"


def test_a_folder_of_nothing_is_refused(folder, capsys):
    (folder / "empty").mkdir()
    assert run("empty") == 2
    expected = "error: no recipe, compile config or weight folder in empty\n"
    assert capsys.readouterr().err.startswith(expected)


def test_the_current_folder_is_the_default(folder, capsys):
    assert run() == 0
    assert capsys.readouterr().out == "1 file checked: nothing found\n"


def test_paths_are_reported_as_given(folder, capsys):
    wrong(folder)
    run("./build/x.yaml", "--format", "json")
    report = json.loads(capsys.readouterr().out)
    assert {one["path"] for one in report["findings"]} == {"./build/x.yaml"}
    assert report["checked"] == 1


def test_standard_input_is_a_dash(folder):
    done = process("-", "--format", "json", cwd=folder, input=WRONG)
    (finding,) = [f for f in json.loads(done.stdout)["findings"] if f["severity"] == "error"]
    assert (done.returncode, finding["path"], finding["line"]) == (1, "<stdin>", 26)


def test_errors_of_the_command_line_are_2(folder):
    for arguments in (["--nonsense"], ["--format", "xml"], ["--diff"], ["--select", "VG99"]):
        done = process(*arguments, cwd=folder)
        assert done.returncode == 2, arguments
        assert "Traceback" not in done.stderr


def test_a_misspelled_option_names_the_nearest_and_h_is_help(folder):
    assert "--select" in process("--selct", "VG1", cwd=folder).stderr
    assert process("-h", cwd=folder).stdout.startswith("Usage: vacc-gen validate")


def test_an_unknown_code_names_the_nearest(folder):
    done = process("--select", "VG010", "--ignore", "VG1O1", cwd=folder)
    assert "error: no rule is called VG1O1" in done.stderr
    assert "hint: did you mean VG101?" in done.stderr


def test_no_colour_without_a_terminal(folder):
    wrong(folder)
    assert "\x1b" not in process(cwd=folder).stdout


def test_names_beyond_the_output_encoding_are_written(folder):
    name = os.fsdecode(b"caf\xe9.yaml")
    (folder / name).write_text(WRONG)
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = process(name, cwd=folder, env=environment)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("form", "told"),
    [("text", r"caf\xe9/a\nb.yaml:"), ("github", r"file=caf\xe9/a%0Ab.yaml,"), ("json", None)],
)
def test_a_path_that_is_no_text_is_told_in_text(folder, form, told):
    below = os.fsdecode(os.fsencode(str(folder)) + b"/caf\xe9")
    os.mkdir(below)  # noqa: PTH102  # pathlib is for paths of text
    with open(below + "/a\nb.yaml", "w") as file:  # noqa: PTH123
        file.write(WRONG)
    command = [*VALIDATE, "--format", form, "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    out = done.stdout.decode("utf-8", errors="strict")
    assert done.returncode == 1
    if told is not None:
        assert told in out
    else:
        paths = {found["path"] for found in json.loads(out)["findings"]}
        assert r"caf\xe9/a" + "\nb.yaml" in paths
        assert "\\ud" not in out


def test_a_path_that_is_no_text_is_percents_in_sarif(folder):
    name = b"caf\xe9 %.yaml"
    (folder / os.fsdecode(name)).write_text(WRONG)
    done = process("--format", "sarif", os.fsdecode(name), cwd=folder)
    results = json.loads(done.stdout)["runs"][0]["results"]
    uris = {r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in results}
    assert uris == {"caf%E9%20%25.yaml"}


def test_findings_of_several_files_follow_each_other_by_file(folder, capsys):
    for name in ("b", "a"):
        (folder / "build" / f"{name}.yaml").write_text(FALCON + "workres: 4\n")
    run(".", "--format", "json")
    places = [
        (found["path"], found["line"], found["column"])
        for found in json.loads(capsys.readouterr().out)["findings"]
    ]
    assert places == sorted(places)
    assert next(line for path, line, _ in places if path == "build/a.yaml") == 1  # same output


def test_a_terminal_gets_colours_unless_it_wants_none(folder):
    wrong(folder)
    for no_color, coloured in (("", True), ("1", False)):
        environment = {**os.environ, "NO_COLOR": no_color, "TERM": "xterm"}
        out, _ = pexpect.run(
            shlex.join(VALIDATE), cwd=folder, env=environment, withexitstatus=True, timeout=60
        )
        assert (b"\x1b[1;31merror VG101" in out) is coloured
        assert b"unknown key `wokers`" in out


# Fixes ------------------------------------------------------------------------------------------


def test_fix_keeps_everything_else(folder, capsys):
    path = wrong(folder, WRONG.replace("\n", "\r\n"))
    path.chmod(0o640)
    assert run("build/x.yaml", "--fix") == 0
    fixed = WRONG.replace("wokers", "workers").replace("\n", "\r\n")
    assert path.read_bytes().decode() == fixed
    assert path.stat().st_mode & 0o777 == 0o640
    assert capsys.readouterr().err == "fixed build/x.yaml\n"
    assert sorted(one.name for one in path.parent.iterdir()) == ["x.yaml"]


def test_fix_is_idempotent(folder):
    path = wrong(folder)
    run(".", "--fix")
    stamp = path.stat().st_mtime_ns
    run(".", "--fix")
    assert path.stat().st_mtime_ns == stamp


def test_diff_shows_and_writes_nothing(folder, capsys):
    path = wrong(folder)
    assert run("build/x.yaml", "--fix", "--diff") == 1
    out = capsys.readouterr().out
    assert "-  wokers: 4  # one for each die\n+  workers: 4  # one for each die\n" in out
    assert path.read_text() == WRONG


def test_fix_writes_through_a_link(folder):
    path = wrong(folder)
    link = folder / "link.yaml"
    link.symlink_to(path)
    assert run("link.yaml", "--fix") == 0
    assert link.is_symlink()
    assert "workers: 4" in path.read_text()


def test_unsafe_fixes_wait_to_be_asked(folder):
    text = FALCON.replace("-int8-", "-fp16-")
    path = wrong(folder, text)
    assert run("build/x.yaml", "--fix") == 1
    assert path.read_text() == text
    assert run("build/x.yaml", "--fix", "--unsafe-fixes") == 0
    assert path.read_text() == FALCON


def test_what_comes_to_light_behind_a_fix_is_fixed_in_the_same_run(folder):
    path = wrong(folder, WRONG.replace("    tp: 4", "\ttp: 4"))
    assert run("build/x.yaml", "--fix") == 0
    assert path.read_text() == WRONG.replace("wokers", "workers")


def test_the_standard_input_is_fixed_to_the_standard_output(folder):
    done = process("-", "--fix", cwd=folder, input=WRONG)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == WRONG.replace("wokers", "workers")
    done = process("-", "--fix", cwd=folder, input=FALCON)
    assert (done.returncode, done.stdout, done.stderr) == (0, FALCON, "")
    done = process("-", "--fix", cwd=folder, input=WRONG.replace("tp: 4", "tp: 0"))
    assert (done.returncode, "wokers" in done.stdout) == (1, False)
    assert "<stdin>:10:9: error VG105" in done.stderr
    assert process("-", "build/x.yaml", cwd=folder, input=FALCON).returncode == 2


def test_a_file_of_another_tool_is_never_changed(folder):
    pod = "\ufeffapiVersion: v1\nkind: Pod\nkind: Pod\n"
    path = wrong(folder, pod)
    assert run("build/x.yaml", "--fix", "--unsafe-fixes") == 1
    assert path.read_bytes().decode() == pod


# Options in pyproject.toml ----------------------------------------------------------------------


def test_options_are_read_from_the_nearest_pyproject(folder):
    wrong(folder)
    (folder / "pyproject.toml").write_text('[tool.vacc-gen]\nignore = ["VG101"]\n')
    assert run("build/x.yaml") == 0
    (folder / "pyproject.toml").write_text('[tool.vacc-gen]\nselect = ["VG2"]\n')
    assert run("build/x.yaml") == 0
    assert run("build/x.yaml", "--select", "VG1") == 1


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('ignroe = ["VG101"]', "unknown key `ignroe` in"),
        ('ignore = "VG101"', "`ignore` in"),
        ('ignore = ["XY1"]', "no rule is called XY1"),
    ],
)
def test_a_wrong_table_is_refused(folder, table, message, capsys):
    (folder / "pyproject.toml").write_text(f"[tool.vacc-gen]\n{table}\n")
    assert run("build/x.yaml") == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[tool.vacc-gen]\nignore = [", "is not valid TOML: "),
        (b"[tool.ruff\n", "is not valid TOML: "),
        (b"[tool.ruff]\n# caf\xe9\n", "byte 18 is not UTF-8"),
        ('[tool.vacc-gen]\nignore = ["VG6"]\n'.encode("utf-16"), "byte 1 is not UTF-8"),
        (b"a = " + b"[" * 100_000, "is not valid TOML: "),
        (b"a = " + b"9" * 5_000, "is not valid TOML: "),
        (b".".join([b"a"] * 50_000) + b" = 1", "has a key of more than 64 parts"),
        (b"# " * 600_000, "is larger than 1048576 bytes"),
    ],
    ids=["cut", "of-another-tool", "latin-1", "utf-16", "nested", "digits", "dotted", "large"],
)
def test_an_unreadable_pyproject_is_one_error(folder, content, message):
    (folder / "pyproject.toml").write_bytes(content)
    done = process("build/x.yaml", cwd=folder)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr.splitlines()[0]
    assert done.stderr.count("error: ") == 1


def test_explain_and_schema_print_what_they_name():
    command = [sys.executable, "-m", "vacc_gen.generator.cli.main"]
    page = subprocess.run(
        [*command, "explain", "vg101"], capture_output=True, text=True, check=True
    )
    assert page.stdout.startswith("# VG101 unknown-key\n")
    table = subprocess.run([*command, "explain"], capture_output=True, text=True, check=True)
    assert "VG505" in table.stdout
    unknown = subprocess.run([*command, "explain", "VG1"], capture_output=True, check=False)
    assert unknown.returncode == 2
    schema = subprocess.run(
        [*command, "schema", "vamc"], capture_output=True, text=True, check=True
    )
    assert json.loads(schema.stdout)["title"] == "Compile YAML of vamc"
