"""What int8 and int4 cost three trained models, one of each style, on all of the held-out text.

Through ONNX Runtime, as built: int8 by channel with int8 activations, and GPTQ with several draws
of calibration texts, as a model's perplexity on a text moves by a tenth of a percent with any small
change.
"""

from importlib.resources import files
from pathlib import Path

import pytest

from tests.workspaces import CALIBRATION, FALCON_TINY, HELD_OUT

from vacc_gen.schema.recipe import Calibration, Quantization, Verification

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
from tests.weight_folders import open_checkpoint
from vacc_gen.generator.backends.onnxruntime.export import plan_export
from vacc_gen.generator.backends.onnxruntime.verify import choose_windows, score_windows
from vacc_gen.generator.backends.onnxruntime.weights.gptq import GptqQuantizer
from vacc_gen.generator.calibration.tokenizer import Tokenizer
from vacc_gen.generator.calibration.windows import calibrate, read_windows, windows_file
from vacc_gen.generator.progress import Progress

MODELING = Path(str(files("vacc_gen.generator").joinpath("templates/modeling_falcon_vacc.py")))
SEEDS = (0, 1, 2)
MODELS = ("falcon-tiny", "falcon-tiny-40b", "falcon-tiny-rw")


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_int8_costs_next_to_nothing_and_gptq_makes_int4_cheaper(model, tmp_path):
    checkpoint = open_checkpoint(FALCON_TINY.with_name(model))
    tokenizer_json = checkpoint.folder.path / "tokenizer.json"
    progress, settings = Progress(), Quantization()

    def drawn(seed):
        spec = Calibration(set="kjv", path=str(CALIBRATION), samples=128, seqlen=256, seed=seed)
        calibrate(spec, checkpoint.folder, tmp_path, progress)
        return torch.from_numpy(read_windows(windows_file(spec, tmp_path)))

    ids = Tokenizer(tokenizer_json).encode(HELD_OUT.read_bytes())
    windows = choose_windows(ids, Verification(window=128, perplexity_windows=len(ids)), 128, 1)

    def perplexity(dtype, seed=None, settings=settings):
        quantizer = None
        if seed is not None:
            quantizer = GptqQuantizer(
                MODELING, checkpoint, drawn(seed), settings, tmp_path, progress
            )
        out, export = tmp_path / "out", plan_export(checkpoint, dtype, quantization=settings)
        export.write(out, quantizer=quantizer, force=True)
        return windows.perplexity(score_windows(export, out, windows, progress))

    base = perplexity("fp16")
    rtn, gptq = {}, {}
    for dtype in ("int8", "int4"):
        rtn[dtype] = perplexity(dtype) / base - 1
        gptq[dtype] = [perplexity(dtype, seed) / base - 1 for seed in SEEDS]
    exact = perplexity("int8", settings=Quantization(activations="float"))
    assert perplexity("int8") == pytest.approx(exact, rel=0.001)
    assert all(abs(change) < 0.005 for change in (rtn["int8"], *gptq["int8"]))
    assert sum(gptq["int4"]) / len(SEEDS) < rtn["int4"]
