"""Questions asked one by one, back and forth: what was answered, and what it comes to."""

from __future__ import annotations

from vacc_gen.generator.new.choices import Choices
from vacc_gen.generator.new.draft import Draft, make_draft
from vacc_gen.generator.new.question import Question
from vacc_gen.generator.new.wizard import FROM_CHECKPOINT, QUESTIONS
from vacc_gen.schema.errors import VaccGenError


class Interview:
    """Where one stands among the questions.

    Answers that differ from the default are kept when one goes back, and offered again.
    """

    def __init__(self, given: Choices | None = None) -> None:
        """Start before the first question; what `given` holds is offered where it is asked for."""
        given = given or Choices()
        found = {question.name: question.given(given) for question in QUESTIONS}
        self._given = {name: str(answer) for name, answer in found.items() if answer is not None}
        start = Choices(name=given.name, align_qkv=given.align_qkv)
        self._trail: list[tuple[int, str, Choices, Draft | None]] = [(-1, "", start, None)]

    @property
    def draft(self) -> Draft | None:
        """What the answers so far come to; None before there is a model."""
        return self._trail[-1][3]

    @property
    def question(self) -> Question | None:
        """The question that is open; None where all are answered."""
        index = self._next_index()
        return None if index is None else QUESTIONS[index]

    @property
    def answered(self) -> list[tuple[str, str]]:
        """The questions' names with their answers, in order."""
        pairs = [(QUESTIONS[index].name, answer) for index, answer, *_ in self._trail[1:]]
        if self.draft is not None and pairs[0][1] == FROM_CHECKPOINT:
            pairs[0] = (pairs[0][0], f"{self.draft.decision.preset.name}, {FROM_CHECKPOINT}")
        return pairs

    def suggestion(self) -> str:
        """Return the answer to offer: what was given before if that still holds, or the default."""
        question = self._open_question()
        given = self._given.get(question.name)
        if given is not None:
            try:
                self.check(given)
            except VaccGenError:
                pass
            else:
                return given
        return question.default(self.draft)

    def check(self, answer: str) -> Draft | None:
        """Return what the answers would come to with this one.

        Raises:
            VaccGenError: the answer cannot be.
        """
        return self._tried(answer)[1]

    def answer(self, answer: str) -> None:
        """Take an answer and go on to the next question.

        Raises:
            VaccGenError: the answer cannot be; the question stays open.
        """
        choices, draft = self._tried(answer)
        index, question = self._next_index(), self._open_question()
        assert index is not None
        if answer == question.default(self.draft):
            self._given.pop(question.name, None)
        else:
            self._given[question.name] = answer
        self._trail.append((index, answer, choices, draft))

    def back(self) -> bool:
        """Open the question before; False where there is none."""
        if len(self._trail) == 1:
            return False
        self._trail.pop()
        return True

    def _tried(self, answer: str) -> tuple[Choices, Draft | None]:
        before = self._trail[-1][2]
        choices = self._open_question().choose(before, answer)
        if choices.model is None and choices.checkpoint is None:
            return choices, None
        draft = make_draft(choices)
        # What would have been decided without the answer is not said, so that the line stays short.
        if self.draft is not None and draft.decision == self.draft.decision:
            return before, self.draft
        return choices, draft

    def _open_question(self) -> Question:
        question = self.question
        assert question is not None, "all questions are answered"
        return question

    def _next_index(self) -> int | None:
        first = self._trail[-1][0] + 1
        return next(
            (
                index
                for index in range(first, len(QUESTIONS))
                if QUESTIONS[index].applies(self.draft)
            ),
            None,
        )
