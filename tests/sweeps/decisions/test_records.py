from dataclasses import replace

from sweeps.decisions.outcome import Yardstick
from sweeps.decisions.records import Drawn, Known, StageResult, Task, Terms, stage_winners
from sweeps.decisions.stages import Cell, Stage
from sweeps.decisions.status import Status
from sweeps.decisions.winner import choose
from tests.sweeps.outcomes import outcome, terms
from trainables.config import Trial
from trainables.history import History

DRAWN = Drawn("key", 3, 5, {"model.channels": (16, 32), "training.lr": 0.1, "model.pooling": None})


def test_a_task_is_named_by_stage_and_cell():
    assert Task("depth", Cell("3", (3,), Trial()), "key", None, (0,)).name == "depth: 3"


def test_a_searchs_draw_is_kept_in_tags_and_a_grids_trial_has_none():
    cell = Cell("#3", (3,), Trial())
    assert Task("find", cell, "key", None, (0,), drawn=DRAWN).tags == {
        "number": "3",
        "attempt": "5",
        "draw": '{"model.channels": [16, 32], "training.lr": 0.1, "model.pooling": null}',
    }
    assert Task("find", cell, "key", None, (0,)).tags == {}


def test_a_key_depends_on_the_contents_of_the_data():
    one = terms()
    other = replace(one, contents={"cifar10": "another digest"})
    assert one.key(Trial()) == Trial().key({})
    assert one.key(Trial()) != other.key(Trial())


def test_what_holds_unless_said_otherwise():
    assert Terms((0,), {}, Yardstick("accuracy", 10), (3, 8, 8), 10).early_stopping is True
    assert Known(Status.DONE, History({}), "run").reason is None
    task = Task("depth", Cell("3", (3,), Trial()), "key", None, (0,))
    assert task.alone is False
    assert task.drawn is None
    result = StageResult(Stage("depth"))
    assert (result.outcomes, result.winner, result.skipped) == ((), None, None)


def test_winners_go_by_their_stage_and_a_stage_without_one_is_left_out():
    outcomes = (outcome("a", [0.5]), outcome("b", [0.7]))
    won = StageResult(Stage("lr", {"training.lr": (0.1, 0.2)}), outcomes, choose(outcomes, Yardstick("accuracy", 100)))
    none = StageResult(Stage("width", {"model.channels": (4,)}), skipped="stage lr has no winner to start from")
    assert stage_winners([won, none]) == {"lr": outcomes[1]}


def test_a_trial_s_key_is_its_own_however_it_is_asked_for():
    found = terms()
    for rate in (1, 1.0, 0.1, 1):
        trial = Trial().with_values({"training.lr": rate})
        assert found.key(trial) == found.key(trial) == trial.key({})
    assert replace(found, contents={trial.dataset: "d1ge57"}).key(trial) == trial.key({trial.dataset: "d1ge57"})
