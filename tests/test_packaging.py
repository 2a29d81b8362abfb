"""The wheel holds exactly the three rooms, and a light install can do the light verbs."""

import re
import subprocess
import sys
import venv
import zipfile
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
ROOMS = ("schema", "generator", "presets")
CONSTRAINTS = ROOT / "constraints.txt"
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


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


@pytest.fixture(scope="module")
def asked(wheel):
    """What the project asks for, as the wheel says; an older install here may say otherwise."""
    (built,) = distributions(path=[str(wheel)])
    return built.requires


def test_the_wheel_holds_exactly_the_tracked_files_of_the_rooms(wheel):
    tracked = subprocess.run(
        ["git", "ls-files", *ROOMS], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    names = zipfile.ZipFile(wheel).namelist()
    shipped = {name for name in names if ".dist-info/" not in name}
    assert shipped == {f"vacc_gen/{name}" for name in tracked}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def constraints_for(python):
    """The version of each package that constraints.txt has for a Python."""
    versions = {}
    for line in CONSTRAINTS.read_text().splitlines():
        requirement = Requirement(line)
        markers = {"python_version": python, "python_full_version": f"{python}.0"}
        if requirement.marker is None or requirement.marker.evaluate(markers):
            assert requirement.name not in versions
            versions[requirement.name] = str(requirement.specifier).removeprefix("==")
    return versions


def test_constraints_are_sorted_versions_and_nothing_else():
    lines = CONSTRAINTS.read_text().splitlines()
    form = r"[a-z0-9-]+==[0-9.]+(rc\d+|\.post\d+)?( ; python_full_version [<>]=? '3\.\d+')?"
    assert [line for line in lines if not re.fullmatch(form, line)] == []
    assert lines == sorted(lines, key=lambda line: line.partition("==")[0])


@pytest.mark.parametrize("python", PYTHONS)
def test_constraints_are_within_what_the_project_asks_for(asked, python):
    versions = constraints_for(python)
    for line in asked:
        requirement = Requirement(line)
        extras = ("", "export", "cluster", "serve", "dev", "docs")
        markers = [{"extra": extra, "python_version": python} for extra in extras]
        if requirement.marker is None or any(map(requirement.marker.evaluate, markers)):
            name = canonicalize_name(requirement.name)
            assert requirement.specifier.contains(versions[name]), line


def installed_needs(asked, *extras):
    """The distributions that `asked` needs with some extras, as far as they are installed."""
    found, waiting = {}, [(asked, extra) for extra in ("", *extras)]
    while waiting:
        requirements, extra = waiting.pop()
        for requirement in map(Requirement, requirements):
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": extra})
            for needed_extra in ("", *requirement.extras) if applies else ():
                needed = canonicalize_name(requirement.name), needed_extra
                if needed not in found:
                    with suppress(PackageNotFoundError):
                        found[needed] = distribution(requirement.name)
                        waiting.append((found[needed].requires or (), needed_extra))
    return {name: found[name, extra] for name, extra in found}


def test_constraints_name_every_package_of_this_environment(asked):
    needs = installed_needs(asked, "export", "cluster", "serve", "dev", "docs", "lock")
    assert len(needs) > 50
    versions = constraints_for(f"{sys.version_info.major}.{sys.version_info.minor}")
    installed = {name: found.version.partition("+")[0] for name, found in needs.items()}
    if {name: versions.get(name, one) for name, one in installed.items()} != installed:
        pytest.skip("installed without the constraints")
    assert needs.keys() - versions.keys() == set()


@pytest.fixture(scope="module")
def light(wheel, asked, tmp_path_factory):
    """An environment with the wheel and the core packages, which are those of this environment."""
    home = tmp_path_factory.mktemp("light")
    venv.create(home)
    python = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", wheel], check=True)
    (packages,) = home.glob("lib/python*/site-packages")
    for needed in installed_needs(asked).values():
        for top in {file.parts[0] for file in needed.files} - {"..", "__pycache__"}:
            (packages / top).symlink_to(needed.locate_file(top))
    return home / "bin"


def vacc_gen(light, *arguments, cwd):
    return subprocess.run(
        [light / "vacc-gen", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_the_light_install_is_light(asked):
    assert "pydantic" in installed_needs(asked)
    heavy = {"torch", "transformers", "onnx", "onnxruntime", "numpy"}
    assert installed_needs(asked).keys().isdisjoint(heavy)
    assert installed_needs(asked, "export").keys() > heavy


def test_the_light_verbs_need_no_extra(light, tmp_path):
    for arguments in (
        ["new", "--model", "falcon-7b-instruct"],
        ["validate", "falcon-7b-instruct"],
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
