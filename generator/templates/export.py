#!/usr/bin/env python3
"""Exports a Falcon to prefill.onnx, decode.onnx and one weights.bin that both read.

Plain torch, transformers and onnx: from torch 2.1 with transformers 4.31 on, opsets 13 to 17. It
holds the whole model in memory as fp32, several times over. `vacc-gen export` streams instead,
and makes fp16 and int8 too.

    python scripts/export.py --checkpoint DIR --out DIR --prefill 1024 --total 2048

Shapes: P prefill length, T total length, L layers, K key/value heads, D head size, V vocabulary.
prefill: input_ids, attention_mask, position_ids (1, P) -> logits (1, 1, V), present (1, K, P, D)
decode:  input_ids, position_ids (1, 1), attention_mask (1, T), past (1, K, T - 1, D)
         -> logits (1, 1, V), present (1, K, T, D)
"""

import argparse
import hashlib
import importlib
import inspect
import sys
import tempfile
from pathlib import Path

import onnx
import torch
from onnx.external_data_helper import set_external_data

WEIGHTS_FILE = "weights.bin"
ALIGNMENT_BYTES = 4096  # so that a runtime can map each tensor


class Flat(torch.nn.Module):
    """The model with every input and output a tensor of its own, as a graph wants them."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, position_ids, *past):
        """Return the logits and each layer's present key and value, in the order of the names."""
        pairs = tuple(zip(past[::2], past[1::2])) or None  # noqa: B905 - Python 3.8 runs this too
        logits, cache = self.model(
            input_ids, attention_mask, position_ids, pairs, use_cache=True, return_dict=False
        )[:2]
        return (logits, *(tensor for pair in cache for tensor in pair))


def load_model(checkpoint):
    """Return the model of a weight folder by the modeling file beside it, or by our own."""
    ours = Path(__file__).resolve().parent.parent / "source_code"
    sys.path += [str(checkpoint), str(ours)]
    modeling = importlib.import_module("modeling_falcon_vacc")
    config_files = [folder / "config_vacc.json" for folder in (checkpoint, ours)]
    config_file = next(file for file in config_files if file.exists())
    config = modeling.FalconConfig.from_json_file(str(config_file))
    config.insert_slice = True  # a prefill needs the logits of its last position alone
    model = modeling.FalconForCausalLM.from_pretrained(str(checkpoint), config=config)
    return model.float().eval()


def cache_names(prefix, model):
    layers = range(model.config.num_hidden_layers)
    return [f"{prefix}.{layer}.{part}" for layer in layers for part in ("key", "value")]


def trace(model, num_new, total, opset, path):
    """Write the graph that takes `num_new` tokens and sees `total`."""
    inputs = {
        "input_ids": torch.zeros(1, num_new, dtype=torch.long),
        "attention_mask": torch.ones(1, total, dtype=torch.long),
        "position_ids": torch.arange(total - num_new, total)[None],
    }
    if total > num_new:
        attention = model.transformer.h[0].self_attention
        shape = (1, attention.num_kv_heads, total - num_new, attention.head_dim)
        for name in cache_names("past_key_values", model):
            inputs[name] = torch.zeros(shape)
    options = {"opset_version": opset, "do_constant_folding": False}
    if "dynamo" in inspect.signature(torch.onnx.export).parameters:
        options["dynamo"] = False  # the newer default writes opset 18 and up
    with torch.no_grad():
        torch.onnx.export(
            Flat(model),
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=["logits", *cache_names("present", model)],
            **options,
        )


def move_weights(graph_path, out_path, file, offsets):
    """Write a graph, and its tensors to `file`; those whose digest is in `offsets` are there."""
    model = onnx.load(str(graph_path))
    for tensor in model.graph.initializer:
        data = tensor.raw_data
        if len(data) < 1024:
            continue  # stays in the graph
        digest = hashlib.sha256(data).digest()
        if digest not in offsets:
            file.write(b"\0" * (-file.tell() % ALIGNMENT_BYTES))
            offsets[digest] = file.tell()
            file.write(data)
        set_external_data(tensor, WEIGHTS_FILE, offsets[digest], len(data))
        tensor.ClearField("raw_data")
    onnx.save(model, str(out_path))


def main():
    """Read the command line and export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True, help="the weight folder")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--prefill", type=int, required=True, help="prompt length in tokens")
    parser.add_argument("--total", type=int, required=True, help="prompt and answer, in tokens")
    parser.add_argument("--opset", type=int, default=17, help="default: %(default)s")
    arguments = parser.parse_args()
    if not 0 < arguments.prefill <= arguments.total:
        parser.error("--prefill must be at least 1 and at most --total")
    if not (arguments.checkpoint / "config.json").exists():
        parser.error(f"there is no config.json in {arguments.checkpoint}")

    arguments.out.mkdir(parents=True, exist_ok=True)
    model = load_model(arguments.checkpoint)
    # Traced in a folder beside the result, which it enters complete or not at all.
    with tempfile.TemporaryDirectory(dir=arguments.out, prefix=".export-") as folder:
        partial = Path(folder)
        with (partial / WEIGHTS_FILE).open("wb") as weights:
            offsets = {}
            lengths = {"prefill": (arguments.prefill,) * 2, "decode": (1, arguments.total)}
            for name, (num_new, total) in lengths.items():
                traced = partial / name / "graph.onnx"
                traced.parent.mkdir()
                trace(model, num_new, total, arguments.opset, traced)
                move_weights(traced, partial / f"{name}.onnx", weights, offsets)
                print(f"{name}.onnx: {num_new} new tokens of {total}")
        for name in (WEIGHTS_FILE, "prefill.onnx", "decode.onnx"):
            (partial / name).replace(arguments.out / name)


if __name__ == "__main__":
    main()
