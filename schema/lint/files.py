"""What a rule about meaning reads: typed files, what is known of their models, and workspaces."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Protocol

from pydantic import AfterValidator, Field

from vacc_gen.schema.checkpoint import geometry_of, name_of
from vacc_gen.schema.compile_yaml.config import CompileConfig, ModelOptions
from vacc_gen.schema.compile_yaml.dataset import FileDataset, ProcessOp, TextDataset
from vacc_gen.schema.errors import UnreadableError
from vacc_gen.schema.json_files import MAX_JSON_BYTES, read_regular
from vacc_gen.schema.lint.diagnostics import Finding, Span, Steps, dotted, listed
from vacc_gen.schema.lint.document import Document
from vacc_gen.schema.strict import Strict

if TYPE_CHECKING:
    from vacc_gen.schema.geometry import Geometry
    from vacc_gen.schema.packages import PinFacts
    from vacc_gen.schema.preset import Card, EnvironmentPreset, ModelPreset
    from vacc_gen.schema.recipe import Recipe

TEXT_INPUTS = re.compile(
    r"^(input_ids?|att(ention)?_masks?|token_type_ids?|position_ids?|segment_ids?|input_masks?)"
    r"(_?\d+)?$"
)
"""Names of inputs that are token numbers or masks."""

MODEL_FILES = {
    ".onnx": "onnx",
    **dict.fromkeys((".pt", ".pth", ".torchscript", ".jit"), "pytorch"),
    **dict.fromkeys((".h5", ".keras", ".hdf5"), "keras"),
    **dict.fromkeys((".pb", ".tflite"), "tensorflow"),
    **dict.fromkeys((".weights", ".cfg"), "darknet"),
}
"""The `frontend.type` that reads a model file, by the file's suffix."""

PRECISIONS = ("fp16", "int8", "fp32", "bf16", "int4")
"""Words for a precision in the name of a config."""

WEIGHT_FOLDER_FILES = (".safetensors", ".json", ".bin", ".gguf")
"""Suffixes of the files that a Hugging Face weight folder is made of."""

LENGTH_STEP = 16
"""Sequence lengths are multiples of this many tokens (vendor's llm/README.md)."""


class Known(Protocol):
    """What is known beyond the files: presets by their names, and pins; None of others."""

    def model(self, name: str) -> ModelPreset | None: ...
    def card(self, name: str) -> Card | None: ...
    def environment(self, name: str) -> EnvironmentPreset | None: ...
    def geometry(self, model: str) -> Geometry | None: ...
    def names(self, shelf: str) -> Sequence[str]: ...
    def pin_facts(self) -> PinFacts: ...


@dataclass
class CheckedFile:
    """A file that is whole: its text, and what is known beyond it (None: nothing)."""

    document: Document
    known: Known | None

    @property
    def path(self) -> Path:
        return Path(self.document.path)

    @property
    def folder(self) -> Path:
        """The folder that relative paths of the file start from."""
        return self.path.parent

    def at(self, *steps: str | int) -> Span:
        return self.document.value_span(*steps)

    def key_at(self, *steps: str | int) -> Span:
        return self.document.key_span(*steps)

    def _geometry(self, checkpoint: str, preset: str) -> Geometry | None:
        """Return the sizes of the checkpoint if it is there, else of a preset of that name."""
        found = geometry_of(self.folder / checkpoint)
        return self.known.geometry(preset) if found is None and self.known else found


class Lengths(NamedTuple):
    """In tokens; an encoder has no total."""

    prefill: int
    total: int | None


@dataclass
class ConfigFile(CheckedFile):
    """A compile config that its typed model accepts."""

    config: CompileConfig

    @property
    def folder(self) -> Path:
        """The folder that relative paths start from.

        The configs of a workspace are compiled in its root, not in `build`; others where their
        author chose, which is most likely their own folder.
        """
        own = self.path.parent
        in_workspace = own.name == "build" and (own.parent / "vacc.yaml").exists()
        return own.parent if in_workspace else own

    @property
    def options(self) -> ModelOptions:
        return self.config.frontend.model_kwargs or ModelOptions()

    @property
    def is_huggingface(self) -> bool:
        frontend = self.config.frontend
        return frontend.type == "huggingface" or frontend.model_kwargs is not None

    @property
    def is_vision_tower(self) -> bool:
        return self.options.build_visual is True

    @property
    def is_language_model(self) -> bool:
        """Whether all of `frontend` says that the model is a Hugging Face one that reads text."""
        is_of_type = self.config.frontend.type in (None, "huggingface")
        is_text = not self.is_vision_tower and not self.is_single_file
        return self.is_huggingface and is_of_type and is_text

    @property
    def checkpoint(self) -> str:
        return self.config.frontend.checkpoint

    @property
    def checkpoint_name(self) -> str:
        return name_of(self.checkpoint)

    @property
    def checkpoint_suffix(self) -> str:
        """The suffix of the checkpoint in lower case, such as `.onnx`; empty without one."""
        return PurePath(self.checkpoint_name).suffix.lower()

    @property
    def is_single_file(self) -> bool:
        """Whether the checkpoint is called like a file; Hugging Face reads a folder."""
        return self.checkpoint_suffix in (*MODEL_FILES, *WEIGHT_FOLDER_FILES)

    @property
    def other_precision_in_name(self) -> str | None:
        """A precision that the name says where `backend.dtype` is none that it says, or None."""
        said = [word for word in words(self.config.name) if word in PRECISIONS]
        return said[-1] if said and self.config.backend.dtype not in said else None

    @property
    def tp_in_name(self) -> int | None:
        """The tensor parallelism that the name says, as `tp4`, or None."""
        said = (word for word in words(self.config.name) if re.fullmatch(r"tp\d{1,3}", word))
        return next((int(word[2:]) for word in said), None)

    @property
    def shapes(self) -> Mapping[str, list[Any] | dict[str, Any]]:
        return self.config.frontend.shape

    @property
    def fixed_shapes(self) -> dict[str, list[int]]:
        """The shapes that are one list of sizes, by input."""
        return {
            name: shape
            for name, shape in self.shapes.items()
            if isinstance(shape, list) and all(isinstance(size, int) for size in shape)
        }

    @cached_property
    def lengths(self) -> Lengths | None:
        """The lengths of a Hugging Face language model; None where the shape is of another form."""
        if self.is_vision_tower or not self.is_huggingface:
            return None
        match self.shapes.get("input_ids"):
            case [[int(prefill)], []]:
                return Lengths(prefill, None)
            case [[int(prefill)], [int(total)]]:
                return Lengths(prefill, total)
        return None

    @property
    def file_dataset(self) -> FileDataset | None:
        dataset = self.config.dataset
        return dataset if isinstance(dataset, FileDataset) else None

    @property
    def text_dataset(self) -> TextDataset | None:
        dataset = self.config.dataset
        return dataset if isinstance(dataset, TextDataset) else None

    @property
    def process_ops(self) -> Sequence[ProcessOp]:
        return (self.file_dataset.process_ops or ()) if self.file_dataset else ()

    @cached_property
    def geometry(self) -> Geometry | None:
        return self._geometry(self.checkpoint, self.checkpoint_name)


@dataclass
class RecipeFile(CheckedFile):
    """A recipe that its typed model accepts."""

    recipe: Recipe

    @property
    def checkpoint(self) -> str:
        return self.recipe.model.checkpoint

    @cached_property
    def geometry(self) -> Geometry | None:
        return self._geometry(self.checkpoint, self.recipe.model.preset)

    @property
    def paths(self) -> dict[Steps, str]:
        """By where they stand in the recipe."""
        calibration, text = self.recipe.calibration, self.recipe.verification.text
        paths: dict[Steps, str] = {("model", "checkpoint"): self.checkpoint}
        if calibration is not None:
            paths["calibration", "path"] = calibration.path
            for index, source in enumerate(calibration.mix):
                paths["calibration", "mix", index, "path"] = source.path
        if text is not None:
            paths["verification", "text"] = text
        return paths


def words(text: str) -> list[str]:
    """Return the words of a name in lower case: `Qwen2-7B_fp16` has qwen2, 7b and fp16."""
    return [word for word in re.split(r"[^A-Za-z0-9]+", text.lower()) if word]


FileFinding = tuple[CheckedFile, Finding]
"""A finding, and the file that it is in."""

MANIFEST_PATH = PurePosixPath(".vacc-gen", "manifest.json")


def _checked(path: str) -> str:
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise ValueError("leads out of the workspace")
    return path


Hashes = dict[Annotated[str, AfterValidator(_checked)], str]
"""Of texts, by path in the workspace; see `text_hash`."""


class Manifest(Strict):
    """Hashes of the last generation."""

    version: Literal[1]
    made_from: Hashes
    """What went in: `vacc.yaml`."""
    files: Hashes
    """What came out: texts as generated."""
    pending: Hashes = Field(default_factory=dict)
    """As `files`, for what is being written: left over by a `generate` that was killed."""

    def is_generated(self, path: str, text: str) -> bool:
        """Whether `text` at `path` is what we wrote there, rather than an edit by hand."""
        return text_hash(text) in (self.files.get(path), self.pending.get(path))

    def text(self) -> str:
        return self.model_dump_json(indent=2, exclude_defaults=True) + "\n"


def read_manifest(root: Path) -> Manifest | None:
    """Read a workspace's manifest; None where there is none.

    Raises:
        UnreadableError: the file is there and is not a manifest.
    """
    path = root / MANIFEST_PATH
    try:
        content = read_regular(path, MAX_JSON_BYTES)
        return None if content is None else Manifest.model_validate_json(content)
    except OSError as error:
        raise UnreadableError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UnreadableError(
            f"{path} is not a manifest of version 1",
            hint="remove it: every file that differs then counts as edited by hand",
        ) from error


@dataclass
class Workspace:
    """A recipe, and the compile configs in the folder `build` beside it."""

    recipe: RecipeFile
    configs: list[ConfigFile]

    @property
    def edited_configs(self) -> Iterator[ConfigFile]:
        """The language model's configs for the recipe's checkpoint that are not as made."""
        name = name_of(self.recipe.checkpoint)
        for config in self.configs:
            path, text = f"build/{config.path.name}", config.document.text
            is_own = config.checkpoint_name == name and config.lengths is not None
            if is_own and not (self.made and self.made.is_generated(path, text)):
                yield config

    @cached_property
    def made(self) -> Manifest | None:
        """What the manifest says of the last generation; None without one that can be read."""
        try:
            return read_manifest(self.recipe.folder)
        except UnreadableError:
            return None

    def lacks(self) -> Iterator[Finding]:
        """Yield what vacc-gen does not make and the workspace cannot run without."""
        from vacc_gen.schema.recipe import PLACEHOLDER

        model, known = self.recipe.recipe.model, self.recipe.known
        preset = known.model(model.preset) if known else None
        names = [one.name for one in preset.sources if not one.generated] if preset else []
        folders = (self.recipe.folder / "source_code", self.recipe.folder / self.recipe.checkpoint)
        absent = [name for name in names if not any(os.path.exists(at / name) for at in folders)]  # noqa: PTH110
        if absent:
            message = f"the vendor's {listed(absent)} {'is' if len(absent) == 1 else 'are'} missing"
            hint = "copy what is missing from the vendor's model zoo into source_code/"
            yield Finding(self.recipe.at("model", "preset"), message, hint)
        for steps, path in self.recipe.paths.items():
            is_fetched, span = steps[0] != "verification", self.recipe.at(*steps)
            if path.startswith(PLACEHOLDER):
                fetch = ", or where `vacc-gen fetch` is to put it" if is_fetched else ""
                message = f"`{dotted(steps)}` is still to be filled in"
                yield Finding(span, message, f"write the path where it is{fetch}")
            elif not os.path.exists(self.recipe.folder / path):  # noqa: PTH110  # never raises
                message = f"`{dotted(steps)}` names {path}, which is not there yet"
                fetch = "`vacc-gen fetch` downloads published weights and texts"
                yield Finding(span, message, fetch if is_fetched else None)


def text_hash(text: str) -> str:
    """Return the sha256 of a text in UTF-8, whatever ends its lines."""
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    return hashlib.sha256(plain.encode("utf-8", errors="surrogateescape")).hexdigest()
