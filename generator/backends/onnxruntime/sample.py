"""What models are compared on: a text, cut into a prompt and steps. Light: loads no library."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path

from vacc_gen.generator.backends.base import Build
from vacc_gen.generator.calibration.tokenizer import Tokenizer
from vacc_gen.generator.emit.modeling import SOURCE_FOLDER
from vacc_gen.schema.errors import StageError, UnreadableError
from vacc_gen.schema.recipe import Recipe

TEXT_FILE = "verification.txt"
"""Colossians 4 and 1 Thessalonians 1 and 2, King James Version: public domain."""

MAX_PROMPT_TOKENS = 128
"""Enough to tell models apart; a longer prompt costs the reference more than it shows."""


@dataclass(frozen=True)
class Sample:
    """The tokens that models are compared on."""

    ids: tuple[int, ...]
    """The prompt, then one token for each decode step, then the one that the last step predicts."""
    prompt_tokens: int

    @cached_property
    def prompt_lengths(self) -> tuple[int, ...]:
        """Prompts that are tried: half of it, and all of it."""
        return tuple(sorted({max(1, self.prompt_tokens // 2), self.prompt_tokens}))

    @property
    def prompt(self) -> tuple[int, ...]:
        """The whole prompt."""
        return self.ids[: self.prompt_tokens]

    @property
    def steps(self) -> int:
        """Tokens that are decoded one by one."""
        return len(self.ids) - self.prompt_tokens - 1


def text_of(recipe: Recipe, root: Path) -> bytes:
    """The text that the recipe names, or the one that ships.

    Raises:
        UnreadableError: the file cannot be read or is not UTF-8.
    """
    named = recipe.verification.text
    if named is None:
        return files(__package__).joinpath(TEXT_FILE).read_bytes()
    path = root / named
    try:
        text = path.read_bytes()
        text.decode()
    except OSError as error:
        raise UnreadableError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnreadableError(f"{path} is not UTF-8 text: {error}") from error
    return text


def sample_text(build: Build) -> Sample:
    """Cut the verification text into a prompt and decode steps that fit the recipe's lengths.

    Raises:
        UnreadableError: the text cannot be read.
        StageError: the text, or the lengths, leave no room for the decode steps.
    """
    recipe = build.plan.recipe
    steps = recipe.verification.decode_steps
    ids = Tokenizer(build.weights.path / "tokenizer.json").encode(text_of(recipe, build.root))
    room = recipe.target.total - steps
    if room < 1:
        raise StageError(
            f"target.total, {recipe.target.total} tokens, has no room for a prompt and "
            f"{steps} decode steps",
            "raise target.total, or lower verification.decode_steps (32 at least)",
        )
    if len(ids) < steps + 2:
        raise StageError(
            f"the verification text has {len(ids)} tokens, {steps} decode steps need {steps + 2}",
            "name a longer one as verification.text in vacc.yaml",
        )
    prompt = min(recipe.target.prefill, MAX_PROMPT_TOKENS, room, len(ids) - steps - 1)
    return Sample(tuple(ids[: prompt + steps + 1]), prompt)


def modeling_file_of(build: Build) -> Path:
    """The workspace's modeling file, which is the torch model to compare with."""
    generated = next(source for source in build.plan.preset.sources if source.generated)
    return build.root / SOURCE_FOLDER / generated.name
