"""The published compile configs among the tests' data."""

from pathlib import Path

FOLDER = Path(__file__).parent / "data" / "vamc"
PATHS = sorted(FOLDER.rglob("*.yaml"))


def named(path):
    return str(path.relative_to(FOLDER)).replace("build_in/build/", "")
