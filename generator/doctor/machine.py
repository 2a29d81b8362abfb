"""The machine: the vendor's programs and cards, disk and memory, a GPU where one is wanted."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.version import InvalidVersion, Version

from vacc_gen.generator.backends.onnxruntime.session import available_bytes
from vacc_gen.generator.backends.vamc import EXECUTABLE
from vacc_gen.generator.doctor.check import Check, State
from vacc_gen.generator.environment.interpreter import run_check
from vacc_gen.generator.plan import Plan
from vacc_gen.generator.progress import size_text
from vacc_gen.schema.footprint import SCALE_BYTES, WEIGHT_BITS, parameter_count
from vacc_gen.schema.precision import Precision

SECTION = "machine"
SERVER = "vastgenx"
DEVICES = Path("/dev")
CARD_PATTERN = "vastai*"

VOCABULARY_STEP = 16
FIRST_VAMC_FOR_ODD_VOCABULARIES = "2.3.4"
"""Below it a vocabulary must be a multiple of 16 (the vendor's llm/tigerbot/README.md)."""

FP16_BYTES, FP32_BYTES = 2, 4
LIBRARIES_BYTES = 1 << 30
"""torch, transformers and ONNX Runtime, loaded: 0.6 to 0.9 GB resident on x86-64."""
NARROWEST_GROUP = 16


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
    packages = run_check(python, "versions").values.get("packages", {}) if python else {}
    found, version = shutil.which(EXECUTABLE), packages.get(EXECUTABLE)
    if found is None:
        yield _missing_vamc(plan)
    else:
        yield Check(SECTION, EXECUTABLE, State.OK, f"{version or 'unknown version'} ({found})")
    if plan is not None and version is not None:
        yield from _vocabulary(plan, version)
    if shutil.which(SERVER) is None and SERVER not in packages:
        message = "not found: compiled models cannot be served from here"
        hint = "install the vendor's server where the card is"
        yield Check(SECTION, SERVER, State.WARNING, message, hint)
    else:
        yield Check(SECTION, SERVER, State.OK, packages.get(SERVER, "unknown version"))


def _missing_vamc(plan: Plan | None) -> Check:
    if plan is not None and not plan.preset.runs_embedded:
        message = f"not on the PATH, and the embedded backend does not run {plan.preset.name}"
        hint = "build on a machine with the vendor's compiler, or run the scripts/ there"
        return Check(SECTION, EXECUTABLE, State.PROBLEM, message, hint)
    message = "not on the PATH: `build` compiles on the embedded backend, not for the card"
    hint = "install the vendor's compiler to make models for the card"
    return Check(SECTION, EXECUTABLE, State.WARNING, message, hint)


def _vocabulary(plan: Plan, version: str) -> Iterator[Check]:
    words = plan.geometry.vocab_size
    try:
        old = Version(version) < Version(FIRST_VAMC_FOR_ODD_VOCABULARIES)
    except InvalidVersion:
        return
    if words % VOCABULARY_STEP and old:
        message = f"{words} is not a multiple of {VOCABULARY_STEP}, which vamc {version} needs"
        hint = f"install vamc {FIRST_VAMC_FOR_ODD_VOCABULARIES} or newer"
        yield Check(SECTION, "vocabulary", State.PROBLEM, message, hint)


def cards(devices: Path = DEVICES) -> Check:
    """Look for the vendor's cards."""
    found = sorted(path.name for path in devices.glob(CARD_PATTERN))
    if found:
        return Check(SECTION, "cards", State.OK, f"{len(found)} devices: {', '.join(found)}")
    message = f"no {devices / CARD_PATTERN}: compiling needs none, serving does"
    return Check(SECTION, "cards", State.WARNING, message)


@dataclass(frozen=True)
class Need:
    """Bytes that a build of all the recipe's precisions takes at its worst moment."""

    disk_bytes: int
    memory_bytes: int
    reason: str
    """What takes the memory."""


def need_of(plan: Plan, with_vamc: bool) -> Need:
    """Estimate what `build` takes.

    Embedded: export streams, so memory is that of the widest part in fp32 while it is verified, and
    of int8 or int4 weights that a session packs; one is open at a time. vamc: its own need is not
    published; it reads the whole checkpoint, so that the fp16 weights are the least.
    """
    geometry, weights = plan.geometry, parameter_count(plan.geometry)
    sizes = {kind: _deployed_bytes(weights, kind) for kind in plan.recipe.precisions}
    disk_bytes = sum(sizes.values())
    if with_vamc:
        return Need(disk_bytes, weights * FP16_BYTES, "the least: the checkpoint's weights in fp16")
    embedding = geometry.vocab_size * geometry.hidden_size
    blocks = weights - embedding * (1 if geometry.tied_embeddings else 2)
    part_bytes = 2 * FP32_BYTES * max(embedding, blocks // geometry.layers)
    packed_bytes = max((sizes[kind] for kind in sizes if kind in WEIGHT_BITS), default=0)
    if packed_bytes > part_bytes:
        return Need(disk_bytes, LIBRARIES_BYTES + packed_bytes, "a session packs quantized weights")
    return Need(disk_bytes, LIBRARIES_BYTES + part_bytes, "the widest part of the model in fp32")


def _deployed_bytes(weights: int, precision: Precision) -> int:
    bits = WEIGHT_BITS.get(precision)
    if bits is None:
        return weights * FP16_BYTES
    return weights * bits // 8 + weights * SCALE_BYTES // NARROWEST_GROUP


def room(folder: Path, need: Need) -> Iterator[Check]:
    """Compare disk and memory with what a build will take."""
    free_bytes = shutil.disk_usage(folder).free
    hint = "free some, or build one precision at a time with --precision"
    where = f"free where {folder} lies"
    yield _enough("disk", free_bytes, where, need.disk_bytes, hint)
    hint = f"{need.reason}; end other programs first"
    yield _enough("memory", available_bytes(), "available", need.memory_bytes, hint)


def _enough(name: str, has_bytes: int, where: str, needed_bytes: int, hint: str) -> Check:
    message = f"{size_text(has_bytes)} {where}; this build takes about {size_text(needed_bytes)}"
    return Check.of(SECTION, name, needed_bytes <= has_bytes, message, hint)


def gpu(python: Path | None, plan: Plan) -> Iterator[Check]:
    """Look for the GPU that the recipe gives to GPTQ, with the interpreter that GPTQ runs in."""
    device = plan.recipe.quantization.device or ""
    if not device.startswith("cuda") or Precision.INT8 not in plan.recipe.precisions:
        return
    if python is None:
        message = f"{device}: not checked; name the interpreter with --python"
        yield Check(SECTION, "GPU", State.UNKNOWN, message)
        return
    answer = run_check(python, "cuda")
    gpus = answer.values.get("gpus", [])
    index = int(device.partition(":")[2] or 0)
    if index < len(gpus):
        memory = size_text(gpus[index]["memory_bytes"])
        yield Check(SECTION, "GPU", State.OK, f"{device}: {gpus[index]['name']}, {memory}")
        return
    found = answer.failure or f"PyTorch sees {len(gpus) or 'none'}"
    message = f"GPTQ is to run on {device}: {found}"
    hint = "set quantization.device to cpu, which is slower, or leave it out"
    yield Check(SECTION, "GPU", State.PROBLEM, message, hint)
