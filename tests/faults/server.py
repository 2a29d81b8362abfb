"""Runs the command line again and again in forks of one process that has everything imported.

Reads one JSON object a line: `arguments`, `environment`, `output` (a file for what is printed).
Answers with one line: the exit code, or minus the number of the signal.
"""

from __future__ import annotations

import json
import os
import sys
import traceback

# All that a build imports, so that a fork starts at once.
import onnxruntime  # noqa: F401
import tokenizers  # noqa: F401
import torch
import transformers.models.falcon.modeling_falcon  # noqa: F401

import vacc_gen.generator.backends.onnxruntime.backend
import vacc_gen.generator.backends.onnxruntime.graph.falcon
import vacc_gen.generator.backends.onnxruntime.weights.gptq_layers
import vacc_gen.generator.cli.build
import vacc_gen.generator.cli.export
import vacc_gen.generator.cli.new  # noqa: F401
from vacc_gen.generator.cli.main import main


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
