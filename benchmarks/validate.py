"""CPU of `validate` on one file and on a folder, against importing what any such tool imports.

python benchmarks/validate.py [FOLDER] [--runs N]

The peer is `check-jsonschema` with the JSON Schema that we export; it is measured where it is
installed (`pip install check-jsonschema`, in any environment on the PATH).
"""

import argparse
import shutil
import sys
from pathlib import Path

from processes import compiled_modules, median_cpu_seconds

DEFAULT_FOLDER = Path(__file__).parents[1] / "tests" / "data" / "vamc"
SCHEMA = Path(__file__).parents[1] / "schema" / "vamc.schema.json"
IMPORTS = "import pydantic, yaml"
FINDINGS = (0, 1)  # exit codes of a check that ran


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=DEFAULT_FOLDER)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    files = sorted(str(path) for path in options.folder.rglob("*.y*ml"))
    one = next(path for path in files if Path(path).name == "hf_falcon_int8.yaml")
    validate = [str(Path(sys.executable).with_name("vacc-gen")), "validate"]
    commands = {
        IMPORTS: [sys.executable, "-c", IMPORTS],
        "validate, one file": [*validate, one],
        f"validate, {len(files)} files": [*validate, *files],
    }
    peer = shutil.which("check-jsonschema") or shutil.which(
        "check-jsonschema", path=str(Path(sys.executable).parent)
    )
    if peer:
        check = [peer, "--schemafile", str(SCHEMA)]
        commands["check-jsonschema, one file"] = [*check, one]
        commands[f"check-jsonschema, {len(files)} files"] = [*check, *files]
    with compiled_modules():
        seconds = median_cpu_seconds(commands, runs=options.runs, ok=FINDINGS)
    base = seconds[IMPORTS]
    print(f"CPU, median of {options.runs} runs in turn")
    print(f"{'':34}{'of ' + IMPORTS:>26}{'beyond it':>14}")
    for name, value in seconds.items():
        print(f"{name:34}{value / base:26.2f}{value - base:12.2f} s")
    if not peer:
        print("check-jsonschema is not installed, so there is no peer to compare with")


if __name__ == "__main__":
    main()
