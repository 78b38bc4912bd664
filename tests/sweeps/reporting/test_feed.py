import io
import json
import math

import pytest
from rich.console import Console

from sweeps.decisions.agenda import Agenda
from sweeps.decisions.planning import plan_study
from sweeps.reporting.display import Display
from sweeps.reporting.feed import Feed
from sweeps.study import Choice, Search, Space, Stage, Study
from tests.sweeps.outcomes import history, record, terms
from trainables.config import CNN, Training, Trial

BASE = Trial("shapes", CNN(conv_layers=1, channels=4, fc_layers=1), Training(epochs=2))
STUDY = Study("s", BASE, (Stage("lr", {"training.lr": (0.1, 0.2)}),))


@pytest.fixture
def lines():
    return []


@pytest.fixture
def feed(lines):
    return Feed(lines.append)


def events(lines):
    """Return the events of lines, each of which is one."""
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)
    return list(map(json.loads, lines))


def test_what_is_to_run_is_told_first(feed, lines, tmp_path):
    search = Search("find", Space({"training.lr": Choice((0.1, 0.2, 0.3))}), trials=3, sampler="random", start=BASE)
    study = Study("s", BASE, (Stage("lr", {"training.lr": (0.1, 0.2)}), search))
    feed.begin(study, plan_study(study, (3, 32, 32), 10), 2, tmp_path / "report.html", "sqlite:///m.db")
    assert events(lines) == [
        {
            "event": "begin",
            "version": 1,
            "study": "s",
            "dataset": "shapes",
            "stages": ["lr", "find"],
            "trials": 2 + 3,
            "epochs": 2,
            "seeds": 2,
            "report": str(tmp_path / "report.html"),
            "mlflow": "sqlite:///m.db",
        }
    ]


def test_a_trial_from_its_start_to_its_stage_s_decision(feed, lines):
    agenda = Agenda(STUDY, terms((0, 1), early_stopping=False), feed.decided)
    display = Display(agenda, Console(file=io.StringIO()), feed)
    first, second = agenda.next(), agenda.next()
    display.started(first)
    display.progressed(first, 1, record(0.5, loss=math.nan))
    display.noted(first, "steps are not captured")
    display.restarted(first, "its process was lost", 1, 2)
    display.started(first)
    display.ended(first, agenda.finish(first.key, history([0.5, 0.6], [0.5, 0.8])))
    display.ended(second, agenda.finish(second.key, history(), reason="Diverged: nan"))
    agenda.advance()
    validation = {"mean": pytest.approx(0.7), "sd": pytest.approx(0.2 / math.sqrt(2)), "n": 2}
    test = {"mean": 0.5, "sd": 0.0, "n": 2}
    begun = {"key": first.key, "trial": "lr: 0.1", "stage": "lr", "value": "0.1", "epochs": 2, "seeds": [0, 1]}
    assert events(lines) == [
        {"event": "started", **begun, "known": 0},
        {
            "event": "epoch",
            "key": first.key,
            "epoch": 1,
            "seed": 0,
            "train_loss": None,  # JSON has no NaN
            "validation": 0.5,
            "images_per_second": 1000.0,
        },
        {"event": "warning", "key": first.key, "text": "steps are not captured"},
        {"event": "restarted", "key": first.key, "reason": "its process was lost", "times": 1},
        {"event": "started", **begun, "known": 1},
        {
            "event": "ended",
            "key": first.key,
            "trial": "lr: 0.1",
            "status": "done",
            "epochs": 2,
            "validation": validation,
            "test": test,
            "reason": None,
        },
        {
            "event": "ended",
            "key": second.key,
            "trial": "lr: 0.2",
            "status": "failed",
            "epochs": 0,
            "validation": None,
            "test": None,
            "reason": "Diverged: nan",
        },
        {
            "event": "decided",
            "stage": "lr",
            "winner": {"value": "0.1", "key": first.key, "validation": validation, "test": test},
            "may_be_best": [],  # nothing is known of the images
            "skipped": None,
        },
    ]


def test_a_bound_and_what_is_left_beyond_it(feed, lines):
    agenda = Agenda(STUDY, terms(early_stopping=False), feed.decided)
    with Display(agenda, Console(file=io.StringIO()), feed) as display:
        task = agenda.next()
        display.started(task)
        display.closed("the budget (1 epoch) is spent")
        agenda.close()
        agenda.lay_aside(task.key, history([0.5]))
        display.laid_aside(task)
    assert events(lines)[1:] == [
        {"event": "closed", "reason": "the budget (1 epoch) is spent"},
        {"event": "paused", "key": task.key},
        {"event": "left", "trials": 2, "epochs": 3, "seconds": None},
    ]


def test_without_a_program_nothing_is_written(capsys):
    Feed().tell("end", study="s")
    assert capsys.readouterr() == ("", "")
