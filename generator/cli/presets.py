"""`vacc-gen presets`: what is known good."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Annotated, Any, Literal

import typer

from vacc_gen.generator.cli.completion import complete_encoder, complete_preset

HEADINGS = {
    "encoders": "encoders, of which `vacc-gen presets config` writes the compile config",
    "served": "served as they are, with nothing to compile",
}

presets = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Show known models, cards and data sets."
)


@presets.command("list")
def list_presets(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WORD", help="Only those that hold every word, in whatever capitals."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="A list of all that is known of each, for programs.")
    ] = False,
) -> None:
    """List models, encoders, cards and the rest.

    The rest is checkpoints that are served as they are, calibration sets and environments.

    Example: vacc-gen presets list falcon instruct
    """
    from vacc_gen import presets
    from vacc_gen.schema.errors import UsageError

    found = [
        {"kind": kind, **preset.model_dump(mode="json", exclude_none=True)}
        for kind, shelf in presets.SHELVES.items()
        for preset in shelf.all()
    ]
    found = [values for values in found if _holds(values, words or [])]
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    if not found:
        raise UsageError(f"no preset holds {' and '.join(repr(word) for word in words or [])}")
    for kind, group in groupby(found, key=lambda values: str(values["kind"])):
        rows = [(values["name"], values["summary"]) for values in group]
        width = max(len(name) for name, _ in rows)
        typer.echo(HEADINGS.get(kind, kind))
        for name, summary in rows:
            typer.echo(f"  {name:{width}}  {summary}")


@presets.command("show")
def show_preset(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A name that `presets list` prints.",
            autocompletion=complete_preset,
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Show a preset as the YAML file that it is.

    Example: vacc-gen presets show falcon-7b
    """
    from vacc_gen import presets

    kind, known = presets.locate(name)
    shelf = presets.SHELVES[kind]
    if as_json:
        values = {"kind": kind, **shelf.find(known).model_dump(mode="json", exclude_none=True)}
        typer.echo(json.dumps(values, indent=2, ensure_ascii=False))
    else:
        typer.echo(shelf.text(known), nl=False)


@presets.command("config")
def config_of_encoder(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="A text encoder.", autocompletion=complete_encoder),
    ],
    precision: Annotated[
        Literal["fp16", "int8"] | None, typer.Option(help="[default: fp16]")
    ] = None,
    length: Annotated[
        int | None,
        typer.Option(
            metavar="TOKENS", help="Length of a text, a multiple of 16. [default: 512, or its most]"
        ),
    ] = None,
) -> None:
    """Print the compile config of a text encoder, to be filled in.

    The paths in it are placeholders: of the graph that the vendor's onnx_export.py writes, and for
    int8 of the calibration data that its gen_quant_data.py makes.

    Example: vacc-gen presets config bge-m3 --precision int8 > bge-m3-int8.yaml
    """
    from vacc_gen import presets
    from vacc_gen.generator.emit.yaml_text import sections
    from vacc_gen.generator.encoder import encoder_config
    from vacc_gen.schema.errors import UsageError
    from vacc_gen.schema.precision import Precision

    if name in presets.MODELS:
        model = presets.MODELS.find(name).name
        raise UsageError(
            f"{model} is no text encoder", hint=f"`vacc-gen new --model {model}` writes its configs"
        )
    preset = presets.ENCODERS.find(name)
    chosen = None if precision is None else Precision(precision)
    typer.echo(sections(encoder_config(preset, chosen, length)), nl=False)


def _holds(values: dict[str, Any], words: list[str]) -> bool:
    """Whether every word is in the name, the summary, the family or the repository."""
    keys = ("kind", "name", "summary", "family", "huggingface_id")
    text = " ".join(str(values.get(key, "")) for key in keys).casefold()
    return all(word.casefold() in text for word in words)
