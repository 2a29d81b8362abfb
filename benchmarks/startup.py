"""CPU of the light verbs, against a bare interpreter and against importing what they need.

python benchmarks/startup.py [--runs N]

All files are the published configs among the tests' data, taken four times. The peer is
check-jsonschema with the JSON Schema that `vacc-gen schema` prints, where it is installed.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from processes import keep_compiled_modules, median_cpu_seconds, run, vacc_gen

PUBLISHED = Path(__file__).parents[1] / "tests" / "data" / "vamc"
BARE = "python -c pass"
IMPORTS = "import pydantic, yaml"
FINDINGS = (0, 1)  # exit codes of a check that ran


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keep_compiled_modules(folder / "cache")
        for number in range(4):
            shutil.copytree(PUBLISHED, folder / "published" / str(number))
        files = sorted(str(path) for path in (folder / "published").rglob("*.y*ml"))
        new = vacc_gen("new", "--model", "falcon-7b-instruct", "--out")
        run([*new, "workspace"], folder)
        one = "workspace/build/hf_falcon_int8.yaml"
        commands = {
            BARE: [sys.executable, "-c", "pass"],
            IMPORTS: [sys.executable, "-c", IMPORTS],
            "vacc-gen --help": vacc_gen("--help"),
            "vacc-gen new": [*new, "again", "--force"],
            "vacc-gen validate, one file": vacc_gen("validate", one),
            "vacc-gen validate, all files": vacc_gen("validate", *files),
        }
        if peer := shutil.which("check-jsonschema"):
            schema = folder / "schema.json"
            schema.write_bytes(subprocess.check_output(vacc_gen("schema", "vamc")))
            check = [peer, "--schemafile", str(schema)]
            commands["check-jsonschema, one file"] = [*check, one]
            commands["check-jsonschema, all files"] = [*check, *files]
        seconds = median_cpu_seconds(commands, runs=runs, cwd=folder, ok=FINDINGS)
    base = seconds[IMPORTS]
    print(f"CPU, median of {runs} runs in turn, as a ratio; all files are {len(files)}")
    print(f"{'':30}{'of ' + BARE:>18}{'of ' + IMPORTS:>26}{'beyond it':>12}")
    for name, value in seconds.items():
        ratios = f"{value / seconds[BARE]:18.2f}{value / base:26.2f}"
        print(f"{name:30}{ratios}{value - base:10.2f} s")


if __name__ == "__main__":
    main()
