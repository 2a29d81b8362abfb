"""The engines that runtime.py compares with, each run by the Python of its own environment.

python peers.py NAME convert CHECKPOINT MODEL
python peers.py NAME run MODEL IDS TOKENS THREADS     IDS: the prompt's tokens, a JSON list

`run` prints the figures that `vacc-gen run --json` prints. `convert` reads the checkpoint with
torch, safetensors and transformers, which an engine's own environment need not have.
"""

import json
import re
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

GGUF_NAMES = {
    "transformer.word_embeddings": "token_embd",
    "transformer.ln_f": "output_norm",
    "transformer.h": "blk",
    "input_layernorm": "attn_norm",
    "self_attention.query_key_value": "attn_qkv",
    "self_attention.dense": "attn_output",
    "mlp.dense_h_to_4h": "ffn_up",
    "mlp.dense_4h_to_h": "ffn_down",
}


def convert_ctranslate2(checkpoint: str, model: str) -> None:
    from ctranslate2.converters import TransformersConverter

    TransformersConverter(checkpoint, low_cpu_mem_usage=True).convert(model, quantization="int8")


def run_ctranslate2(model: str, ids: list[int], tokens: int, threads: int) -> Iterator[object]:
    """Answer greedily; where at least as many tokens are asked for as at most, no end is seen."""
    import ctranslate2

    words = json.loads(Path(model, "vocabulary.json").read_text())
    prompt = [words[token] for token in ids]
    generator = ctranslate2.Generator(model, "cpu", compute_type="int8", intra_threads=threads)
    yield
    yield from generator.generate_tokens(prompt, max_length=tokens, min_length=tokens)


def convert_llama_cpp(checkpoint: str, model: str) -> None:
    """Write a GGUF file without a tokenizer: matrices in Q8_0, norms in fp32.

    llama.cpp's own script is in no package; of falcon-7b it changes nothing but names.
    """
    from gguf import GGMLQuantizationType, GGUFWriter, quants
    from safetensors import safe_open

    config = json.loads(Path(checkpoint, "config.json").read_text())
    writer = GGUFWriter(model, "falcon")
    writer.add_context_length(2048)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(4 * config["hidden_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(1)
    writer.add_layer_norm_eps(1e-5)
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(config["vocab_size"])
    q8_0 = GGMLQuantizationType.Q8_0
    for shard in sorted(Path(checkpoint).glob("*.safetensors")):
        with safe_open(shard, "pt") as stored:
            for name in stored.keys():  # noqa: SIM118, no mapping
                values = stored.get_tensor(name).float().numpy()
                for old, new in GGUF_NAMES.items():
                    name = name.replace(old, new)
                if values.ndim == 1:
                    writer.add_tensor(name, values)
                else:
                    writer.add_tensor(name, quants.quantize(values, q8_0), raw_dtype=q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def run_llama_cpp(model: str, ids: list[int], tokens: int, threads: int) -> Iterator[object]:
    from llama_cpp import Llama

    workers = {"n_threads": threads, "n_threads_batch": threads}
    llama = Llama(model, n_ctx=len(ids) + tokens, verbose=False, **workers)
    yield
    yield from llama.generate(ids, top_k=1, temp=0.0)


def print_figures(answer: Iterator[object], prompt_tokens: int, tokens: int) -> None:
    """Take an answer that yields when the model is loaded, and then with each token.

    It is not taken to its end, where the model's memory would be freed.
    """
    times = [time.perf_counter()]
    times.extend(time.perf_counter() for _ in islice(answer, tokens + 1))
    status = Path("/proc/self/status").read_text()
    figures = {
        "prompt_tokens": prompt_tokens,
        "tokens": tokens,
        "load_seconds": times[1] - times[0],
        "prefill_seconds": times[2] - times[1],
        "decode_seconds": times[-1] - times[2],
        "anonymous_bytes": 1024 * int(re.findall(r"RssAnon:\s*(\d+)", status)[0]),
        "peak_rss_bytes": 1024 * int(re.findall(r"VmHWM:\s*(\d+)", status)[0]),
    }
    print(json.dumps(figures))


CONVERT = {"ctranslate2": convert_ctranslate2, "llama.cpp": convert_llama_cpp}
RUN = {"ctranslate2": run_ctranslate2, "llama.cpp": run_llama_cpp}

if __name__ == "__main__":
    name, verb, *arguments = sys.argv[1:]
    if verb == "convert":
        CONVERT[name](*arguments)
    else:
        model, ids, tokens, threads = arguments[0], *map(json.loads, arguments[1:])
        print_figures(RUN[name](model, ids, tokens, threads), len(ids), tokens)
