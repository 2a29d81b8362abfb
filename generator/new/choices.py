"""What a user chose for a new workspace, which preset weights are of, and the recipe made of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from vacc_gen import presets
from vacc_gen.generator.plan import Plan, check_architecture, make_plan
from vacc_gen.schema.checkpoint import name_of
from vacc_gen.schema.errors import CheckpointError, UsageError, encodable, plural, shell_command
from vacc_gen.schema.geometry import Geometry, geometry_from_config, shape_difference
from vacc_gen.schema.lint.check import Selection, open_weights
from vacc_gen.schema.lint.structure import bounds
from vacc_gen.schema.precision import Precision
from vacc_gen.schema.preset import ModelPreset
from vacc_gen.schema.recipe import RECIPE_VERSION, Calibration, Recipe


@dataclass(frozen=True)
class Decision:
    root: Path
    plan: Plan
    notes: tuple[str, ...]
    """What the user should know of how it was decided, a line each."""

    @property
    def recipe(self) -> Recipe:
        return self.plan.recipe


@dataclass(frozen=True)
class Choices:
    """The options of `new`; None where the preset is to decide.

    Paths are as the user gave them: relative ones are relative to the current folder.
    """

    model: str | None = None
    checkpoint: str | None = None
    name: str | None = None
    out: str | None = None
    precision: tuple[str, ...] = ()
    prefill: int | None = None
    total: int | None = None
    tp: int | None = None
    card: str | None = None
    calibration: str | None = None
    """`SET:PATH`."""
    optimize_for: Literal["throughput", "latency"] | None = None
    environment: str | None = None
    align_qkv: bool = False

    def command(self) -> list[str]:
        command = ["vacc-gen", "new"]
        for name, value in vars(self).items():
            option = f"--{name.replace('_', '-')}"
            if value is True:
                command.append(option)
            elif value:
                for word in value if isinstance(value, tuple) else (value,):
                    command += [option, str(word)]
        return command

    def decide(self) -> Decision:
        """Decide on a folder and a recipe, by the preset where nothing was chosen.

        Raises:
            UsageError: a name is unknown, a length impossible, too little was chosen, or
                the weight folder is not a folder.
            CheckpointError: the weight folder does not fit the preset, or has no config.json.
        """
        for name, value in vars(self).items():
            if value == "":
                raise UsageError(f"--{name}: is empty", "give a value, or leave the option out")
            text = str(value)
            if encodable(text) != text or any(ord(character) < 32 for character in text):
                problem = f"--{name}: {value!r} holds a control character or is not valid UTF-8"
                raise UsageError(problem, "rename it, or give another: it has to stand in YAML")
        preset, config, notes = self._model()
        root = Path(preset.name if self.out is None else self.out)
        try:
            recipe = self._recipe(preset, root)
        except ValidationError as error:
            raise _option_error(error) from error
        plan = make_plan(recipe, preset, config)
        return Decision(root, plan, (*notes, *_remarks(plan, config)))

    def _model(self) -> tuple[ModelPreset, Mapping[str, Any] | None, tuple[str, ...]]:
        """Return the preset, the checkpoint's config.json where it is there, and what was seen."""
        preset = None if self.model is None else _preset(self.model)
        if not self.checkpoint and preset is None:
            raise UsageError(
                "--model or --checkpoint is missing",
                "vacc-gen new --model falcon-7b-instruct; `vacc-gen presets list` names all models",
            )
        folder = Path(self.checkpoint or "")
        is_empty = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
        if preset is not None and (not self.checkpoint or is_empty):
            if preset.any_size:
                raise UsageError(
                    f"--model: {preset.name} stands for models of any size",
                    hint="--checkpoint names the weight folder, whose config.json says the sizes",
                )
            return preset, None, ()
        if not folder.is_dir():
            raise UsageError(f"--checkpoint: {folder} is not a folder", "name one with config.json")
        weights, warnings = open_weights(folder, Selection(ignore=("VG929",)))
        notes, config = [f"{found.path}: {found.message}" for found in warnings], weights.config
        if preset is None:
            preset, sentence = recognize(folder, config)
            return preset, config, (sentence, *notes)
        return preset, config, (*_compare(preset, folder, config), *notes)

    def _recipe(self, preset: ModelPreset, root: Path) -> Recipe:
        precisions = tuple(dict.fromkeys(map(Precision, self.precision)))
        precisions = precisions or preset.recommended.precisions
        if self.calibration is not None and Precision.INT8 not in precisions:
            raise UsageError("--calibration: is for int8, which is not among the precisions")
        pins = self.environment or preset.environment
        environment = presets.ENVIRONMENTS.find(pins, "--environment: ")
        target = preset.recommended.model_dump(exclude={"precisions"})
        for name in ("tp", "prefill", "total", "optimize_for"):
            if getattr(self, name) is not None:
                target[name] = getattr(self, name)
        if self.card is not None:
            target["card"] = presets.CARDS.find(self.card, "--card: ").name
        default = default_checkpoint(preset)
        checkpoint = _seen_from(root, self.checkpoint) if self.checkpoint else default
        # What the vendor calls the compiled model; a weight folder of another name has its own.
        is_published = name_of(checkpoint) == name_of(default)
        published = preset.compiled_name if is_published else None
        return Recipe.model_validate(
            {
                "version": RECIPE_VERSION,
                "model": {
                    "preset": preset.name,
                    "checkpoint": checkpoint,
                    "name": self.name if self.name is not None else published,
                },
                "precisions": precisions,
                "target": {**target, "align_qkv": self.align_qkv},
                "calibration": self._calibration(root),
                "environment": {"preset": environment.name, "python": environment.python},
            }
        )

    def _calibration(self, root: Path) -> Calibration | None:
        if self.calibration is None:
            return None
        name, _, path = self.calibration.partition(":")
        texts = presets.CALIBRATION_SETS.find(name, "--calibration: ")
        if not path:
            raise UsageError(
                f"--calibration: {name} needs the path of its texts",
                hint=f"--calibration {texts.name}:/path/to/{texts.files[0]}",
            )
        path = _seen_from(root, path)
        return Calibration(set=texts.name, path=path, samples=texts.samples, seqlen=texts.seqlen)


def default_checkpoint(preset: ModelPreset) -> str:
    """Return the folder in the workspace that `fetch` fills, called as the published weights."""
    return f"weights/{(preset.huggingface_id or preset.name).rpartition('/')[2]}"


def _preset(name: str) -> ModelPreset:
    """Return the preset of a model; raise UsageError where it needs no workspace."""
    if encoder := presets.ENCODERS.get(name):
        raise UsageError(
            f"--model: {encoder.name} is a text encoder, which needs no workspace",
            hint=f"`vacc-gen presets config {encoder.name}` prints its compile config",
        )
    if served := presets.SERVED.get(name):
        raise UsageError(
            f"--model: {served.name} is not compiled: it is served by {served.served_by}",
            hint=f"`vacc-gen presets show {served.name}` says where the steps are",
        )
    return presets.load(name, "--model: ")


def recognize(folder: Path, config: Mapping[str, Any]) -> tuple[ModelPreset, str]:
    """Return the preset of the checkpoint in `folder`, and a sentence that says how it was found.

    Among presets of the same sizes the folder's name decides, or the name that config.json was
    saved under. Vocabulary and positions count only where they decide.

    Raises:
        CheckpointError: config.json fits no preset, or has no usable sizes.
        UsageError: it fits several that make different files, and no name decides.
    """
    model_type = config.get("model_type")
    of_type = [preset for preset in presets.MODELS.all() if model_type in preset.model_types]
    if not of_type:
        raise CheckpointError(
            f"{folder} fits no preset: its config.json has model_type {model_type}",
            "`vacc-gen presets list` names the known models; for a text encoder, "
            "`vacc-gen presets config` prints the compile config",
        )
    geometry = geometry_from_config(config)
    seen = describe(config, geometry)
    fitting = [
        one for one in of_type if not one.any_size and not shape_difference(one.geometry, geometry)
    ] or [one for one in of_type if one.any_size]
    if not fitting:
        raise CheckpointError(
            f"{folder} fits no preset: {seen}",
            "`--model` says what differs from a preset; `vacc-gen presets list` names them",
        )
    sizes = {one.name: one.geometry.model_copy(update={"parameters": None}) for one in fitting}
    exact = [one for one in fitting if sizes[one.name] == geometry] or fitting
    chosen, *others = sorted(exact, key=lambda preset: (len(preset.name), preset.name))
    ambiguous = any(_files_of(chosen) != _files_of(other) for other in others)
    # Not resolved: a weight folder is often a link, whose name is the model's.
    own_name = name_of(os.path.abspath(folder))  # noqa: PTH100
    saved_as = str(config.get("_name_or_path", "")).rstrip("/")
    for name in map(_key, (own_name, saved_as)):
        for preset in fitting:
            if name in (_key(preset.name), _key(preset.huggingface_id or "")):
                by_name = ", by its name" if ambiguous else ""
                return preset, f"{folder}: {seen}: {preset.name}{by_name}"
    if ambiguous:
        names = [preset.name for preset in (chosen, *others)]
        line = shell_command(["vacc-gen", "new", "--model", names[0], "--checkpoint", str(folder)])
        raise UsageError(
            f"{folder} may be any of {len(names)} models: {seen}",
            hint=f"it fits {', '.join(names)}; say which, such as `{line}`",
        )
    return chosen, f"{folder}: {seen}: {chosen.name}"


def describe(config: Mapping[str, Any], geometry: Geometry) -> str:
    """Return what a config.json says of its model, in one line."""
    g = geometry
    return (
        f"model_type {config.get('model_type')}, {g.layers} layers of width {g.hidden_size}, "
        f"{g.attention_heads} attention heads of {g.head_size} on "
        f"{plural(g.kv_heads, 'KV head')}, a vocabulary of {g.vocab_size}"
    )


def _key(name: str) -> str:
    """Return what makes names equal: Llama 3 has been called with and without `Meta-`."""
    return name.rpartition("/")[2].casefold().removeprefix("meta-")


def _files_of(preset: ModelPreset) -> tuple[object, ...]:
    """Return what decides the files of a workspace, apart from names."""
    return (preset.family, preset.sources, preset.recommended, preset.environment)


def _compare(preset: ModelPreset, folder: Path, config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what to say of a checkpoint whose preset was named."""
    check_architecture(preset, config)
    geometry = geometry_from_config(config)
    notes = (f"{folder}: {describe(config, geometry)}",)
    difference = None if preset.any_size else shape_difference(preset.geometry, geometry)
    if difference is None:
        return notes
    if preset.geometry_source.verified:
        raise CheckpointError(
            f"{folder} is not {preset.name}: {difference}",
            hint="leave out `--model`, and the preset that fits is taken",
        )
    return (*notes, f"the sizes of the preset are not verified; config.json wins: {difference}")


def _remarks(plan: Plan, config: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield what to know of this model in these precisions on this target, a sentence each."""
    preset, geometry, tp = plan.preset, plan.geometry, plan.recipe.target.tp
    if config is None and not preset.geometry_source.verified:
        yield f"the sizes of {preset.name} are not verified; the checkpoint's config.json will win"
    if config and config.get("quantization_config"):
        yield (
            "its weights are quantized already; the published configs compile weights in fp16 or "
            "bf16, and quantize them themselves"
        )
    if preset.vision is not None:
        yield "the vision tower runs on a die of its own, which the estimate leaves out"
    if len(plan.vamc_jobs) < len(plan.jobs):
        maker = "the embedded backend makes it" if preset.runs_embedded else "nothing here makes it"
        yield f"int4: the compiler makes none, so no compile config; {maker}"
    if not geometry.splits_evenly(tp):
        published = ", as published," if tp == preset.recommended.tp else ""
        yield (
            f"tp {tp}{published} does not split the heads evenly: {geometry.heads_sentence(tp)}; "
            f"`--tp {geometry.even_tp(tp)}` would"
        )


def _option_error(error: ValidationError) -> UsageError:
    first = error.errors()[0]
    name, value = str(first["loc"][-1]), first["input"]
    if name == "target":
        problem = str(first["ctx"]["error"]).partition("\n")[0].removeprefix("prefill ")
        return UsageError(f"--prefill: {problem}", hint=f"--total {value['prefill']} or more")
    must, hint = bounds(first, value)
    return UsageError(f"--{name}: must {must}, got {value!r}", hint)


def _seen_from(root: Path, path: str) -> str:
    """Return a path of the current folder as vacc.yaml in `root` must spell it."""
    return path if Path(path).is_absolute() else os.path.relpath(path, root)
