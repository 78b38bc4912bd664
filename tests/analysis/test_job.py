"""What a job brings along, for those that say nothing of their own."""

import pickle
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
import pytest

from analysis.finding import Arrays
from analysis.job import Job, WrongOption, by_model
from analysis.subject import Subject
from tests.analysis.filters.test_naming import SMALL, make_subject
from trainables.errors import UserError

SUBJECT = make_subject(SMALL)


@dataclass(frozen=True)
class Count(Job):
    """Counts images."""

    name: ClassVar[str] = "count"

    most: int = 6

    def check(self, subject: Subject) -> None:
        if len(subject.images) > self.most:
            raise UserError("too many")

    def whole(self, subject: Subject) -> Arrays:
        return {"count": np.array(len(subject.images))}


def test_a_job_is_one_part_of_one_model_and_its_fields_are_its_options():
    assert Count().parts(SUBJECT) == 1
    assert Count().compute(SUBJECT, 0) == {"count": 6}
    assert Count.together is False
    assert asdict(Count()) == {"most": 6}


def test_parts_are_counted_only_where_the_subject_passes_the_check():
    with pytest.raises(UserError, match="too many"):
        Count(most=5).parts(SUBJECT)


def test_there_is_no_second_part():
    with pytest.raises(ValueError, match="count is a single part, but number 1 is asked for"):
        Count().compute(SUBJECT, 1)


def test_what_a_job_must_define_is_not_made_up():
    for undefined in (lambda: Job().whole(SUBJECT), lambda: Count().finding([SUBJECT], [])):
        with pytest.raises(NotImplementedError):
            undefined()


def test_a_wrong_option_is_the_users_mistake_and_comes_whole_from_another_process():
    error = pickle.loads(pickle.dumps(WrongOption("no layer 'x'")))  # noqa: S301
    assert isinstance(error, WrongOption)
    assert isinstance(error, UserError)
    assert str(error) == "no layer 'x'"


def test_parts_go_to_their_models_in_order():
    parts = [{"part": np.array(number)} for number in range(5)]
    assert by_model(parts, [2, 0, 3]) == [parts[:2], [], parts[2:]]
