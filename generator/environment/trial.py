"""Install a lock into a fresh environment and run what an export will run."""

from __future__ import annotations

import platform
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

from vacc_gen.generator.environment.environment import Lock, Trial
from vacc_gen.generator.environment.interpreter import ask
from vacc_gen.generator.environment.lock import explained, uv_path
from vacc_gen.generator.environment.requirements import locked_packages
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.errors import LockError, UsageError

STAMP_NAME = "lock.sha256"
"""In the environment: the hash of the lock that it was made of."""

_CHECKS = (
    ("round-trip", ("torch", "numpy"), "a tensor to numpy and back"),
    ("session", ("onnxruntime", "onnx"), "a session of ONNX Runtime"),
    ("export", ("torch", "onnx", "onnxruntime"), "an export to ONNX, run against PyTorch"),
)
"""Check, packages that it takes, how it is called."""


def try_lock(lock: Lock, venv: Path, progress: Progress) -> Trial:
    """Make `venv` of `lock`, unless it is there already, and run the checks in it.

    Raises:
        MissingExtraError: there is no uv.
        UsageError: the lock's Python is not on this machine, the lock is for another platform, or
            something else stands at `venv`.
        LockError: the packages cannot be installed.
    """
    _refuse_other_platform(lock)
    python = _environment(lock, venv, progress)
    progress.start("asking the interpreter for its packages")
    answer = ask(python, "versions")
    if answer.failure:
        return Trial("", (), (f"the interpreter {answer.failure}",))
    packages = answer.values["packages"]
    locked = locked_packages(lock.text, "the lock")
    installed = f"installed {len(locked)} packages with --require-hashes into a fresh environment"
    passed, failed = [installed], []
    differing = [
        f"{name} {package.version} was not installed, but {packages.get(name, 'nothing')}"
        for name, package in locked.items()
        if packages.get(name) != str(package.version)
    ]
    failed += differing
    for check, needed, what in (("imports", (), ""), *_CHECKS):
        if not all(name in locked for name in needed):
            continue
        words = sorted(locked.keys() & _IMPORTED) if check == "imports" else []
        what = what or f"import {', '.join(words)}"
        progress.start(what)
        answer = ask(python, check, *words)
        if answer.failure:
            failed.append(f"{what}: {answer.failure}")
        else:
            passed.append(what)
    return Trial(str(ask(python, "versions").values["python"]), tuple(passed), tuple(failed))


_IMPORTED = frozenset(
    (
        "accelerate", "huggingface-hub", "numpy", "onnx", "onnxruntime", "onnxsim", "protobuf",
        "tiktoken", "tokenizers", "torch", "torchvision", "transformers", "vllm",
    )
)  # fmt: skip
"""What is worth importing; the rest comes along with these."""


def _refuse_other_platform(lock: Lock) -> None:
    here = f"{platform.machine()} {platform.system()}"
    architecture, _, rest = lock.platform.partition("-")
    if architecture != platform.machine() or platform.system().lower() not in rest:
        raise UsageError(
            f"the lock is for {lock.platform}, this machine is {here}",
            hint="test it on a machine of that kind",
        )


def _environment(lock: Lock, venv: Path, progress: Progress) -> Path:
    """Return the interpreter of an environment with exactly the lock's packages."""
    python, stamp = venv / "bin" / "python", venv / STAMP_NAME
    digest = sha256(lock.text.encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == digest:
        progress.say(f"{venv} is made of this lock already")
        return python
    if venv.exists() and not (venv / "pyvenv.cfg").is_file():
        raise UsageError(f"{venv} exists and is no environment", hint="name another with --venv")
    uv = uv_path()
    base = _base_python(uv, lock.python)
    shutil.rmtree(venv, ignore_errors=True)
    try:
        progress.start(f"making {venv}")
        _uv([uv, "venv", "--quiet", "--python", base, str(venv)], "")
        progress.start("installing the lock")
        _uv(
            [uv, "pip", "install", "--quiet", "--require-hashes", "--python", str(python),
             "--requirement", "-"],
            lock.text,
        )  # fmt: skip
        stamp.write_text(digest)
    except BaseException:
        shutil.rmtree(venv, ignore_errors=True)
        raise
    return python


def _base_python(uv: str, version: str) -> str:
    """Find an installed interpreter; a download would come from outside the package index."""
    command = [uv, "python", "find", "--no-python-downloads", "--system", version]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UsageError(
            f"the lock is for Python {version}, which is not on this machine",
            hint=f"install it, for example with `uv python install {version}`, and try again",
        )
    return done.stdout.strip()


def _uv(command: list[str], text: str) -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LockError(*explained(done.stderr))
