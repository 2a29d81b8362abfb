"""Which texts int8 quantization is calibrated on, and how windows are cut from them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vacc_gen.schema.strict import Strict

Split = Literal["train", "validation", "dev", "val", "test"]
Packing = Literal["concatenate", "one_text"]


class TextSource(Strict):
    """Texts of one set: of c4, ceval or alpaca as published, or of your own files."""

    set: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="name of a set (see presets/calibration), or a name of your own for .txt, "
        ".jsonl and .json files",
    )
    path: str = Field(
        min_length=1,
        description="the set's file or folder, absolute or relative to vacc.yaml",
    )
    split: Split | None = Field(
        default=None,
        description="c4: train, validation; ceval: val, dev, test; unset: the first of these",
    )
    subjects: tuple[str, ...] = Field(
        default=(), description="C-Eval subjects to read, such as law; unset: all"
    )
    weight: float = Field(
        default=1.0,
        gt=0,
        allow_inf_nan=False,
        description="share of the windows, in proportion to the weights of the other sets",
    )


class Calibration(TextSource):
    """The texts and how they are drawn.

    Without `mix` this is the `dataset` block of a compile config. The compiler reads one set; the
    sets of `mix` reach the embedded backend alone.
    """

    samples: int = Field(default=128, ge=1, description="windows to draw (`nsamples`)")
    seqlen: int = Field(ge=1, description="length of a window in tokens")
    seed: int = Field(default=0, ge=0, description="decides which texts are drawn, and their order")
    packing: Packing = Field(
        default="concatenate",
        description="concatenate: texts run on, an end-of-text token after each; one_text: a "
        "window is cut from one text, shorter texts are passed over; never padded",
    )
    mix: tuple[TextSource, ...] = Field(
        default=(), description="further sets to draw from, on the embedded backend"
    )

    @property
    def sources(self) -> tuple[TextSource, ...]:
        """Every set that windows are drawn from, the main one first."""
        return (self, *self.mix)
