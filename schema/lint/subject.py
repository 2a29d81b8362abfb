"""What a rule looks at: a repaired tree, its text, and what is known about the model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from vacc_gen.schema.lint.diagnostics import Fix, Severity
from vacc_gen.schema.lint.document import Document, Node, Problem, Span
from vacc_gen.schema.lint.migration import Migration

if TYPE_CHECKING:
    from vacc_gen.schema.packages import PinFacts


class Known(Protocol):
    """What is known beyond the files themselves."""

    def geometry(self, model: str) -> Mapping[str, Any] | None:
        """Return the sizes of a model, named by preset or Hugging Face name, or None.

        The keys are the fields of `schema.model.Geometry`.
        """

    def is_verified(self, model: str) -> bool:
        """Whether a model's sizes are sure; where they are not, a checkpoint's own win."""

    def names(self, shelf: str) -> Sequence[str]:
        """Return the names of all presets of a kind: models or cards; none where not known."""

    def die_memory_bytes(self, card: str) -> int | None:
        """Return the memory of one die of a card, or None."""

    def pin_facts(self) -> PinFacts:
        """Return what is known of packages beside each other, and of their wheels."""

    def environment_pins(self, preset: str) -> Sequence[str]:
        """Return the requirements of an environment preset; none where there is no such preset."""


class KnowsNothing:
    """For a check of files by themselves."""

    def geometry(self, model: str) -> Mapping[str, Any] | None:
        """Return None."""
        return None

    def is_verified(self, model: str) -> bool:
        """Return False."""
        return False

    def names(self, shelf: str) -> Sequence[str]:
        """Return nothing."""
        return ()

    def die_memory_bytes(self, card: str) -> int | None:
        """Return None."""
        return None

    def pin_facts(self) -> PinFacts:
        """Return no facts."""
        from vacc_gen.schema.packages import PinFacts

        return PinFacts()

    def environment_pins(self, preset: str) -> Sequence[str]:
        """Return no requirements."""
        return ()


class Finding(NamedTuple):
    """What a rule yields; `check` adds the rule's code and the path."""

    span: Span
    message: str
    hint: str | None = None
    fix: Fix | None = None
    severity: Severity | None = None  # instead of the rule's own


class Subject:
    """One file on its way through the rules. Values are None where absent or wrong already."""

    def __init__(self, document: Document, kind: str, known: Known) -> None:
        self.document = document
        self.kind = kind
        self.known = known
        self.problems: dict[str, list[Problem]] = {}
        self.migration: Migration | None = None  # what brought an older recipe up to date
        self._geometry: tuple[Mapping[str, Any] | None] | None = None

    def add_problems(self, problems: list[Problem]) -> None:
        """Take problems in, by kind."""
        for problem in problems:
            self.problems.setdefault(problem.kind, []).append(problem)

    def node(self, *steps: str | int) -> Node | None:
        """Return the node at a path, unless something on the way there is wrong already."""
        node = self.document.root
        for step in steps:
            if node is None or node.rejected:
                return None
            value = node.value
            if isinstance(value, dict):
                entry = value.get(step)
                node = entry.node if entry else None
            elif isinstance(value, list) and isinstance(step, int) and step < len(value):
                node = value[step]
            else:
                return None
        return None if node is None or node.rejected else node

    def get(self, *steps: str | int) -> Any:
        """Return the plain value at a path, or None."""
        node = self.node(*steps)
        return None if node is None else node.plain()

    def has(self, *steps: str | int) -> bool:
        """Whether something stands at a path, right or wrong."""
        return self.document.node(*steps) is not None

    def lacks(self, *steps: str | int) -> bool:
        """Whether surely nothing stands at a path, nor was meant to.

        What is absent from a mapping that could not be read as a whole may be meant to be there.
        """
        node = self.document.root
        for step in steps:
            if node is None:
                return True
            if node.rejected or node.partial:
                return False
            node = Document.below(node, step)
        return node is None

    def is_sound(self, *steps: str | int) -> bool:
        """Whether reading and the structural check found nothing wrong at a path or below it."""
        node = self.document.node(*steps)
        if node is not None and node.holds_rejected():
            return False
        return not any(
            problem.facts.get("steps", ())[: len(steps)] == steps
            for problems in self.problems.values()
            for problem in problems
            if "steps" in problem.facts
        )

    def span(self, *steps: str | int) -> Span:
        """Return where the value at a path stands; without one, its section's key."""
        node = self.document.node(*steps)
        if node is not None:
            return node.span
        return self.key_span(*steps[:-1])

    def key_span(self, *steps: str | int) -> Span:
        """Return where the key of a path stands; where it is absent, the nearest section's key."""
        while steps:
            parent = self.document.node(*steps[:-1])
            if parent is not None and isinstance(parent.value, dict) and steps[-1] in parent.value:
                entry = parent.value[steps[-1]]
                return entry.key_span  # type: ignore[no-any-return]
            if parent is not None and isinstance(steps[-1], int):
                return self.span(*steps)
            steps = steps[:-1]
        return self.document.span_at(0, len(self.document.lines[0]))

    def items(self, *steps: str | int) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the mappings of a list with their positions, without entries that are wrong."""
        node = self.node(*steps)
        if node is None or not isinstance(node.value, list):
            return
        for index, item in enumerate(node.value):
            if isinstance(item.value, dict) and not item.rejected:
                yield (
                    index,
                    {
                        key: entry.node.plain()
                        for key, entry in item.value.items()
                        if not entry.node.rejected
                    },
                )

    @property
    def folder(self) -> Path:
        """The folder that relative paths of the file start from.

        The compile configs of a workspace are compiled there, not in `build`; other configs are
        compiled where their author chose, which is best guessed to be their own folder.
        """
        folder = Path(self.document.path).parent
        in_workspace = self.kind != "recipe" and folder.name == "build"
        if in_workspace and os.path.exists(folder.parent / "vacc.yaml"):  # noqa: PTH110  # no error
            return folder.parent
        return folder

    @property
    def geometry(self) -> Mapping[str, Any] | None:
        """The model's sizes: from the checkpoint if it is there, else a preset's, else None."""
        if self._geometry is None:
            from vacc_gen.schema.checkpoint_facts import geometry_of

            steps = ("model", "checkpoint") if self.kind == "recipe" else ("frontend", "checkpoint")
            checkpoint = self.get(*steps)
            found = None
            if isinstance(checkpoint, str):
                found = geometry_of(self.folder / checkpoint)
                names = [self.get("model", "preset"), checkpoint.rstrip("/").rsplit("/", 1)[-1]]
                for name in names:
                    found = found or (self.known.geometry(name) if name else None)
            self._geometry = (found,)
        return self._geometry[0]
