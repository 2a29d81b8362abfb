"""What a user chose for a new workspace, and the recipe that it makes."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vacc_gen import presets
from vacc_gen.generator.calibration.published import calibration_targets
from vacc_gen.generator.new.recognition import describe, differs, recognize
from vacc_gen.generator.plan import check_architecture, is_placeholder
from vacc_gen.generator.vision import image_tokens
from vacc_gen.generator.workspace.workspace import read_model_config
from vacc_gen.schema.calibration import Calibration
from vacc_gen.schema.environment import Environment
from vacc_gen.schema.errors import CheckpointError, UsageError
from vacc_gen.schema.geometry import NAME_PATTERN, Model, geometry_from_config
from vacc_gen.schema.lint.migration import RECIPE_VERSION
from vacc_gen.schema.precision import EMBEDDED_ONLY, Precision
from vacc_gen.schema.preset import ModelPreset, VisionTower
from vacc_gen.schema.printable import is_text
from vacc_gen.schema.recipe import RECIPE_FILE, Recipe
from vacc_gen.schema.target import LENGTH_STEP_TOKENS, Target


@dataclass(frozen=True)
class Decision:
    """A workspace to make."""

    root: Path
    recipe: Recipe
    preset: ModelPreset
    notes: tuple[str, ...]
    """What the user should know of how it was decided, a line each."""


@dataclass(frozen=True)
class Choices:
    """Answers to the questions of `new`; None where the preset is to decide.

    Paths are as the user gave them: relative ones are relative to the current folder.
    """

    model: str | None = None
    checkpoint: str | None = None
    name: str | None = None
    out: str | None = None
    precisions: tuple[str, ...] = ()
    prefill: int | None = None
    total: int | None = None
    tp: int | None = None
    card: str | None = None
    calibration: str | None = None
    """`SET:PATH`."""
    optimize_for: Literal["throughput", "latency"] | None = None
    align_qkv: bool = False
    environment: str | None = None

    def command(self) -> list[str]:
        """Return the command line that says the same."""
        command = ["vacc-gen", "new"]
        for option, value in (
            ("--model", self.model),
            ("--checkpoint", self.checkpoint),
            ("--name", self.name),
            ("--out", self.out),
            *(("--precision", precision) for precision in self.precisions),
            ("--prefill", self.prefill),
            ("--total", self.total),
            ("--tp", self.tp),
            ("--card", self.card),
            ("--calibration", self.calibration),
            ("--optimize-for", self.optimize_for),
            ("--environment", self.environment),
        ):
            if value is not None:
                command += [option, str(value)]
        return [*command, "--align-qkv"] if self.align_qkv else command

    def decide(self) -> Decision:
        """Decide on a folder and a recipe, by the preset where nothing was chosen.

        Raises:
            UsageError: a name is unknown, a length impossible, too little was chosen, or
                the weight folder is no folder.
            CheckpointError: the weight folder does not fit the preset, or has no config.json.
        """
        for word in self.command():
            if any(ord(character) < 32 for character in word):
                raise UsageError(f"{word!r} holds a control character")
            if not is_text(word):
                raise UsageError(f"{word!r} is not valid UTF-8")
        if self.name is not None and not re.fullmatch(NAME_PATTERN, self.name):
            raise UsageError(
                f"--name {self.name!r} is no name for a folder",
                hint="letters, digits, `.`, `_` and `-`, beginning with a letter or digit",
            )
        preset, notes = self._preset()
        root = Path(preset.name if self.out is None else self.out)
        chosen = tuple(dict.fromkeys(_precision(name) for name in self.precisions))
        precisions = chosen or preset.recommended.precisions
        recipe = Recipe(
            version=RECIPE_VERSION,
            model=Model(
                preset=preset.name,
                checkpoint=f"/path/to/{_basename(preset)}"
                if self.checkpoint is None
                else _seen_from(root, self.checkpoint),
                name=self.name or self._published_name(preset),
            ),
            precisions=precisions,
            target=self._target(preset),
            calibration=self._calibration(root, precisions),
            environment=_environment(self.environment or preset.environment),
        )
        if preset.vision is not None:
            notes = (*notes, _on_tower(preset.vision))
        return Decision(root, recipe, preset, (*notes, *_on_embedded_only(precisions, preset)))

    def _preset(self) -> tuple[ModelPreset, tuple[str, ...]]:
        if self.model is None and self.checkpoint is None:
            raise UsageError(
                "which model? Neither --model nor --checkpoint was given",
                hint="vacc-gen new --model falcon-7b-instruct; `vacc-gen presets list` names all",
            )
        preset = None if self.model is None else _model(self.model)
        if self.checkpoint is None:
            assert preset is not None
            return _unseen(preset)
        folder = Path(self.checkpoint)
        config = read_model_config(folder)
        if config is None:
            is_folder = folder.is_dir()
            to_be_filled = not folder.exists() or (is_folder and not any(folder.iterdir()))
            if preset is None or not to_be_filled:
                hint = "name the folder of a Hugging Face checkpoint"
                if not is_folder:
                    raise UsageError(f"{folder} is no folder", hint)
                raise CheckpointError(f"{folder} has no config.json", hint)
            return _unseen(preset)
        if preset is None:
            found = recognize(folder, config)
            return found.preset, (found.sentence(folder), *_on_quantized(config))
        check_architecture(preset, config)
        geometry = geometry_from_config(config)
        difference = differs(preset, geometry)
        notes = (f"{folder}: {describe(config, geometry)}", *_on_quantized(config))
        if difference is None:
            return preset, notes
        if preset.geometry_source.verified:
            raise CheckpointError(
                f"{folder} is no {preset.name}: {difference}",
                hint="name no model, and the preset that fits is taken",
            )
        return preset, (*notes, f"the preset was not sure; config.json wins: {difference}")

    def _published_name(self, preset: ModelPreset) -> str | None:
        """Return what the vendor calls the compiled model; a folder of another name has its own."""
        folder = None if self.checkpoint is None else Path(self.checkpoint).name
        return preset.compiled_name if folder in (None, _basename(preset)) else None

    def _target(self, preset: ModelPreset) -> Target:
        recommended = preset.recommended
        prefill = _length("prefill", self.prefill, recommended.prefill)
        total = _length("total", self.total, recommended.total)
        if prefill > total:
            raise UsageError(
                f"a prompt of {prefill} tokens does not fit a total of {total}",
                hint=f"the total counts prompt and answer: {prefill} or more",
            )
        return Target(
            card=None if self.card is None else presets.CARDS.find(self.card).name,
            tp=recommended.tp if self.tp is None else self.tp,
            prefill=prefill,
            total=total,
            optimize_for=self.optimize_for or recommended.optimize_for,
            align_qkv=self.align_qkv,
        )

    def _calibration(self, root: Path, precisions: Sequence[Precision]) -> Calibration | None:
        if self.calibration is None:
            return None
        name, _, path = self.calibration.partition(":")
        calibration_set = presets.CALIBRATION_SETS.find(name)
        if not path:
            raise UsageError(
                f"--calibration {name} does not say where the set is",
                hint=f"--calibration {calibration_set.name}:/path/to/{calibration_set.files[0]}",
            )
        if Precision.INT8 not in precisions:
            raise UsageError("--calibration is for int8, which is not among the precisions")
        return Calibration(
            set=calibration_set.name,
            path=_seen_from(root, path),
            samples=calibration_set.samples,
            seqlen=calibration_set.seqlen,
        )


def next_steps(root: Path, recipe: Recipe) -> list[str]:
    """Return the commands that come after `new`, one a line."""
    folder = shlex.quote(str(root))
    steps = []
    if is_placeholder(recipe.model.checkpoint):
        recipe_path = shlex.quote(str(root / RECIPE_FILE))
        steps.append(f"edit {recipe_path}    # model.checkpoint: the weight folder")
        steps.append(f"vacc-gen generate {folder}")
    missing = [
        *(["the weights"] if _lacks_weights(root, recipe) else []),
        *(["the calibration texts"] if _lacks_texts(root, recipe) else []),
    ]
    if missing:
        steps.append(f"vacc-gen fetch {folder}    # {' and '.join(missing)}, if you lack them")
    embedded = presets.MODELS.find(recipe.model.preset).runs_embedded
    where = "" if embedded else "    # where the vendor's vamc is"
    return [*steps, f"vacc-gen validate {folder}", f"vacc-gen build {folder}{where}"]


def _lacks_weights(root: Path, recipe: Recipe) -> bool:
    """Whether weights that `fetch` can bring are not where the recipe says."""
    if presets.MODELS.find(recipe.model.preset).huggingface_id is None:
        return False
    folder = os.path.normpath(root / recipe.model.checkpoint)
    return not Path(folder, "config.json").is_file()


def _lacks_texts(root: Path, recipe: Recipe) -> bool:
    """Whether calibration texts that `fetch` can bring are not where the recipe says."""
    sources = recipe.calibration.sources if recipe.calibration else ()
    return any(
        not Path(os.path.normpath(root / target)).exists()
        for source in sources
        if source.set in presets.CALIBRATION_SETS and not is_placeholder(source.path)
        for target in calibration_targets(
            presets.CALIBRATION_SETS.find(source.set), source
        ).values()
    )


def _model(name: str) -> ModelPreset:
    """Find the preset of a model.

    Raises:
        UsageError: there is none, or it is one that needs no workspace.
    """
    if name in presets.ENCODERS:
        encoder = presets.ENCODERS.find(name).name
        raise UsageError(
            f"{encoder} is a text encoder, which needs no workspace",
            hint=f"`vacc-gen presets config {encoder}` prints its compile config",
        )
    if name in presets.SERVED:
        served = presets.SERVED.find(name)
        raise UsageError(
            f"{served.name} is not compiled: it is served by {served.served_by}",
            hint=f"`vacc-gen presets show {served.name}` says where the steps are",
        )
    return presets.MODELS.find(_name_of(name) if "/" in name else name)


def _name_of(huggingface_id: str) -> str:
    """Return the name of the preset of a Hugging Face id; where there is none, what was given."""
    for preset in presets.MODELS.all():
        if (preset.huggingface_id or "").casefold() == huggingface_id.casefold():
            return preset.name
    return huggingface_id


def _unseen(preset: ModelPreset) -> tuple[ModelPreset, tuple[str, ...]]:
    """Return a preset whose checkpoint is not there yet, and what to say of its sizes.

    Raises:
        UsageError: without a checkpoint it has no sizes.
    """
    if preset.any_size:
        raise UsageError(
            f"{preset.name} stands for models of any size",
            hint="--checkpoint names the weight folder, whose config.json says the sizes",
        )
    if preset.geometry_source.verified:
        return preset, ()
    note = (
        f"the sizes of {preset.name} are not verified (`vacc-gen presets show {preset.name}` says "
        "where they are from); the checkpoint's config.json will win"
    )
    return preset, (note,)


def _on_tower(tower: VisionTower) -> str:
    return (
        f"images of up to {tower.patches} patches, {image_tokens(tower)} tokens of the prompt; the "
        "vision tower runs on a die of its own, which the estimate leaves out"
    )


def _on_embedded_only(precisions: Sequence[Precision], preset: ModelPreset) -> Iterator[str]:
    """Say of precisions that the vendor's compiler does not make who makes them."""
    for precision in precisions:
        if precision in EMBEDDED_ONLY:
            who = (
                "the embedded backend makes it"
                if preset.runs_embedded
                else "nor does the embedded backend, which knows Falcon alone"
            )
            yield f"{precision.value}: the compiler makes none, so no compile config; {who}"


def _on_quantized(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Say of a checkpoint that is quantized already what becomes of that."""
    quantized = config.get("quantization_config")
    if not isinstance(quantized, Mapping):
        return ()
    method = quantized.get("quant_method", "unknown")
    note = (
        f"its weights are quantized already ({method}); the published configs compile weights in "
        "fp16 or bf16, and quantize them themselves"
    )
    return (note,)


def _precision(name: str) -> Precision:
    known = [precision.value for precision in Precision]
    if name not in known:
        raise UsageError(f"no precision is called {name!r}", hint=f"known: {', '.join(known)}")
    return Precision(name)


def _environment(name: str) -> Environment:
    preset = presets.ENVIRONMENTS.find(name)
    return Environment.model_validate({"preset": preset.name, "python": preset.python})


def _length(name: str, chosen: int | None, recommended: int) -> int:
    if chosen is None:
        return recommended
    if chosen >= LENGTH_STEP_TOKENS and chosen % LENGTH_STEP_TOKENS == 0:
        return chosen
    below = chosen // LENGTH_STEP_TOKENS * LENGTH_STEP_TOKENS
    near = [length for length in (below, below + LENGTH_STEP_TOKENS) if length > 0]
    raise UsageError(
        f"{name} {chosen} is not a multiple of {LENGTH_STEP_TOKENS}",
        hint=f"nearest: {' and '.join(str(length) for length in near or [LENGTH_STEP_TOKENS])}",
    )


def _seen_from(root: Path, path: str) -> str:
    """Return a path of the current folder as vacc.yaml in `root` must spell it."""
    return path if Path(path).is_absolute() else os.path.relpath(path, root)


def _basename(preset: ModelPreset) -> str:
    return (preset.huggingface_id or preset.name).rsplit("/", 1)[-1]
