"""The machine: the vendor's programs and cards, disk and memory, a GPU where one is wanted."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from vacc_gen.generator.backends.onnxruntime.session import available_bytes
from vacc_gen.generator.backends.vamc import EXECUTABLE
from vacc_gen.generator.doctor.check import Check, State
from vacc_gen.generator.doctor.need import Need
from vacc_gen.generator.environment.interpreter import ask
from vacc_gen.generator.plan import Plan
from vacc_gen.generator.progress import size_text
from vacc_gen.schema.packages import parse_version
from vacc_gen.schema.precision import Precision

SECTION = "machine"
SERVER = "vastgenx"
DEVICES = Path("/dev")
CARD_PATTERN = "vastai*"

VOCABULARY_STEP = 16
FIRST_VAMC_FOR_ODD_VOCABULARIES = "2.3.4"
"""Below it a vocabulary must be a multiple of 16 (the vendor's llm/tigerbot/README.md)."""


def vamc_python() -> Path | None:
    """Return the interpreter that `vamc` on the PATH starts, from its first line."""
    program = shutil.which(EXECUTABLE)
    if program is None:
        return None
    try:
        with Path(program).open("rb") as script:
            first = script.readline(4096).decode(errors="replace")
    except OSError:
        return None
    words = first[2:].split() if first.startswith("#!") else []
    if words and Path(words[0]).name == "env" and len(words) > 1:
        words = [shutil.which(words[1]) or words[1]]
    return Path(words[0]) if words and re.match(r"python[0-9.]*$", Path(words[0]).name) else None


def programs(python: Path | None, plan: Plan | None) -> Iterator[Check]:
    """Look for the vendor's compiler and server, and their versions in their interpreter."""
    packages: dict[str, str] = ask(python, "versions").values.get("packages", {}) if python else {}
    found = shutil.which(EXECUTABLE)
    version = packages.get(EXECUTABLE)
    if found is None:
        yield _without_vamc(plan)
    else:
        yield Check(SECTION, EXECUTABLE, State.OK, f"{version or 'version not known'} ({found})")
    if plan is not None and version is not None:
        yield from _vocabulary(plan, version)
    if shutil.which(SERVER) is None and SERVER not in packages:
        yield Check(
            SECTION,
            SERVER,
            State.WARNING,
            "not found: what is compiled cannot be served from here",
            "install the vendor's server where the card is",
        )
    else:
        yield Check(SECTION, SERVER, State.OK, packages.get(SERVER, "version not known"))


def _without_vamc(plan: Plan | None) -> Check:
    if plan is not None and not plan.preset.runs_embedded:
        return Check(
            SECTION,
            EXECUTABLE,
            State.PROBLEM,
            f"not on the PATH, and the embedded backend does not run {plan.preset.name}",
            "take the workspace to a machine with the vendor's compiler: `build`, or its scripts/",
        )
    return Check(
        SECTION,
        EXECUTABLE,
        State.WARNING,
        "not on the PATH: `build` compiles on the embedded backend, not for the card",
        "install the vendor's compiler to make models for the card",
    )


def _vocabulary(plan: Plan, version: str) -> Iterator[Check]:
    words = plan.geometry.vocab_size
    try:
        old = parse_version(version) < parse_version(FIRST_VAMC_FOR_ODD_VOCABULARIES)
    except ValueError:
        return
    if words % VOCABULARY_STEP and old:
        yield Check(
            SECTION,
            "vocabulary",
            State.PROBLEM,
            f"{words} words are no multiple of {VOCABULARY_STEP}, which vamc {version} needs",
            f"install vamc {FIRST_VAMC_FOR_ODD_VOCABULARIES} or newer",
        )


def cards(devices: Path = DEVICES) -> Check:
    """Look for the vendor's cards."""
    found = sorted(path.name for path in devices.glob(CARD_PATTERN))
    if found:
        return Check(SECTION, "cards", State.OK, f"{len(found)} devices: {', '.join(found)}")
    return Check(
        SECTION,
        "cards",
        State.WARNING,
        f"no {devices / CARD_PATTERN}: compiling needs none, serving does",
    )


def room(folder: Path, need: Need) -> Iterator[Check]:
    """Compare disk and memory with what a build will take."""
    free_bytes = shutil.disk_usage(folder).free
    for name, needed_bytes, has_bytes, where in (
        ("disk", need.disk_bytes, free_bytes, f"free where {folder} lies"),
        ("memory", need.memory_bytes, available_bytes(), "available"),
    ):
        figures = (
            f"{size_text(has_bytes)} {where}; this build takes about {size_text(needed_bytes)}"
        )
        if needed_bytes <= has_bytes:
            yield Check(SECTION, name, State.OK, figures)
        elif name == "memory":
            yield Check(
                SECTION, name, State.PROBLEM, figures, f"{need.reason}; end other programs first"
            )
        else:
            yield Check(
                SECTION,
                name,
                State.PROBLEM,
                figures,
                "free some, or build one precision at a time with --precision",
            )


def gpu(python: Path | None, plan: Plan) -> Iterator[Check]:
    """Look for the GPU that the recipe gives to GPTQ, with the interpreter that GPTQ runs in."""
    device = plan.recipe.quantization.device
    wanted = device is not None and device.startswith("cuda")
    if not wanted or Precision.INT8 not in plan.recipe.precisions:
        return
    if python is None:
        yield Check(SECTION, "GPU", State.UNKNOWN, f"{device}: no interpreter to ask; --python")
        return
    answer = ask(python, "cuda")
    hint = "set quantization.device to cpu, which is slower, or leave it out"
    if answer.failure:
        yield Check(SECTION, "GPU", State.PROBLEM, f"{device}: {answer.failure}", hint)
        return
    gpus = answer.values["gpus"]
    index = int(str(device).partition(":")[2] or 0)
    if index < len(gpus):
        memory = size_text(gpus[index]["memory_bytes"])
        yield Check(SECTION, "GPU", State.OK, f"{device}: {gpus[index]['name']}, {memory}")
    else:
        found = f"PyTorch sees {len(gpus)}" if gpus else "PyTorch sees none"
        yield Check(SECTION, "GPU", State.PROBLEM, f"GPTQ is to run on {device}: {found}", hint)
