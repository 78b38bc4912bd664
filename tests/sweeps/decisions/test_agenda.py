import pytest

from sweeps.decisions.agenda import Agenda
from sweeps.decisions.records import Known
from sweeps.study import Stage, Study
from tests.sweeps.outcomes import history, terms
from trainables.config import CNN, Training, Trial

BASE = Trial(model=CNN(conv_layers=2, channels=(4, 8)), training=Training(epochs=2))
STUDY = Study(
    "s",
    BASE,
    (
        Stage("depth", {"model.conv_layers": (1, 2)}),
        Stage("width", {"model.channels": ((4, 8), (8, 16))}),
        Stage("pooling", {"model.pooling": ("max", "none")}, start="depth"),
        Stage("curve", start="width"),
        Stage("own", {"model.fc_layers": (1,)}, start=BASE),
    ),
)


class Driver:
    """Runs an agenda by hand: every trial ends with the validation accuracy that `score` gives it."""

    def __init__(self, known=None, seeds=(0,), early_stopping=True, study=STUDY):
        self.decided = []
        self.agenda = Agenda(study, terms(seeds, early_stopping=early_stopping), self.note, known)
        self.ran = []

    def note(self, result):
        self.decided.append(result.stage.name)

    def end(self, task, history, reason=None):
        self.agenda.finish(task.key, history, reason=reason)
        self.agenda.advance()

    def run(self, score, epochs=2):
        while not self.agenda.over:
            task = self.agenda.next()
            assert task is not None, "nothing to run, yet not over"
            self.ran.append(task.name)
            self.end(task, history(*[[score(task.cell.trial)] * epochs for _ in self.agenda.terms.seeds]))
        return self


def deep_and_wide(trial):
    return (
        trial.model.conv_layers / 10
        + trial.model.spread("channels")[0] / 100
        + (0 if trial.model.pooling == "max" else -0.05)
    )


def test_stages_inherit_winners_and_equal_trials_run_once():
    driver = Driver().run(deep_and_wide)
    # width 4-8 is depth 2; pooling max too; the curve is the winner of width
    assert sorted(driver.ran) == sorted(["depth: 1", "depth: 2", "own: 1", "width: 8-16", "pooling: none"])
    results = {result.stage.name: result for result in driver.agenda.results}
    assert [o.cell.label for o in results["width"].outcomes] == ["4-8", "8-16"]
    assert results["width"].winner.outcome.cell.label == "8-16"
    assert results["curve"].outcomes[0].key == results["width"].winner.outcome.key
    assert results["pooling"].outcomes[0].key == results["depth"].winner.outcome.key


def test_stages_that_wait_for_nothing_are_open_from_the_start():
    agenda = Driver().agenda
    assert [agenda.next().name for _ in range(3)] == ["depth: 1", "depth: 2", "own: 1"]
    assert agenda.next() is None
    assert not agenda.over


def test_a_stage_is_decided_once_and_only_when_all_its_trials_have_ended():
    driver = Driver()
    first, second = driver.agenda.next(), driver.agenda.next()
    driver.end(second, history([0.5, 0.6]))
    assert driver.decided == []
    driver.end(first, history([0.5, 0.5]))
    assert driver.decided == ["depth"]


def test_what_the_store_has_is_not_run_again():
    first = Driver().run(deep_and_wide).agenda
    known = {key: Known("done", o.history, f"run-{key[:4]}") for key, o in first.outcomes.items()}
    again = Driver(known)
    assert again.agenda.over
    assert again.agenda.tasks == {}
    assert len(again.agenda.reused) == 5
    assert [r.winner.outcome.key for r in again.agenda.results] == [r.winner.outcome.key for r in first.results]


@pytest.mark.parametrize(("seeds", "epochs"), [((0, 1), 2), ((0,), 3)])
def test_more_seeds_or_epochs_go_on_from_what_is_known(seeds, epochs):
    first = Driver().run(deep_and_wide).agenda
    known = {key: Known("done", o.history, "run") for key, o in first.outcomes.items()}
    grown = Driver(known, seeds, study=STUDY.changed({"training.epochs": epochs})).run(deep_and_wide, epochs)
    assert len(grown.ran) == 5
    assert all(task.known.run_id == "run" for task in grown.agenda.tasks.values())


def test_fewer_epochs_and_seeds_read_only_what_they_would_have_seen():
    whole = history([0.1, 0.2, 0.9], [0.5, 0.5, 0.5])
    keys = [task.key for task in Driver().agenda.ledger.queue]
    agenda = Driver({key: Known("done", whole, "run") for key in keys}).agenda
    seen = agenda.outcomes[keys[0]].history
    assert (seen.seeds, seen.epochs) == ((0,), 2)


@pytest.mark.parametrize(("early_stopping", "runs"), [(True, 0), (False, 1)])
def test_what_was_stopped_early_stays_so_unless_asked_for(early_stopping, runs):
    study = Study("s", BASE, STUDY.stages[:1])
    first, second = (task.key for task in Driver(study=study).agenda.ledger.queue)
    known = {first: Known("censored", history([0.5]), "run"), second: Known("done", history([0.6, 0.6]), "run")}
    agenda = Driver(known, early_stopping=early_stopping, study=study).agenda
    assert len(agenda.ledger.queue) == runs
    if early_stopping:
        assert agenda.outcomes[first].status == "censored"
        assert agenda.results[0].winner.outcome.key == second


def test_an_interrupted_trial_is_run_on():
    key = Driver().agenda.ledger.queue[0].key
    agenda = Driver({key: Known("interrupted", history([0.5]), "run")}).agenda
    assert agenda.ledger.queue[0].known.run_id == "run"


def test_stages_without_a_winner_to_start_from_are_skipped_and_say_so():
    driver = Driver()
    for _ in range(3):
        driver.end(driver.agenda.next(), history(), "it broke")
    assert driver.agenda.over
    skipped = {result.stage.name: result.skipped for result in driver.agenda.results}
    assert skipped == {
        "depth": None,
        "own": None,
        "width": "stage depth has no winner to start from",
        "pooling": "stage depth has no winner to start from",
        "curve": "stage width has no winner to start from",
    }
    assert [outcome.reason for outcome in driver.agenda.failed] == ["it broke"] * 3
