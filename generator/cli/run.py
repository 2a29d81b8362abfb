"""`vacc-gen run`: text out of a compiled model."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vacc_gen.generator.cli.options import PrecisionName

if TYPE_CHECKING:
    from vacc_gen.generator.calibration.tokenizer import Tokenizer

DEFAULT_MAX_TOKENS = 64


def run(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A built workspace, or one deploy/<name> folder.")
    ],
    prompt: Annotated[str | None, typer.Option(metavar="TEXT", help="Text to continue.")] = None,
    prompt_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The same, from a file of UTF-8.")
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            metavar="TOKENS", min=1, help=f"[default: {DEFAULT_MAX_TOKENS}, or as many as fit]"
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="WORD",
            help="Which build of a workspace: fp16, int8, ... [default: any]",
            autocompletion=lambda: [name.value for name in PrecisionName],
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="[default: one for each processor core]")
    ] = None,
    ignore_eos: Annotated[
        bool,
        typer.Option("--ignore-eos", help="Never choose a token that ends the text."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print text and figures as one JSON object.")
    ] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="First check that every file is the one that was built."),
    ] = False,
) -> None:
    """Continue a text with what `build` made.

    Takes the likeliest token each time. Text goes to stdout, figures to stderr.

    Example: vacc-gen run falcon-7b-instruct --prompt "In the beginning"
    """
    from vacc_gen.generator.backends.onnxruntime.deployment import check_folder
    from vacc_gen.generator.backends.onnxruntime.runtime import open_model
    from vacc_gen.generator.calibration.tokenizer import TOKENIZER_FILE, Tokenizer

    text = _prompt(prompt, prompt_file)
    compiled = compiled_folder(folder, precision)
    check_folder(compiled, read_content=verify)
    tokenizer = Tokenizer(compiled / TOKENIZER_FILE)
    token_ids = tokenizer.encode(text)
    times = [time.monotonic()]
    model = open_model(compiled, threads)
    times.append(time.monotonic())
    if max_tokens is None:
        max_tokens = max(1, min(DEFAULT_MAX_TOKENS, model.total_tokens - len(token_ids)))

    def answer() -> Iterator[int]:
        for token_id in model.generate(token_ids, max_tokens, ignore_eos=ignore_eos):
            times.append(time.monotonic())
            yield token_id

    pieces = streamed_text(tokenizer, answer())
    if as_json:
        whole = "".join(pieces)
        print(json.dumps({"text": whole, "prompt_tokens": len(token_ids), **_figures(*times)}))
        return
    for piece in pieces:
        print(piece, end="", flush=True)
    typer.echo()
    typer.echo(f"{compiled.name}: prompt {len(token_ids)} tokens, {_speed(*times[1:])}", err=True)


def _prompt(prompt: str | None, file: Path | None) -> bytes:
    from vacc_gen.schema.errors import UsageError

    if (prompt is None) == (file is None):
        raise UsageError("give either --prompt or --prompt-file")
    try:
        text = file.read_bytes() if file is not None else (prompt or "").encode()
        text.decode()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeError as error:
        raise UsageError("the prompt is not valid UTF-8") from error
    return text


def compiled_folder(folder: Path, precision: str | None) -> Path:
    from vacc_gen.schema.errors import UsageError

    configs = [*folder.glob("genai_config.json"), *folder.glob("deploy/*/genai_config.json")]
    found = sorted(config.parent for config in configs)
    if not found:
        raise UsageError(
            f"{folder} holds no compiled model", "`vacc-gen build` makes them, in deploy/"
        )
    for compiled in found:
        if precision is None or precision in re.split("[-_]", compiled.name):
            return compiled
    names = ", ".join(compiled.name for compiled in found)
    raise UsageError(f"{folder} holds no {precision} model", f"it holds {names}")


def streamed_text(tokenizer: Tokenizer, token_ids: Iterable[int]) -> Iterator[str]:
    """Yield the text of a growing answer piece by piece, holding back unfinished characters."""
    ids: list[int] = []
    shown = ""
    for token_id in token_ids:
        ids.append(token_id)
        text = tokenizer.decode(ids, skip_special_tokens=True)
        if not text.endswith("\N{REPLACEMENT CHARACTER}"):
            yield text[len(shown) :]
            shown = text


def _speed(started: float, *came: float) -> str:
    """Return how many tokens came, and how fast; times in seconds."""
    if not came:
        return "no answer: the model ended the text at once"
    rate = (len(came) - 1) / max(came[-1] - came[0], 1e-9)
    return (
        f"answer {len(came)} tokens, the first after {came[0] - started:.2f} s, "
        f"then {rate:.1f} tokens/s"
    )


def _figures(opening: float, opened: float, *came: float) -> dict[str, object]:
    """What a run took, in seconds and bytes; `opening` is when the model began to load."""
    from vacc_gen.generator.memory import anonymous_bytes, peak_rss_bytes

    first, last = (came[0], came[-1]) if came else (opened, opened)
    return {
        "tokens": len(came),
        "load_seconds": round(opened - opening, 6),
        "prefill_seconds": round(first - opened, 6),
        "decode_seconds": round(last - first, 6),
        "anonymous_bytes": anonymous_bytes(),
        "peak_rss_bytes": peak_rss_bytes(),
    }
