"""CPU of the light verbs, against a bare interpreter and against importing what they need.

python benchmarks/startup.py [--runs N]
"""

import argparse
import sys
import tempfile
from pathlib import Path

from processes import keep_compiled_modules, median_cpu_seconds, run, vacc_gen

BARE = "python -c pass"
IMPORTS = "import pydantic, yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    new = vacc_gen("new", "--model", "falcon-7b-instruct", "--out")
    commands = {
        BARE: [sys.executable, "-c", "pass"],
        IMPORTS: [sys.executable, "-c", IMPORTS],
        "vacc-gen --help": vacc_gen("--help"),
        "vacc-gen validate (one file)": vacc_gen("validate", "workspace/build/hf_falcon_int8.yaml"),
        "vacc-gen new": [*new, "again", "--force"],
    }
    with tempfile.TemporaryDirectory() as folder:
        keep_compiled_modules(Path(folder, "cache"))
        run([*new, "workspace"], Path(folder))
        seconds = median_cpu_seconds(commands, runs=runs, cwd=Path(folder))
    print(f"CPU, median of {runs} runs in turn, as a ratio")
    print(f"{'':32}{'of ' + BARE:>18}{'of ' + IMPORTS:>26}")
    for name, value in seconds.items():
        print(f"{name:32}{value / seconds[BARE]:18.2f}{value / seconds[IMPORTS]:26.2f}")


if __name__ == "__main__":
    main()
