"""The published compile configs among the tests' data, and small files that went wrong once."""

from pathlib import Path

FOLDER = Path(__file__).parent / "data" / "vamc"
PATHS = sorted(FOLDER.rglob("*.yaml"))
FALCON = (FOLDER / "llm/falcon/build_in/build/hf_falcon_int8.yaml").read_text(encoding="utf-8")
CASES = FOLDER.with_name("cases")


def named(path):
    return str(path.relative_to(FOLDER)).replace("build_in/build/", "")
