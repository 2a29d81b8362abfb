"""What int8 and int4 cost three trained models, one of each style, on all of the held-out text.

Through ONNX Runtime, as built: with int8 activations.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from tests.texts import CALIBRATION, HELD_OUT
from tests.workspaces import FALCON_TINY
from vacc_gen.schema.calibration import Calibration
from vacc_gen.schema.precision import Quantization

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
from vacc_gen.generator.pipeline.calibrate import calibrate, read_windows  # noqa: E402
from vacc_gen.generator.pipeline.checkpoint import open_checkpoint  # noqa: E402
from vacc_gen.generator.pipeline.export import export_graphs, planned_layout  # noqa: E402
from vacc_gen.generator.pipeline.layerwise import GptqQuantizer  # noqa: E402
from vacc_gen.generator.pipeline.perplexity import (  # noqa: E402
    perplexity_of,
    scoring_graph,
    windows_of,
)
from vacc_gen.generator.pipeline.tokenizing import Tokenizer  # noqa: E402
from vacc_gen.generator.progress import SilentProgress  # noqa: E402

MODELING = Path(str(files("vacc_gen.generator").joinpath("templates/modeling_falcon_vacc.py")))
SPEC = Calibration(set="kjv", path=str(CALIBRATION), samples=128, seqlen=256)
MODELS = ("falcon-tiny", "falcon-tiny-40b", "falcon-tiny-rw")


@pytest.mark.slow
@pytest.mark.parametrize("group_size", [None, -1], ids=["groups", "channels"])
@pytest.mark.parametrize("model", MODELS)
def test_int8_costs_next_to_nothing_and_gptq_makes_int4_cheaper(
    model, group_size, tmp_path, record_property
):
    checkpoint = open_checkpoint(FALCON_TINY.with_name(model))
    tokenizer_json = checkpoint.path / "tokenizer.json"
    progress, settings = SilentProgress(), Quantization(group_size=group_size)
    drawn = calibrate(SPEC, tokenizer_json, tmp_path, 2048, progress)
    calibration = torch.from_numpy(read_windows(drawn.path).copy())
    windows = windows_of(Tokenizer(tokenizer_json).encode(HELD_OUT.read_bytes()))

    def perplexity(dtype, gptq):
        quantizer = None
        if gptq:
            quantizer = GptqQuantizer(
                MODELING, checkpoint, calibration, settings, tmp_path, progress
            )
        out = tmp_path / "out"
        export_graphs(
            checkpoint, out, dtype=dtype, quantization=settings, quantizer=quantizer, force=True
        )
        layout = planned_layout(checkpoint, dtype, settings)
        weights, level = out / "weights.bin", settings.accuracy_level
        with scoring_graph(checkpoint, layout, weights, level, None, tmp_path) as graph:
            return perplexity_of(graph, windows)

    base = perplexity("fp16", gptq=False)
    change = {}
    for dtype in ("int8", "int4"):
        for gptq in (False, True):
            change[dtype, gptq] = perplexity(dtype, gptq) / base - 1
            record_property(f"{dtype} {'gptq' if gptq else 'rtn'}", f"{change[dtype, gptq]:+.3%}")
    assert abs(change["int8", False]) < 0.005
    assert abs(change["int8", True]) < 0.005
    assert change["int4", True] < change["int4", False]
