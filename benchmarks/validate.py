"""CPU of `validate` on one file and on many, against importing what any such tool imports.

python benchmarks/validate.py [FOLDER] [--runs N]

Without FOLDER, the published configs among the tests' data are taken four times: 344 files. The
peer is check-jsonschema with the JSON Schema that `vacc-gen schema` prints; it gets an environment
of its own, .venv-peer.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from processes import compiled_modules, median_cpu_seconds

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT / "tests" / "data" / "vamc"
IMPORTS = "import pydantic, yaml"
ONE_FILE_LIMIT = 2.0  # of the imports
MANY_FILES_LIMIT_SECONDS = 1.0  # beyond the imports
FINDINGS = (0, 1)  # exit codes of a check that ran


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    vacc_gen = str(Path(sys.executable).with_name("vacc-gen"))
    with tempfile.TemporaryDirectory() as name, compiled_modules():
        folder = options.folder or four_times(PUBLISHED, Path(name))
        files = sorted(str(path) for path in folder.rglob("*.y*ml"))
        one = next(path for path in files if Path(path).name == "hf_falcon_int8.yaml")
        commands = {
            IMPORTS: [sys.executable, "-c", IMPORTS],
            "validate, one file": [vacc_gen, "validate", one],
            "validate, all files": [vacc_gen, "validate", *files],
        }
        if peer := check_jsonschema():
            schema = Path(name, "schema.json")
            schema.write_bytes(subprocess.check_output([vacc_gen, "schema", "vamc"]))
            check = [peer, "--schemafile", str(schema)]
            commands["check-jsonschema, one file"] = [*check, one]
            commands["check-jsonschema, all files"] = [*check, *files]
        seconds = median_cpu_seconds(commands, runs=options.runs, ok=FINDINGS)
    base = seconds[IMPORTS]
    print(f"CPU, median of {options.runs} runs in turn; all files are {len(files)}")
    print(f"{'':30}{'of ' + IMPORTS:>26}{'beyond it':>12}")
    for name, value in seconds.items():
        print(f"{name:30}{value / base:26.2f}{value - base:10.2f} s")
    one_file, all_files = (seconds[f"validate, {which}"] for which in ("one file", "all files"))
    print(f"one file: {one_file / base:.2f} of the imports (limit {ONE_FILE_LIMIT})")
    beyond = all_files - base
    print(f"all files: {beyond:.2f} s beyond the imports (limit {MANY_FILES_LIMIT_SECONDS} s)")
    if peer:
        for which, value in (("one file", one_file), ("all files", all_files)):
            ratio = value / seconds[f"check-jsonschema, {which}"]
            print(f"{which}: {ratio:.2f} of check-jsonschema")


def four_times(folder: Path, target: Path) -> Path:
    """Copy a folder four times, so that no file is the same as another."""
    for number in range(4):
        shutil.copytree(folder, target / str(number))
    return target


def check_jsonschema() -> str | None:
    """Return the peer's command; None, with a word, where it cannot be installed."""
    environment = ROOT / ".venv-peer"
    command = environment / "bin" / "check-jsonschema"
    if not command.exists():
        venv.create(environment, with_pip=True)
        install = [environment / "bin" / "python", "-m", "pip", "install", "-q", command.name]
        if subprocess.run(install).returncode:
            print("skipped: check-jsonschema could not be installed, there is no peer")
            return None
    return str(command)


if __name__ == "__main__":
    main()
