"""The compile config of a text encoder, as published for embedding models and rerankers. Pure."""

from __future__ import annotations

from vacc_gen.schema.errors import UsageError
from vacc_gen.schema.precision import Precision
from vacc_gen.schema.preset import EncoderPreset
from vacc_gen.schema.recipe import LENGTH_STEP_TOKENS

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""What the vendor's script exports, of BERT and of XLM-RoBERTa."""

ATTENTION_SPLITS = {2048: 4, 4096: 8, 8192: 16}
"""`attention_split_num` by length in tokens, from the comments of the published configs."""

USUAL_TOKENS = 512
SAMPLES = 10


def encoder_config(
    preset: EncoderPreset, precision: str | None = None, tokens: int | None = None
) -> dict[str, object]:
    """Return an encoder's compile config, for texts of `tokens` tokens; its defaults where None.

    Raises:
        UsageError: there is no published config of that precision, or the length is impossible.
    """
    precision = Precision(precision or preset.precisions[0])
    tokens = min(USUAL_TOKENS, preset.max_tokens) if tokens is None else tokens
    if precision not in preset.precisions:
        published = " and ".join(word.value for word in preset.precisions)
        raise UsageError(f"{preset.name} is published in {published}, not in {precision.value}")
    if tokens < LENGTH_STEP_TOKENS or tokens % LENGTH_STEP_TOKENS:
        raise UsageError(f"length {tokens} is not a multiple of {LENGTH_STEP_TOKENS}")
    most = preset.max_tokens
    if tokens > most:
        raise UsageError(f"{preset.name} reads texts of up to {most} tokens, not {tokens}")
    reads_graph = preset.reads == "onnx"
    frontend, backend = _of_graph(preset, precision, tokens) if reads_graph else _of_weights(tokens)
    folder = f"{preset.name}-{tokens}-sim.onnx" if reads_graph else preset.name
    config: dict[str, object] = {
        "name": f"{preset.name}-{tokens}-{precision.value}",
        "frontend": {"checkpoint": f"/path/to/{folder}", **frontend},
        "backend": {"type": "tvm_vacc", "dtype": precision.value, **backend},
    }
    if precision is Precision.INT8:
        config["dataset"] = {
            "type": "tvm",
            "path": "/path/to/quant_dir",
            "sampler": {"suffix": "npz", "get_data_num": SAMPLES},
        }
    return {**config, "workspace": {"path": "./vacc_deploy"}}


def _of_graph(
    preset: EncoderPreset, precision: Precision, tokens: int
) -> tuple[dict[str, object], dict[str, object]]:
    """Return what `frontend` and `backend` add for a graph that the vendor's script exports."""
    is_int8 = precision is Precision.INT8
    # The published int8 configs say 0, which elsewhere stands for fp16 builds.
    options: dict[str, object] = {"cluster_mode": 0, "data_type": 2 if is_int8 else 0}
    for least, split in ATTENTION_SPLITS.items():
        if least <= tokens:
            options["attention_split_num"] = split
    if preset.task == "embedding":  # a reranker's output is a single number
        options["output_layout"] = ["0:YX"]
    backend: dict[str, object] = {"compile": options}
    if is_int8:
        backend["quantize"] = {
            "calibrate_mode": "max",
            "quantize_per_channel": False,
            "overflow_adaptive": 1,
            "calibrate_range": 0.99999,
        }
    return {"shape": {name: [1, tokens] for name in INPUTS}}, backend


def _of_weights(tokens: int) -> tuple[dict[str, object], dict[str, object]]:
    """Return the same for weights that the compiler reads itself."""
    options = {"data_type": 0, "gather_data_vccl_dsp_enable": True, "stream_mode": True}
    frontend: dict[str, object] = {
        "shape": {"input_ids": [[tokens], []]},
        "type": "huggingface",
        "model_kwargs": {"model_arch": "vacc"},
    }
    return frontend, {"compile": options}
