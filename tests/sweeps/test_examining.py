from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from sweeps.examining import known, questions, sections, winners
from tests.sweeps.reporting.materials import material, over
from trainables.errors import UserError


@dataclass(frozen=True)
class Job:
    together: bool


class Store:
    def __init__(self, trials):
        self.known = trials

    def trials(self, keys):
        return {key: trial for key, trial in self.known.items() if key in keys}


def test_the_winners_are_those_of_the_stages_and_one_that_is_lost_is_named():
    agenda = over()
    keys = {result.winner.outcome.key for result in agenda.results}
    found = winners(Store(dict.fromkeys([*agenda.outcomes], "trial")), agenda)
    assert found.keys() == keys
    assert winners(Store({}), over(())) == {}
    gone = min(keys)
    with pytest.raises(UserError, match=rf"^MLflow has lost the runs of {gone[:12]}$"):
        winners(Store(dict.fromkeys(keys - {gone}, "trial")), agenda)


def test_a_job_asks_the_best_trial_and_one_that_compares_all_winners():
    found = material()
    trials = {result.winner.outcome.key: SimpleNamespace(key=result.stage.name) for result in found.agenda.results}
    asked = questions(found.agenda, [Job(together=True), Job(together=False)], trials)
    assert [[trial.key for trial in question.trials] for question in asked] == [["width"], ["depth", "width"]]
    assert questions(found.agenda, [], trials) == []
    assert questions(over(()), [Job(together=False)], {}) == []


def test_where_nothing_is_asked_nothing_is_known(tmp_path):
    assert known([], Store({}), tmp_path, print) == []
    assert sections([]) == []
