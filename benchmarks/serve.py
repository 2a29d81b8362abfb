"""`vacc-gen serve` under load: every request answered, and tokens a second beside a bare loop.

The loop has the same model, prompts and lengths, without HTTP, text or waiting clients. Without a
deployed folder, falcon-tiny is built: at a thousand tokens a second it shows what a token costs
the server. A large model hides that.

python benchmarks/serve.py [DEPLOYED] [--clients N] [--requests N] [--max-tokens N]
"""

import argparse
import json
import re
import signal
import statistics
import subprocess
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from processes import output_of, vacc_gen

CHECKPOINT = Path(__file__).parents[1] / "tests/data/falcon-tiny"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("deployed", type=Path, nargs="?")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--max-tokens", type=int, default=64)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.deployed or build(Path(name, "falcon-tiny"))
        prompts = [
            f"And number {number} said unto the people" for number in range(options.requests)
        ]
        before = bare_rate(folder, prompts[:20], options.max_tokens)
        load(folder, prompts, options)
        after = bare_rate(folder, prompts[:20], options.max_tokens)
    print(f"bare loop: {before:.0f} tokens/s before, {after:.0f} after")


def build(workspace: Path) -> Path:
    source = ("--model", "falcon-tiny", "--checkpoint", CHECKPOINT)
    output_of(vacc_gen("new", "--out", workspace, *source))
    output_of(vacc_gen("build", workspace, "--backend", "onnxruntime"))
    return next(workspace.glob("deploy/*int8*"))


def bare_rate(folder: Path, prompts: list[str], max_tokens: int) -> float:
    """Return tokens a second of the model alone, one prompt after the other."""
    from vacc_gen.generator.backends.onnxruntime.runtime import Sampling, open_model
    from vacc_gen.generator.calibration.tokenizer import Tokenizer

    model, tokenizer = open_model(folder), Tokenizer(folder / "tokenizer.json")
    texts = [tokenizer.encode(prompt.encode()) for prompt in prompts]
    began = time.monotonic()
    for text in texts:
        list(model.generate(text, max_tokens, Sampling(ignore_eos=True)))
    return len(prompts) * max_tokens / (time.monotonic() - began)


def load(folder: Path, prompts: list[str], options: argparse.Namespace) -> None:
    command = vacc_gen("serve", folder, "--port", 0)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        lines = server.stderr.readline() + server.stderr.readline()
        url = re.search(r"http\S+/v1", lines)[0]

        def ask(prompt: str) -> tuple[float, int]:
            """Seconds to the first token, and tokens, of one streamed answer."""
            asked = {"model": folder.name, "prompt": prompt, "max_tokens": options.max_tokens}
            asked |= {"stream": True, "stream_options": {"include_usage": True}, "ignore_eos": True}
            began, first, usage = time.monotonic(), None, {}
            with urllib.request.urlopen(f"{url}/completions", json.dumps(asked).encode()) as answer:
                for line in answer:
                    first = first or time.monotonic() - began
                    if b'"choices": []' in line:
                        usage = json.loads(line.removeprefix(b"data: "))["usage"]
            return first, usage["completion_tokens"]

        began = time.monotonic()
        with ThreadPoolExecutor(options.clients) as pool:
            answers = list(pool.map(ask, prompts))
        seconds = time.monotonic() - began
        server.send_signal(signal.SIGINT)
    tokens = sum(count for _, count in answers)
    lost = sum(count != options.max_tokens for _, count in answers)
    median = statistics.median(first for first, _ in answers)
    print(f"{options.clients} clients, {len(answers)} requests, {lost} lost")
    print(f"served: {tokens / seconds:.0f} tokens/s, first token after {median:.2f} s (median)")


if __name__ == "__main__":
    main()
