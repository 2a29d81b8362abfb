"""CPU of `validate` on one file and on many, against importing what any such tool imports.

python benchmarks/validate.py [FOLDER] [--runs N]

Without FOLDER, the published configs among the tests' data are taken four times: 344 files. The
peer is check-jsonschema with the JSON Schema that `vacc-gen schema` prints, where it is installed.
The limits: one file costs twice the imports, all files one second beyond them.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from processes import keep_compiled_modules, median_cpu_seconds, vacc_gen

PUBLISHED = Path(__file__).parents[1] / "tests" / "data" / "vamc"
IMPORTS = "import pydantic, yaml"
FINDINGS = (0, 1)  # exit codes of a check that ran


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        keep_compiled_modules(Path(name, "cache"))
        folder = options.folder or four_times(PUBLISHED, Path(name))
        files = sorted(str(path) for path in folder.rglob("*.y*ml"))
        one = next(path for path in files if Path(path).name == "hf_falcon_int8.yaml")
        commands = {
            IMPORTS: [sys.executable, "-c", IMPORTS],
            "validate, one file": vacc_gen("validate", one),
            "validate, all files": vacc_gen("validate", *files),
        }
        if peer := shutil.which("check-jsonschema"):
            schema = Path(name, "schema.json")
            schema.write_bytes(subprocess.check_output(vacc_gen("schema", "vamc")))
            check = [peer, "--schemafile", str(schema)]
            commands["check-jsonschema, one file"] = [*check, one]
            commands["check-jsonschema, all files"] = [*check, *files]
        seconds = median_cpu_seconds(commands, runs=options.runs, ok=FINDINGS)
    base = seconds[IMPORTS]
    print(f"CPU, median of {options.runs} runs in turn; all files are {len(files)}")
    print(f"{'':30}{'of ' + IMPORTS:>26}{'beyond it':>12}")
    for name, value in seconds.items():
        print(f"{name:30}{value / base:26.2f}{value - base:10.2f} s")


def four_times(folder: Path, target: Path) -> Path:
    """Copy a folder four times, so that no file is the same as another."""
    for number in range(4):
        shutil.copytree(folder, target / str(number))
    return target


if __name__ == "__main__":
    main()
