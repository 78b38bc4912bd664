"""What an analysis is: a job with options, done on one trained model or on several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

from analysis.finding import Arrays, Finding
from trainables.errors import UserError

if TYPE_CHECKING:  # imports torch
    from analysis.subject import Subject


class WrongOption(UserError):
    """An option names what this model or data does not have: a layer, a filter, an image.

    A job that simply cannot be done there (filters of a network without convolutions) raises a plain UserError.
    """


@dataclass(frozen=True)
class Job:
    """An analysis: a frozen dataclass whose fields are its options, in steps that may run in different processes.

    check() refuses what cannot be done; compute() does the heavy part on one model, in parts that do not depend on each
    other; finding() puts the parts together. Most jobs are a single part and define whole(); one in several defines
    parts() and compute(). A job that is `together` looks at several models side by side, any other at one.
    """

    name: ClassVar[str]
    together: ClassVar[bool] = False
    edition: ClassVar[int] = 1  # raised where its findings come to say more, or other, than stored ones of before

    def check(self, subject: Subject) -> None:
        """Raise UserError, in one line, where the job cannot be done on this model or data."""

    def parts(self, subject: Subject) -> int:
        """Check the subject and return the number of parts."""
        self.check(subject)
        return 1

    def compute(self, subject: Subject, part: int) -> Arrays:
        """Compute part number `part`, from 0, of a subject that was checked."""
        if part != 0:
            raise ValueError(f"{self.name} is a single part, but number {part} is asked for")
        return self.whole(subject)

    def whole(self, subject: Subject) -> Arrays:
        """Compute everything, where it is a single part."""
        raise NotImplementedError

    def finding(self, subjects: Sequence[Subject], computed: Sequence[Arrays]) -> Finding:
        """Put together what compute() returned: in the order of the parts, or of the models."""
        raise NotImplementedError


def by_model(computed: Sequence[Arrays], parts: Sequence[int]) -> list[list[Arrays]]:
    """Return what finding() gets as a list of each model's parts, of which there are so many."""
    rest = iter(computed)
    return [list(islice(rest, count)) for count in parts]
