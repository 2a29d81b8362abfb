"""`vacc-gen run`: text out of a compiled model."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from vacc_gen.generator.cli.options import AsJson, CompiledFolder, OnePrecision, Threads
from vacc_gen.generator.progress import anonymous_bytes, peak_rss_bytes
from vacc_gen.generator.terminal import is_terminal
from vacc_gen.schema.errors import UsageError, plural

if TYPE_CHECKING:
    from vacc_gen.generator.answers import Answer

DEFAULT_MAX_TOKENS = 64
STDIN = "-"


def run(
    folder: CompiledFolder,
    text: Annotated[
        str | None, Argument(metavar="PROMPT", help="Text to continue; - reads standard input.")
    ] = None,
    prompt: Annotated[str | None, Option(metavar="TEXT", help="The same as PROMPT.")] = None,
    prompt_file: Annotated[
        Path | None, Option(metavar="FILE", help="The same, from a file of UTF-8.")
    ] = None,
    chat: Annotated[bool, Option("--chat", help="The prompt is a user's turn in a chat.")] = False,
    max_tokens: Annotated[
        int | None,
        Option(
            metavar="TOKENS", min=1, help=f"[default: {DEFAULT_MAX_TOKENS}; in a chat, what fits]"
        ),
    ] = None,
    temperature: Annotated[
        float | None, Option(metavar="X", min=0, help="0 for the likeliest token each time.")
    ] = None,
    top_p: Annotated[
        float | None,
        Option(metavar="X", min=0.0001, max=1, help="Only the likeliest, up to this share."),
    ] = None,
    top_k: Annotated[
        int | None, Option(metavar="N", min=0, help="Only the likeliest N; 0 for all.")
    ] = None,
    repetition_penalty: Annotated[
        float | None, Option(metavar="X", min=0.01, help="Above 1, against repetition.")
    ] = None,
    seed: Annotated[
        int | None, Option(metavar="N", min=0, max=2**31 - 1, help="Seed of the sampling.")
    ] = None,
    stop: Annotated[
        list[str] | None, Option(metavar="TEXT", help="End before this text; may be repeated.")
    ] = None,
    precision: OnePrecision = None,
    threads: Threads = None,
    ignore_eos: Annotated[
        bool, Option("--ignore-eos", help="Never choose a token that ends the text.")
    ] = False,
    as_json: AsJson = False,
    verify: Annotated[
        bool, Option("--verify", help="First check every file against its sha256.")
    ] = False,
) -> None:
    """Samples as the checkpoint's generation_config.json says, or else takes the likeliest token.

    Text goes to stdout, figures to stderr.

    Example: vacc-gen run falcon-7b-instruct "In the beginning"
    """
    from vacc_gen.generator.answers import Answer, ChatFormat, default_sampling, sampling_of
    from vacc_gen.generator.backends.onnxruntime.deployment import find_deployed
    from vacc_gen.generator.backends.onnxruntime.runtime import open_model
    from vacc_gen.generator.calibration.tokenizer import TOKENIZER_FILE, Tokenizer

    if "" in (stop or ()):
        raise UsageError("--stop: an empty text would end every answer at once")
    given = _prompt(text, prompt, prompt_file)
    if given is None and as_json:
        raise UsageError("--json needs a prompt", "a chat is for people")
    compiled = find_deployed(folder, precision, read_content=verify)
    tokenizer = Tokenizer(compiled / TOKENIZER_FILE)
    form = ChatFormat(compiled) if chat or given is None else None
    title = f"{compiled.name}, {form.description}" if form else compiled.name
    asked = {"temperature": temperature, "top_p": top_p, "top_k": top_k, "seed": seed}
    asked |= {"repetition_penalty": repetition_penalty, "ignore_eos": ignore_eos}
    sampling = sampling_of(default_sampling(compiled), asked)
    opening = time.monotonic()
    model = open_model(compiled, threads)
    load_seconds = time.monotonic() - opening

    def answer(messages: Sequence[dict[str, str]]) -> Answer:
        """Answer to a conversation, or to a prompt as its only message."""
        prompt = form.prompt(messages) if form else messages[0]["content"]
        stops = [*(stop or []), *(form.stop if form else [])]
        return Answer(model, tokenizer, prompt, sampling, max_tokens, stops)

    if given is None:
        from vacc_gen.generator.cli.chat import chat as talk

        talk(answer, title)
        return
    made = answer([{"role": "user", "content": given}])
    if max_tokens is None and form is None:
        made.max_tokens = max(1, min(DEFAULT_MAX_TOKENS, made.room))
    if as_json:
        print(json.dumps({"text": "".join(made), **_figures(load_seconds, made)}))
        return
    for piece in made:
        print(piece, end="", flush=True)
    typer.echo()
    typer.echo(f"{title}: prompt {plural(len(made.token_ids), 'token')}, {_speed(made)}", err=True)


def _prompt(text: str | None, option: str | None, file: Path | None) -> str | None:
    """Return the text to continue; None for a chat, where there is a terminal for one."""
    given = [source for source in (text, option, file) if source is not None]
    if len(given) > 1:
        raise UsageError("give one prompt: PROMPT, --prompt or --prompt-file")
    if not given:
        if is_terminal(sys.stdin) and is_terminal(sys.stdout):
            return None
        hint = 'give one: `vacc-gen run DIR "In the beginning"`; - reads standard input'
        raise UsageError("there is no prompt, and no terminal to chat on", hint)
    try:
        if text == STDIN:
            return sys.stdin.buffer.read().decode()
        content = file.read_bytes() if file is not None else str(given[0]).encode()
        return content.decode()
    except UnicodeError as error:
        raise UsageError("the prompt is not valid UTF-8") from error


def _seconds(answer: Answer) -> tuple[float, float]:
    """Return the seconds to the first token, and from there to the last."""
    began, *came = answer.times
    return (came[0] - began, came[-1] - came[0]) if came else (0.0, 0.0)


def _speed(answer: Answer) -> str:
    """Return how many tokens came, and how fast."""
    if not answer.tokens:
        return "no answer: the model ended the text at once"
    prefill, decode = _seconds(answer)
    words = f"answer {plural(answer.tokens, 'token')}, the first after {prefill:.2f} s"
    if answer.tokens == 1:
        return words
    return f"{words}, then {(answer.tokens - 1) / max(decode, 1e-9):.1f} tokens/s"


def _figures(load_seconds: float, answer: Answer) -> dict[str, Any]:
    """Return what a run took, in seconds and bytes."""
    prefill, decode = _seconds(answer)
    return {
        "prompt_tokens": len(answer.token_ids),
        "tokens": answer.tokens,
        "load_seconds": round(load_seconds, 6),
        "prefill_seconds": round(prefill, 6),
        "decode_seconds": round(decode, 6),
        "anonymous_bytes": anonymous_bytes(),
        "peak_rss_bytes": peak_rss_bytes(),
    }
