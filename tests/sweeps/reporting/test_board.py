import io
import json
import math
import time

import pytest
from rich.console import Console

from sweeps.decisions.agenda import Agenda
from sweeps.reporting import board
from sweeps.reporting.board import Board
from sweeps.reporting.display import Display
from sweeps.study import Stage, Study
from tests.sweeps.outcomes import history, record, terms
from trainables.config import CNN, Training, Trial
from trainables.memory import Usage

BASE = Trial("shapes", CNN(conv_layers=1, channels=4, fc_layers=1), Training(epochs=4))
STUDY = Study("s", BASE, (Stage("lr", {"training.lr": (0.1, 0.2, 0.3, 0.4)}),), question="Which rate?")


@pytest.fixture
def display():
    return Display(Agenda(STUDY, terms((0, 1), early_stopping=False), lambda _: None), Console(file=io.StringIO()))


@pytest.fixture
def looked(display, tmp_path):
    return Board(display, tmp_path, "trials run on the CPU", 0.25)


def test_a_state_has_all_that_a_command_knows_of_itself(display, looked):
    agenda = display.agenda
    first, second, third = (agenda.next() for _ in range(3))
    for task in (first, second, third):
        display.started(task)
    display.progressed(second, 2, record(0.5, loss=math.nan), Usage("node1", 10**9, 2 * 10**9))
    display.shared(second, 2)
    display.noted(second, "steps are not captured")
    agenda.ledger.restarted(second.key, "its process was lost")
    display.ended(first, agenda.finish(first.key, history([0.5] * 4, [0.7] * 4)))
    agenda.lay_aside(third.key, history([0.5], [0.5]))
    display.laid_aside(third)
    display.closed("the budget (9 epochs) is spent")
    state = looked.state()
    assert time.time() - state.pop("written") < 10
    assert state.pop("process") > 0
    assert state.pop("seconds_left") > 0
    assert state.pop("trials") == {"done": 1, "total": 4, "share": pytest.approx((1 + 2 / 4 + 1 / 4) / 4)}
    assert state == {
        "version": 1,
        "study": "s",
        "question": "Which rate?",
        "over": False,
        "where": "trials run on the CPU",
        "stages": {"decided": [], "open": ["lr"]},
        "ended": {"done": 1},
        "waiting": 1,
        "paused": 1,
        "best": {"trial": "lr: 0.1", "validation": pytest.approx(0.6)},
        "running": [
            {
                "key": second.key,
                "trial": "lr: 0.2",
                "epoch": 2,
                "epochs": 4,
                "seeds": 2,
                "workers": 2,
                "train_loss": None,  # JSON has no NaN
                "validation": 0.5,
                "images_per_second": 1000.0,
                "host": "node1",
                "memory": 10**9,
                "gpu": 0.25,
                "gpu_memory": 2 * 10**9,
            }
        ],
        "restarts": ["lr: 0.2: its process was lost"],
        "warnings": ["lr: 0.2: steps are not captured"],
        "closed": "the budget (9 epochs) is spent",
        "traffic": [],
    }


def test_before_the_first_epoch_numbers_are_missing(display, looked):
    display.started(display.agenda.next())
    state = looked.state()
    assert (state["seconds_left"], state["best"]) == (None, None)
    [trial] = state["running"]
    unknown = ("train_loss", "validation", "images_per_second", "host", "memory", "gpu_memory")
    assert [trial[name] for name in unknown] == [None] * 6


def test_only_the_newest_warnings_are_kept(display, looked):
    task = display.agenda.next()
    for number in range(50):
        display.noted(task, str(number))
    assert looked.state()["warnings"] == [f"lr: 0.1: {number}" for number in range(30, 50)]


def test_the_file_is_written_while_the_command_runs_and_once_more_at_its_end(looked, tmp_path, monkeypatch):
    monkeypatch.setattr(board, "PERIOD", 0.01)
    with looked:
        until = time.monotonic() + 20
        while not (tmp_path / "live.json").exists() and time.monotonic() < until:
            time.sleep(0.01)
        assert json.loads((tmp_path / "live.json").read_text())["over"] is False
    assert json.loads((tmp_path / "live.json").read_text())["over"] is True
    assert [each.name for each in tmp_path.iterdir()] == ["live.json"]


def test_a_folder_that_takes_nothing_stops_nothing(display, tmp_path):
    with Board(display, tmp_path / "none", "", 0.0):
        pass
