"""What a preset says: a model, a card, a calibration set, an environment. Data is in presets/."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from vacc_gen.schema.geometry import FALCON_MODEL_TYPES, Count, Geometry
from vacc_gen.schema.precision import Precision
from vacc_gen.schema.recipe import NAME_PATTERN, Length, Requirement
from vacc_gen.schema.strict import Strict

Word = Annotated[str, Field(min_length=1)]

VACC_CONFIG_FILE = "config_vacc.json"
"""What the compiler reads in place of config.json where a model needs code of its own."""


class Preset(Strict):
    """What every preset says."""

    name: Word = Field(description="the name of its file, which options take")
    summary: Word = Field(description="one line for `presets list`")


class SourceFile(Strict):
    """A file of code that must stand beside the weights for the compiler to read them."""

    name: Word = Field(description="file name in the weight folder")
    generated: bool = Field(description="true: vacc-gen writes it; false: the user brings it")


class GeometrySource(Strict):
    """Where a preset's geometry comes from. A checkpoint's own config.json wins in any case."""

    verified: bool = Field(
        description="read from the published config.json, equal to a copy of it in a public "
        "repository that `source` names, or to the defaults of the transformers class that is "
        "documented to be this model"
    )
    source: Word


class Recommended(Strict):
    """What a new recipe starts from."""

    precisions: tuple[Precision, ...] = Field(min_length=1)
    tp: int = Field(ge=1, description="tensor parallelism, in dies")
    prefill: Length = Field(description="prompt length in tokens")
    total: Length = Field(description="prompt and answer together, in tokens")
    optimize_for: Literal["throughput", "latency"] = Field(
        default="throughput", description="whether the published configs have `b2s: true`"
    )


class VisionTower(Strict):
    """The half of a vision-language model that reads images; it is compiled by itself, in fp16."""

    parameters: Count = Field(description="of the tower alone; `geometry` counts them in")
    patches: Length = Field(description="patches of 14 x 14 pixels that one image has at most")
    attention_splits: Count = Field(description="`attention_split_num` of the published config")
    ffn_splits: Count = Field(description="`ffn_split_num` of the published config")
    full_attention_blocks: tuple[int, ...] = Field(
        default=(), description="blocks that attend to the whole image, where others have windows"
    )


class ModelPreset(Preset):
    """A model that is known to work."""

    huggingface_id: str | None = Field(
        default=None, description="where scripts/download.sh takes the weights from; unset: nowhere"
    )
    compiled_name: str | None = Field(
        default=None,
        pattern=f"^{NAME_PATTERN}$",
        description="how names of compiled models begin in the published configs; unset: as the "
        "weight folder is called",
    )
    family: str = Field(
        min_length=1, pattern=r"^[a-z0-9_.]+$", description="as in hf_<family>_fp16.yaml"
    )
    listed_in: str | None = Field(
        default=None, description="where the vendor lists the model as supported; unset: nowhere"
    )
    model_types: tuple[str, ...] = Field(
        min_length=1, description="values of config.json's `model_type` that are this family"
    )
    any_size: bool = Field(
        default=False,
        description="the preset stands for every model of its types; a checkpoint says the sizes",
    )
    geometry: Geometry
    geometry_source: GeometrySource
    config: dict[str, Any] | None = Field(
        default=None,
        description="the published config.json, where we make config_vacc.json: it is made of "
        "this one until the checkpoint's own is there",
    )
    vision: VisionTower | None = Field(
        default=None, description="the tower of a vision-language model; unset: it reads text alone"
    )
    sources: tuple[SourceFile, ...] = Field(description="code that the weight folder needs")
    recommended: Recommended
    environment: Word = Field(description="name of an environment preset")

    @property
    def code_is_ours(self) -> bool:
        """Whether we write the code that the weight folder needs."""
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
    """What every model without a workspace says."""

    huggingface_id: Word
    family: Word
    listed_in: Word = Field(description="where the vendor lists the model")


class EncoderPreset(_Listed):
    """A text encoder: an embedding model or a reranker. It has a compile config, no workspace."""

    task: Literal["embedding", "reranker"]
    reads: Literal["onnx", "huggingface"] = Field(
        description="what the compiler reads: a graph that the vendor's script exports, or weights"
    )
    max_tokens: Length = Field(description="longest text that it was made for")
    precisions: tuple[Precision, ...] = Field(min_length=1, description="the published ones")


class ServedModel(_Listed):
    """A checkpoint that the vendor serves as it is: there is nothing to compile."""

    served_by: Word
    cards: tuple[str, ...] = Field(description="as the vendor's table calls them")
    tp: tuple[int, ...] = Field(description="tensor parallelism, in dies, that the table names")
    max_tokens: Count = Field(description="prompt and answer together")


class Card(Preset):
    """An accelerator card. Tensor parallelism counts dies, not cards."""

    dies: int = Field(ge=1)
    die_memory_bytes: int = Field(ge=1, description="memory of one die, in bytes")
    source: Word = Field(description="where these figures come from")


class CalibrationSet(Preset):
    """A set of texts for the vendor's GPTQ pass; its name is `dataset.name` in a compile config."""

    huggingface_id: Word
    files: tuple[str, ...] = Field(min_length=1, description="files to fetch from there")
    content: Word = Field(description="shape of the data in those files")
    samples: int = Field(ge=1, description="windows that the reference settings draw")
    seqlen: int = Field(ge=1, description="length of a window in the reference settings, in tokens")
    source: Word = Field(description="where the settings come from")


class EnvironmentPreset(Preset):
    """A set of pins for the compiler's environment.

    The resolved packages, with hashes, stand beside it in `<name>.txt`. The bounds that were added
    follow from presets/pins.yaml.
    """

    python: str = Field(pattern=r"^3\.\d+$")
    platform: Word = Field(description="what the lock was resolved for")
    lock: str | None = Field(
        default=None, description="the preset whose lock is the answer to these pins, too"
    )
    resolver: str | None = Field(
        default=None,
        description="what resolved the lock; unset, and no `lock` either: none can be made",
    )
    asked: tuple[Requirement, ...] = Field(description="the vendor's published pins")
    asked_source: Word = Field(description="where those are published")
    tested: tuple[str, ...] = Field(
        default=(), description="what was run in the installed lock, and passed"
    )

    @property
    def lock_name(self) -> str | None:
        """The preset whose `.txt` answers these pins, or None."""
        return self.lock or (self.name if self.resolver else None)
