"""Runs the command line again and again in forks of one process that has everything imported.

Reads one JSON object a line: `arguments`, `environment`, `output` (a file for what is printed).
Answers with one line: the exit code, or minus the number of the signal.
"""

import importlib
import json
import os
import pkgutil
import sys
import traceback

# All that a build imports, so that a fork starts at once.
import onnxruntime  # noqa: F401
import rich.progress  # noqa: F401
import tokenizers  # noqa: F401
import torch
import transformers.models.falcon.modeling_falcon  # noqa: F401

import vacc_gen.generator
import vacc_gen.schema
from vacc_gen.generator.cli.main import main

for package in (vacc_gen.generator, vacc_gen.schema):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if ".templates" not in module.name:
            importlib.import_module(module.name)


def run(arguments: list[str], environment: dict[str, str], output: str) -> None:
    """Run one command, and end this process with its exit code."""
    code = 70
    written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(written, 1)
    os.dup2(written, 2)
    os.environ.update(environment)
    sys.argv = ["vacc-gen", *arguments]
    torch.set_num_threads(1)
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


for line in sys.stdin:
    request = json.loads(line)
    if (child := os.fork()) == 0:
        run(**request)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
