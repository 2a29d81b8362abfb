"""`vacc-gen run`: text out of a compiled model."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vacc_gen.generator.cli.options import CompiledFolder, PrecisionWord, Threads

if TYPE_CHECKING:
    from vacc_gen.generator.answers import Answer

DEFAULT_MAX_TOKENS = 64
STDIN = "-"


def run(
    folder: CompiledFolder,
    text: Annotated[
        str | None,
        typer.Argument(metavar="[PROMPT]", help="Text to continue; - reads standard input."),
    ] = None,
    prompt: Annotated[str | None, typer.Option(metavar="TEXT", help="The same.")] = None,
    prompt_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The same, from a file of UTF-8.")
    ] = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="Take the prompt as a user's turn in a chat.")
    ] = False,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            metavar="TOKENS",
            min=1,
            help=f"[default: {DEFAULT_MAX_TOKENS}; in a chat, as many as fit]",
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(metavar="X", min=0, help="0 for the likeliest token each time."),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(metavar="X", min=0.0001, max=1, help="Only the likeliest, up to this share."),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Only the likeliest N; 0 for all.")
    ] = None,
    repetition_penalty: Annotated[
        float | None, typer.Option(metavar="X", min=0.01, help="Above 1, against repetition.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", min=0, max=2**31 - 1, help="Of what is drawn.")
    ] = None,
    stop: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="End before this text; may be repeated."),
    ] = None,
    precision: PrecisionWord = None,
    threads: Threads = None,
    ignore_eos: Annotated[
        bool, typer.Option("--ignore-eos", help="Never choose a token that ends the text.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print text and figures as one JSON object.")
    ] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="First check that every file is the one that was built."),
    ] = False,
) -> None:
    """Continue a text with what `build` made; without a prompt, chat on the terminal.

    Samples as the checkpoint's generation_config.json says, or else takes the likeliest token each
    time. Text goes to stdout, figures to stderr.

    Example: vacc-gen run falcon-7b-instruct "In the beginning"
    """
    import time

    from vacc_gen.generator.answers import Answer
    from vacc_gen.generator.backends.onnxruntime.deployment import check_folder, find_deployed
    from vacc_gen.generator.backends.onnxruntime.runtime import open_model
    from vacc_gen.generator.calibration.tokenizer import TOKENIZER_FILE, Tokenizer
    from vacc_gen.generator.chats import ChatFormat, default_sampling, sampling_of
    from vacc_gen.schema.errors import UsageError, plural

    if "" in (stop or ()):
        raise UsageError("--stop: an empty text would end every answer at once")
    given = _prompt(text, prompt, prompt_file)
    if given is None and as_json:
        raise UsageError("--json needs a prompt", "a chat is for people")
    compiled = find_deployed(folder, precision)
    check_folder(compiled, read_content=verify)
    tokenizer = Tokenizer(compiled / TOKENIZER_FILE)
    form = ChatFormat(compiled) if chat or given is None else None
    asked = {"temperature": temperature, "top_p": top_p, "top_k": top_k, "seed": seed}
    asked["repetition_penalty"] = repetition_penalty
    sampling = sampling_of(default_sampling(compiled), asked)
    opening = time.monotonic()
    model = open_model(compiled, threads)
    load_seconds = time.monotonic() - opening

    def answer(messages: Sequence[dict[str, str]]) -> Answer:
        """Answer to a conversation, or to a prompt as its only message."""
        prompt = form.prompt(messages) if form else messages[0]["content"]
        stops = [*(stop or []), *(form.stop if form else [])]
        return Answer(model, tokenizer, prompt, sampling, max_tokens, stops, ignore_eos)

    if given is None:
        from vacc_gen.generator.cli.chat import chat as talk

        talk(answer, f"{compiled.name}, {form.description if form else ''}")
        return
    made = answer([{"role": "user", "content": given}])
    if max_tokens is None and form is None:
        made.max_tokens = max(1, min(DEFAULT_MAX_TOKENS, made.room))
    if as_json:
        whole = "".join(made)
        figures = {"prompt_tokens": len(made.token_ids), **_figures(load_seconds, made)}
        print(json.dumps({"text": whole, **figures}))
        return
    for piece in made:
        print(piece, end="", flush=True)
    typer.echo()
    name = f"{compiled.name}, {form.description}" if form else compiled.name
    typer.echo(f"{name}: prompt {plural(len(made.token_ids), 'token')}, {_speed(made)}", err=True)


def _prompt(text: str | None, option: str | None, file: Path | None) -> str | None:
    """Return the text to continue; None for a chat, where there is a terminal for one."""
    from vacc_gen.generator.terminal import is_terminal
    from vacc_gen.schema.errors import UsageError

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
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeError as error:
        raise UsageError("the prompt is not valid UTF-8") from error


def _speed(answer: Answer) -> str:
    """Return how many tokens came, and how fast."""
    from vacc_gen.schema.errors import plural

    began, *came = answer.times
    if not came:
        return "no answer: the model ended the text at once"
    words = f"answer {plural(len(came), 'token')}, the first after {came[0] - began:.2f} s"
    if len(came) == 1:
        return words
    return f"{words}, then {(len(came) - 1) / max(came[-1] - came[0], 1e-9):.1f} tokens/s"


def _figures(load_seconds: float, answer: Answer) -> dict[str, Any]:
    """What a run took, in seconds and bytes."""
    from vacc_gen.generator.progress import anonymous_bytes, peak_rss_bytes

    began, *came = answer.times
    first, last = (came[0], came[-1]) if came else (began, began)
    return {
        "tokens": len(came),
        "load_seconds": round(load_seconds, 6),
        "prefill_seconds": round(first - began, 6),
        "decode_seconds": round(last - first, 6),
        "anonymous_bytes": anonymous_bytes(),
        "peak_rss_bytes": peak_rss_bytes(),
    }
