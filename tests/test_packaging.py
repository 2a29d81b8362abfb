"""The wheel holds exactly the three rooms, and a light install can do the light verbs."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("schema", "generator", "presets")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_holds_exactly_the_tracked_files_of_the_rooms(wheel):
    tracked = subprocess.run(
        ["git", "ls-files", *ROOMS], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    names = zipfile.ZipFile(wheel).namelist()
    shipped = {name for name in names if ".dist-info/" not in name}
    assert shipped == {f"vacc_gen/{name}" for name in tracked}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


@pytest.fixture(scope="module")
def light(wheel, tmp_path_factory):
    """A fresh environment with the wheel and the core packages alone."""
    home = tmp_path_factory.mktemp("light")
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel],
        check=True,
    )
    return home / "bin"


def vacc_gen(light, *arguments, cwd):
    return subprocess.run(
        [light / "vacc-gen", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("package", ["torch", "transformers", "onnx", "onnxruntime", "numpy"])
def test_the_light_install_is_light(light, package):
    done = subprocess.run([light / "python", "-c", f"import {package}"], capture_output=True)
    assert done.returncode == 1


def test_the_light_verbs_need_no_extra(light, tmp_path):
    for arguments in (
        ["--help"],
        ["--version"],
        ["presets", "list"],
        ["presets", "show", "falcon-7b-instruct"],
        ["new", "--model", "falcon-7b-instruct"],
        ["validate", "falcon-7b-instruct"],
        ["generate", "falcon-7b-instruct", "--check"],
        ["explain", "VG101"],
        ["schema", "vamc"],
    ):
        done = vacc_gen(light, *arguments, cwd=tmp_path)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)


def test_the_heavy_verbs_name_the_pip_line(light, tmp_path):
    checkpoint = ROOT / "tests" / "data" / "falcon-tiny"
    done = vacc_gen(light, "export", str(checkpoint), "--out", "graphs", cwd=tmp_path)
    assert done.returncode == 2
    assert "pip install 'vacc-gen[export]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "graphs").exists()
