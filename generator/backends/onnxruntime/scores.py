"""What a build's weights are worth: perplexity on held-out text, beside what else they could be.

A quantized model is also scored with the other kind of activations, int8 or exact, and one that
GPTQ made with its weights rounded to nearest, so that each choice shows its price.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from vacc_gen.generator.backends.base import Build
from vacc_gen.generator.backends.onnxruntime.export import DTYPES, planned_layout
from vacc_gen.generator.backends.onnxruntime.graph.kv_cache import read_kv_cache
from vacc_gen.generator.backends.onnxruntime.perplexity import (
    WINDOW_TOKENS,
    Tokens,
    perplexity_of,
    scoring_graph,
    windows_of,
)
from vacc_gen.generator.backends.onnxruntime.quantization_record import (
    GPTQ,
    ROUND_TO_NEAREST,
    read_record,
)
from vacc_gen.generator.backends.onnxruntime.sample import text_of
from vacc_gen.generator.backends.onnxruntime.weights.quantize import RoundToNearest
from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint
from vacc_gen.generator.backends.onnxruntime.weights.weight_file import WEIGHTS_FILE, write_weights
from vacc_gen.generator.calibration.tokenizer import Tokenizer
from vacc_gen.generator.plan import CompileJob
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.precision import EXACT_LEVEL, INT8_ACTIVATIONS_LEVEL

FLOAT = "float"


@dataclass(frozen=True)
class Score:
    """One model's perplexity."""

    precision: str
    weights: str
    """float, round_to_nearest or gptq."""
    activations: str
    """What products are computed with: float, or int8 (accuracy_level 4)."""
    built: bool
    """Whether it is the one in deploy/; others are there to compare it with."""
    perplexity: float


def score_job(build: Build, job: CompileJob, progress: Progress) -> dict[str, object]:
    """Score what was built for `job`: the report's `windows`, or nothing where the text fills none.

    Raises:
        UnreadableError: the text or the folder cannot be read.
    """
    recipe = build.plan.recipe
    ids = Tokenizer(build.weights.path / "tokenizer.json").encode(text_of(recipe, build.root))
    windows = windows_of(ids, recipe.verification.perplexity_windows)
    if len(windows) == 0:
        return {}
    scores = _Scorer(build, job, windows, progress).scores()
    return {
        "windows": {
            "window_tokens": WINDOW_TOKENS,
            "windows": len(windows),
            "scores": [asdict(score) for score in scores],
        }
    }


class _Scorer:
    """Scores one job's weights on the same windows (W, S)."""

    def __init__(self, build: Build, job: CompileJob, windows: Tokens, progress: Progress) -> None:
        self._folder, self._work_dir = build.deploy_dir(job), build.work_dir(job).parent
        self._quantization = build.plan.recipe.quantization
        self._checkpoint = open_checkpoint(build.weights.path)
        self._layout = planned_layout(self._checkpoint, DTYPES[job.precision], self._quantization)
        self._precision, self._windows, self._progress = job.precision, windows, progress
        self._cache = read_kv_cache(self._folder)

    def scores(self) -> Iterator[Score]:
        """The built model's first."""
        built, meant = self._folder / WEIGHTS_FILE, read_record(self._folder)
        if meant is None:
            yield self._score(built, FLOAT, EXACT_LEVEL, built=True)
            return
        level = self._quantization.accuracy_level
        is_gptq = any(matrix.method == GPTQ for matrix in meant.values())
        method = GPTQ if is_gptq else ROUND_TO_NEAREST
        yield self._score(built, method, level, built=True)
        is_exact = level != INT8_ACTIVATIONS_LEVEL
        other = INT8_ACTIVATIONS_LEVEL if is_exact else EXACT_LEVEL
        yield self._score(built, method, other, built=False)
        if is_gptq:
            with self._rounded_to_nearest() as weights:
                yield self._score(weights, ROUND_TO_NEAREST, level, built=False)

    def _score(self, weights: Path, method: str, level: int, *, built: bool) -> Score:
        activations = "int8" if level == INT8_ACTIVATIONS_LEVEL else FLOAT
        self._progress.start(f"perplexity: weights {method}, activations {activations}")
        parts = (self._checkpoint, self._layout, weights, level, self._cache, self._work_dir)
        with scoring_graph(*parts) as graph:
            value = perplexity_of(graph, self._windows)
        return Score(self._precision.value, method, activations, built, value)

    @contextmanager
    def _rounded_to_nearest(self) -> Iterator[Path]:
        """The same weights without GPTQ, while the block lasts."""
        with tempfile.TemporaryDirectory(prefix="rounded.", dir=self._work_dir) as folder:
            path = Path(folder) / WEIGHTS_FILE
            self._progress.start("round to nearest", self._checkpoint.folder.tensor_bytes)
            rounding = RoundToNearest()
            write_weights(path, self._layout, self._checkpoint, rounding, self._progress)
            yield path
