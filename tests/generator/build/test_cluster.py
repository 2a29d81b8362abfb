"""Builds of many workspaces on a real scheduler; workers are killed, and nothing shows it."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import VACC_GEN, eventually, is_group_gone, start
from tests.workspaces import (
    build,
    files_of,
    make_prepared_workspace,
    recipe_text,
    report_of,
    stage_of,
)
from vacc_gen.generator.backends.base import Stage
from vacc_gen.generator.backends.vamc import Vamc
from vacc_gen.generator.build import cluster
from vacc_gen.generator.build.preflight import stage_bytes
from vacc_gen.generator.workspace import create
from vacc_gen.schema.precision import Precision

COMPILES = """
[ "$1" = compile ] || exit 0
folder=vacc_deploy/$(sed -n 's/^name: //p' "$2")
mkdir -p "$folder"
[ ${PWD##*/} != broken ] || { echo no such op; exit 3; }
if [ ${PWD##*/} = hangs ] && mkdir hung; then
    echo half > "$folder/mod.params"
    echo $$ > hung/group
    sleep 600
    echo late > "$folder/mod.params"
fi
sha256sum < "$2" > "$folder/mod.params"
"""
"""A compiler that hangs the first time, in the workspace of that name."""
FAILED = "vamc compile build/hf_falcon_fp16.yaml exited 3; the end of its log: no such op"


@pytest.fixture
def compiler(install_vamc):
    install_vamc(COMPILES)


def builds(cwd, words):
    pipe = subprocess.PIPE
    return start(*VACC_GEN, "build", *words.split(), cwd=cwd, stdout=pipe, stderr=pipe)


def holder_of(root):
    """The process that holds a workspace's lock."""
    line = (root / ".vacc-gen" / "build.lock").read_text()
    return int(re.findall(r"process (\d+) on", line)[0])


def hung_compiler(root):
    """Wait for the process group of the compiler that hangs."""
    group = root / "hung" / "group"
    assert eventually(lambda: group.is_file() and group.read_text().endswith("\n"), 120)
    return int(group.read_text())


def dask(words):
    return start(sys.executable, "-m", "dask", *words.split(), stderr=subprocess.DEVNULL)


@pytest.fixture
def scheduler(tmp_path, compiler):
    """The address of a scheduler with two workers, started as the docs say."""
    file = tmp_path / "scheduler.json"
    words = f"scheduler --host 127.0.0.1 --port 0 --no-dashboard --scheduler-file {file}"
    started = [dask(words)]
    assert eventually(lambda: file.is_file() and file.read_text().endswith("}"))
    address = json.loads(file.read_text())["address"]
    words = "--nthreads 1 --memory-limit 0 --resources MEMORY=32e9 --no-nanny"
    started += [dask(f"worker {address} {words}") for _ in range(2)]
    yield address
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("where", ["--jobs 2", pytest.param("--cluster", marks=pytest.mark.slow)])
def test_a_killed_worker_changes_nothing_and_a_failed_workspace_is_named(where, tmp_path, request):
    if where == "--cluster":
        where = f"--cluster {request.getfixturevalue('scheduler')}"
    plain = make_prepared_workspace(tmp_path / "plain")
    build(plain, Vamc())
    for name in ("hangs", "good", "broken"):
        make_prepared_workspace(tmp_path / name)
    process = builds(tmp_path, f"hangs good broken {where}")
    compiler = hung_compiler(tmp_path / "hangs")
    worker = holder_of(tmp_path / "hangs")
    assert worker != process.pid
    os.kill(worker, signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert [line.partition("; the whole log")[0] for line in out.splitlines()] == [
        "hangs: done, hangs/report.html",
        "good: done, good/report.html",
        f"broken: failed: {FAILED}",
    ]
    assert is_group_gone(compiler)
    assert all(re.match(r"(hangs|good|broken): ", line) for line in err.splitlines()), err
    report = report_of(tmp_path / "good")
    ended = [(s["name"], s["status"]) for s in report["stages"] if s["status"] != "skipped"]
    assert ended == [(name, "done") for name in ("preflight", "compile", "compile", "report")]
    for name in ("hangs", "good"):
        assert files_of(tmp_path / name / "vacc_deploy") == files_of(plain.root / "vacc_deploy")


@pytest.mark.usefixtures("compiler")
def test_ctrl_c_ends_all_and_says_how_to_go_on(tmp_path):
    for name in ("hangs", "good"):
        make_prepared_workspace(tmp_path / name)
    process = builds(tmp_path, "hangs good --jobs 1")
    compiler = hung_compiler(tmp_path / "hangs")
    worker = holder_of(tmp_path / "hangs")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted; run `vacc-gen build hangs good --jobs 1` again to go on" in err
    assert "Traceback" not in err
    assert is_group_gone(compiler)
    assert eventually(lambda: not Path(f"/proc/{worker}").exists())
    assert stage_of(report_of(tmp_path / "hangs"), "compile", "fp16")["status"] == "failed"
    assert not (tmp_path / "good" / "vacc_deploy").exists()  # it waited, and is not begun


@pytest.mark.usefixtures("compiler")
def test_without_a_scheduler_or_dask_one_workspace_builds_and_several_name_the_pip_line(
    tmp_path, monkeypatch, run
):
    good = make_prepared_workspace(tmp_path / "good")
    monkeypatch.setattr(cluster, "CONNECT_S", 0.5)
    done = run("build", "good", "--cluster", "tcp://127.0.0.1:9")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: no Dask scheduler answers at tcp://127.0.0.1:9: ")
    (tmp_path / "distributed.py").write_text("raise ModuleNotFoundError(name=__name__)")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "distributed", raising=False)
    done = run("build", "good", "absent")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: no vacc.yaml in {tmp_path / 'absent'}\n")
    assert not (good.root / "report.json").exists()
    assert run("build", "good").code == 0
    done = run("build", "good", "--jobs", "1")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "error: building in several processes needs distributed, which is not installed\n"
        "hint: pip install 'vacc-gen[cluster]'\n"
    )


def test_a_machine_never_has_two_stages_that_it_cannot_hold_together(tmp_path):
    heaviest = [10, 25, 26, 50, 51, 200]
    assert [cluster.worker_count(100, 4, [1, need]) for need in heaviest] == [4, 4, 3, 2, 1, 1]
    text = recipe_text("falcon-7b", "/path/to/falcon", precisions=["fp16", "int8"])
    plan = create(tmp_path / "workspace", text).plan
    stages = (Stage.EXPORT, Stage.QUANTIZE, Stage.COMPILE, Stage.VERIFY)
    for precision, gigabytes in (Precision.FP16, [1, 1, 29, 31]), (Precision.INT8, [1, 5, 8, 10]):
        needs = [stage_bytes(stage, plan, [precision], "onnxruntime") for stage in stages]
        assert [round(need / 1e9) for need in needs] == gigabytes
    assert stage_bytes(Stage.COMPILE, plan, [], "vamc") > 27e9
