"""What a preset says: a model, a card, a calibration set, an environment. Data is in presets/."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from vacc_gen.schema.geometry import FALCON_MODEL_TYPES, Count, Geometry
from vacc_gen.schema.precision import Precision
from vacc_gen.schema.recipe import NAME_PATTERN, Length, Requirement, Target
from vacc_gen.schema.strict import Strict

Word = Annotated[str, Field(min_length=1)]
Precisions = Annotated[tuple[Precision, ...], Field(min_length=1)]

VACC_CONFIG_FILE = "config_vacc.json"
"""What the compiler reads in place of config.json where a model needs code of its own."""


class Preset(Strict):
    name: Word  # of its file, which options take
    summary: Word


class SourceFile(Strict):
    """A file of code that the compiler needs beside the weights."""

    name: Word
    generated: bool  # by vacc-gen; otherwise the user brings it


class GeometrySource(Strict):
    """Where a preset's geometry comes from. A checkpoint's own config.json wins in any case."""

    verified: bool
    """Read from the published config.json or a copy of it in a public repository, or the defaults
    of the transformers class that is documented to be this model."""
    source: Word


class Recommended(Target):
    """What a new recipe starts from."""

    precisions: Precisions


class VisionTower(Strict):
    """The half of a vision-language model that reads images; it is compiled by itself, in fp16."""

    parameters: Count  # of the tower alone; `geometry` counts them in
    patches: Length  # of 14 x 14 pixels, that one image has at most
    attention_splits: Count
    ffn_splits: Count
    full_attention_blocks: tuple[int, ...] = ()  # attend to all of an image; others have windows


class ModelPreset(Preset):
    huggingface_id: str | None = None
    """Where scripts/download.sh takes the weights from; None: nowhere."""
    compiled_name: str | None = Field(default=None, pattern=f"^{NAME_PATTERN}$")
    """How published names of compiled models begin; None: as the weight folder is called."""
    family: str = Field(pattern=r"^[a-z0-9_.]+$")  # as in hf_<family>_fp16.yaml
    listed_in: str | None = None
    """Where the vendor lists the model as supported; None: nowhere."""
    model_types: tuple[str, ...] = Field(min_length=1)  # in config.json
    any_size: bool = False
    """Whether it stands for every model of its types; then the checkpoint says the sizes."""
    geometry: Geometry
    geometry_source: GeometrySource
    config: dict[str, Any] | None = None
    """The published config.json, of which config_vacc.json is made until the weights are there."""
    vision: VisionTower | None = None
    sources: tuple[SourceFile, ...]
    recommended: Recommended
    environment: Word

    @property
    def code_is_ours(self) -> bool:
        return any(source.generated for source in self.sources)

    @property
    def runs_embedded(self) -> bool:
        """Whether the embedded backend can build and run the model: it knows Falcon alone."""
        return any(model_type in FALCON_MODEL_TYPES for model_type in self.model_types)

    def beside_weights(self) -> tuple[str, ...]:
        """Names of the files that must stand beside the weights: code, and the config for it."""
        names = [source.name for source in self.sources]
        if self.code_is_ours:
            names.append(VACC_CONFIG_FILE)
        return tuple(dict.fromkeys(names))


class _Listed(Preset):
    huggingface_id: Word
    family: Word
    listed_in: Word


class EncoderPreset(_Listed):
    """A text encoder: an embedding model or a reranker. It has a compile config, no workspace."""

    task: Literal["embedding", "reranker"]
    reads: Literal["onnx", "huggingface"]
    """What the compiler reads: a graph that the vendor's script exports, or weights."""
    max_tokens: Length  # of a text
    precisions: Precisions  # the published ones


class ServedModel(_Listed):
    """A checkpoint that the vendor serves as it is: there is nothing to compile."""

    served_by: Word
    cards: tuple[str, ...]  # as the vendor's table calls them
    tp: tuple[int, ...]
    max_tokens: Count  # of prompt and answer together


class Card(Preset):
    """An accelerator card. Tensor parallelism counts dies, not cards."""

    dies: Count
    die_memory_bytes: Count
    source: Word


class CalibrationSet(Preset):
    """A set of texts for the vendor's GPTQ pass; its name is `dataset.name` in a compile config.

    Windows, and their tokens, are those of the vendor's reference settings.
    """

    huggingface_id: Word
    files: tuple[str, ...] = Field(min_length=1)
    content: Word
    samples: Count
    seqlen: Count
    source: Word


class EnvironmentPreset(Preset):
    """Pins for the compiler's environment; resolved, with hashes, they stand in `<name>.txt`."""

    python: str = Field(pattern=r"^3\.\d+$")
    platform: Word  # what the lock was resolved for
    lock: str | None = None  # the preset whose lock is the answer to these pins, too
    resolver: str | None = None
    """What resolved the lock; None, and no `lock` either: none can be made."""
    asked: tuple[Requirement, ...]  # the vendor's published pins
    asked_source: Word
    tested: tuple[str, ...] = ()

    @property
    def lock_name(self) -> str | None:
        """The preset whose `.txt` answers these pins, or None."""
        return self.lock or (self.name if self.resolver else None)
