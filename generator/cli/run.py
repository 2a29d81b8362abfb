"""`vacc-gen run`: text out of a compiled model."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vacc_gen.generator.calibration.tokenizer import Tokenizer

DEFAULT_MAX_TOKENS = 64


def run(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A built workspace, or one deploy/<name> folder.")
    ],
    prompt: Annotated[str, typer.Option(metavar="TEXT", help="Text to continue.")],
    max_tokens: Annotated[
        int | None,
        typer.Option(
            metavar="TOKENS", min=1, help=f"[default: {DEFAULT_MAX_TOKENS}, or as many as fit]"
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="WORD", help="Which build of a workspace: fp16, int8, ... [default: any]"
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="[default: one for each processor core]")
    ] = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="First check that every file is the one that was built."),
    ] = False,
) -> None:
    """Continue a text with what `build` made.

    Takes the likeliest token each time. Text goes to stdout, figures to stderr.

    Example: vacc-gen run falcon-7b-instruct --prompt "In the beginning"
    """
    from vacc_gen.generator.backends.onnxruntime.runtime import OnnxRuntimeModel, check_folder
    from vacc_gen.generator.calibration.tokenizer import TOKENIZER_FILE, Tokenizer
    from vacc_gen.schema.errors import UsageError, is_text

    if not is_text(prompt):
        raise UsageError("the prompt is not valid UTF-8")
    compiled = _compiled_folder(folder, precision)
    if verify:
        check_folder(compiled, read_content=True)
    model = OnnxRuntimeModel(compiled, threads=threads)
    tokenizer = Tokenizer(compiled / TOKENIZER_FILE)
    token_ids = tokenizer.encode(prompt.encode())
    if max_tokens is None:
        max_tokens = max(1, min(DEFAULT_MAX_TOKENS, model.total_tokens - len(token_ids)))
    times = [time.monotonic()]

    def answer() -> Iterator[int]:
        for token_id in model.generate(token_ids, max_tokens):
            times.append(time.monotonic())
            yield token_id

    for text in streamed_text(tokenizer, answer()):
        print(text, end="", flush=True)
    typer.echo()
    typer.echo(f"{compiled.name}: prompt {len(token_ids)} tokens, {_speed(*times)}", err=True)


def _compiled_folder(folder: Path, precision: str | None) -> Path:
    from vacc_gen.schema.errors import UsageError

    graphs = [*folder.glob("decode.onnx"), *folder.glob("deploy/*/decode.onnx")]
    found = sorted(graph.parent for graph in graphs)
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
