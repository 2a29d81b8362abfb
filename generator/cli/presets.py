"""`vacc-gen presets`: what is known good."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import typer
from typer import Argument, Option

from vacc_gen.generator.cli.app import Verb, VerbGroup
from vacc_gen.generator.cli.help import VERBS
from vacc_gen.generator.cli.options import AsJson, names_in
from vacc_gen.schema.errors import UsageError

presets = typer.Typer(
    name="presets",
    cls=VerbGroup,
    help=VERBS["presets"],
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@presets.command("list", cls=Verb)
def list_presets(
    words: Annotated[
        list[str] | None, Argument(metavar="WORD", help="Filter by words (case-insensitive).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List models, encoders, cards and the rest.

    The rest is checkpoints that are served as they are, calibration sets and environments.

    Example: vacc-gen presets list falcon instruct
    """
    from vacc_gen import presets

    found = {
        kind: [preset for preset in shelf.all() if _matches(kind, preset, words or [])]
        for kind, shelf in presets.SHELVES.items()
    }
    if as_json:
        values = [
            {"kind": kind, **preset.model_dump(mode="json", exclude_none=True)}
            for kind, group in found.items()
            for preset in group
        ]
        typer.echo(json.dumps(values, indent=2, ensure_ascii=False))
        return
    if not any(found.values()):
        raise UsageError(f"no preset matches {' and '.join(repr(word) for word in words or [])}")
    for kind, group in found.items():
        if group:
            width = max(len(preset.name) for preset in group)
            typer.echo(kind)
            for preset in group:
                typer.echo(f"  {preset.name:{width}}  {preset.summary}")


@presets.command("show", cls=Verb)
def show_preset(
    name: Annotated[
        str,
        Argument(
            metavar="NAME",
            help="A name that `presets list` prints.",
            autocompletion=names_in(
                "models", "encoders", "served", "cards", "calibration", "environments"
            ),
        ),
    ],
) -> None:
    """Show a preset as the YAML file that it is.

    Example: vacc-gen presets show falcon-7b
    """
    from vacc_gen import presets

    kind, known = presets.locate(name)
    typer.echo(presets.SHELVES[kind].text(known), nl=False)


@presets.command("config", cls=Verb)
def config_of_encoder(
    name: Annotated[
        str, Argument(metavar="NAME", help="A text encoder.", autocompletion=names_in("encoders"))
    ],
    precision: Annotated[Literal["fp16", "int8"] | None, Option(help="[default: fp16]")] = None,
    length: Annotated[
        int | None,
        Option(
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
    from vacc_gen.generator.emit.files import sections
    from vacc_gen.generator.plan import encoder_config

    typer.echo(sections(encoder_config(presets.ENCODERS.find(name), precision, length)), nl=False)


def _matches(kind: str, preset: Any, words: list[str]) -> bool:
    """Whether every word is in the kind, the name, the summary, the family or the repository."""
    fields = ("name", "summary", "family", "huggingface_id")
    text = " ".join([kind, *(str(getattr(preset, field, "")) for field in fields)]).casefold()
    return all(word.casefold() in text for word in words)
