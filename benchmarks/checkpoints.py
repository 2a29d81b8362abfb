"""A checkpoint of a Falcon's true widths with random values, and as many layers as asked."""

import gzip
import json
import math
import subprocess
import sys
from pathlib import Path

FALCON_7B = {
    "model_type": "falcon",
    "hidden_size": 4544,
    "num_attention_heads": 71,
    "num_kv_heads": 71,
    "multi_query": True,
    "parallel_attn": True,
    "vocab_size": 65024,
    "eos_token_id": 11,
    "torch_dtype": "bfloat16",
}
GROUPED = {"multi_query": False, "new_decoder_architecture": True, "num_kv_heads": 8}
SHAPES = {
    "7b": FALCON_7B,
    "40b": {**FALCON_7B, **GROUPED, "hidden_size": 8192, "num_attention_heads": 128},
    "180b": {**FALCON_7B, **GROUPED, "hidden_size": 14848, "num_attention_heads": 232},
}
TOKENIZER = Path(__file__).parents[1] / "tests" / "data" / "falcon-tokenizer.json.gz"
TOKENIZER_CONFIG = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}
POOL_VALUES = 300_000_000


def make_checkpoint(folder: Path, layers: int, shape: str = "7b") -> int:
    """Write a checkpoint and return its size in bytes.

    In a process of its own: the peak of memory of a child begins with what its parent has.
    """
    subprocess.run([sys.executable, __file__, folder, str(layers), shape], check=True)
    return sum(shard.stat().st_size for shard in folder.glob("*.safetensors"))


def write_checkpoint(folder: Path, layers: int, shape: str = "7b") -> None:
    """Write about one shard a layer, and Falcon's tokenizer.

    Values are normal with a spread of 0.02, around 1 in the norms. They are drawn once, and each
    tensor takes them from another place on: drawing all of 32 layers takes minutes.
    """
    import torch
    from safetensors.torch import save_file

    from vacc_gen.schema.falcon import architecture_from_config

    folder.mkdir()
    config = {**SHAPES[shape], "num_hidden_layers": layers}
    shapes = list(architecture_from_config(config).parameters().items())
    drawn = torch.empty(POOL_VALUES, dtype=torch.bfloat16).normal_(0, 0.02)
    per_shard, shard_of = math.ceil(len(shapes) / layers), {}
    for first in range(0, len(shapes), per_shard):
        part = {}
        for number, (name, sizes) in enumerate(shapes[first : first + per_shard], first):
            size = math.prod(sizes)
            values = drawn[number : number + size]
            if len(values) < size:  # of falcon-180b
                values = drawn.repeat(math.ceil(size / POOL_VALUES))[:size]
            part[name] = values.reshape(sizes).clone()
            part[name] += name.endswith(("layernorm.weight", "ln_f.weight"))
        shard = f"model-{first:05}.safetensors"
        save_file(part, folder / shard, {"format": "pt"})
        shard_of.update(dict.fromkeys(part, shard))
    index = {"metadata": {}, "weight_map": shard_of}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps(TOKENIZER_CONFIG))
    (folder / "tokenizer.json").write_bytes(gzip.decompress(TOKENIZER.read_bytes()))


if __name__ == "__main__":
    write_checkpoint(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
