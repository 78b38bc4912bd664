import io
import re
import threading
from dataclasses import asdict

import pytest
from rich.console import Console

from sweeps import steer
from sweeps.tracking import acts, helm
from sweeps.tracking.helm import Helm
from sweeps.tracking.lease import Lease
from trainables.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(helm, "PERIOD", 0.02)
    monkeypatch.setattr(steer, "LOOKS_EVERY", 0.02)


def run(store, *arguments):
    console = Console(file=io.StringIO(), width=200)
    assert steer.run([*arguments, "--tracking-uri", store.uri], console) == 0
    return console.file.getvalue()


class Driver:
    """Answers what is asked for as a command that runs the study would."""

    def __init__(self, store, study, answer, effect):
        self.lease, self.helm = Lease(store, study, print).held(), Helm(store, study, [], print)
        self.answer, self.effect, self.asked = answer, effect, []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.follow)

    def follow(self):
        while not self.over.wait(0.01):
            for act in self.helm.asked():
                self.asked.append(act)
                self.helm.answer(act, self.answer, self.effect)

    def __enter__(self):
        self.lease.__enter__()
        self.helm.__enter__()
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.over.set()
        self.thread.join()
        self.helm.__exit__(*exception)
        self.lease.__exit__(*exception)


def test_an_act_is_asked_for_and_its_answer_printed(store):
    with Driver(store, "depth_quick", "lr: 0.1 is dropped", {"dropped": "abcd"}) as driver:
        said = run(store, "depth", "drop", "lr:", "0.1", "--reason", "too slow")
    assert said == "depth_quick: drop lr: 0.1: lr: 0.1 is dropped\n"
    [act] = driver.asked
    known = {"what": "drop", "argument": "lr: 0.1", "reason": "too slow"}
    assert {name: value for name, value in asdict(act).items() if name in known} == known
    assert [each.answer for each in acts.read(store, store.experiment_id("depth_quick"))] == ["lr: 0.1 is dropped"]


def test_what_is_refused_is_a_user_s_mistake(store):
    refused = Driver(store, "depth", "not done: it is paused already", None)
    with refused, pytest.raises(UserError, match="pause: not done: it is paused already"):
        run(store, "depth", "pause")


def test_two_who_ask_at_once_both_get_an_answer(store):
    said = []
    with Driver(store, "depth", "done", {}) as driver:
        both = [threading.Thread(target=lambda: said.append(run(store, "depth", "stop"))) for _ in range(2)]
        for each in both:
            each.start()
        for each in both:
            each.join()
    assert said == ["depth: stop: done\n"] * 2
    assert len({act.id for act in driver.asked}) == 2


def test_a_study_that_nobody_runs_cannot_be_steered(store):
    experiment = store.experiment_id("depth")
    with pytest.raises(UserError, match="depth is not being run now: no command could take that up"):
        run(store, "depth", "stop")
    assert acts.read(store, experiment) == []


def test_what_nobody_answers_is_withdrawn(store, monkeypatch):
    monkeypatch.setattr(steer, "WAITS", 0.1)
    with Lease(store, "depth", print).held(), pytest.raises(UserError, match="no answer within 0 s, so stop is asked"):
        run(store, "depth", "stop")
    assert acts.read(store, store.experiment_id("depth")) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["depht", "stop"], "has no study 'depht'; did you mean 'depth'?"),
        (["depth", "halt"], "'halt' is not an act; known: stop, pause"),
        (["depth", "seeds", "-1"], "seeds is '-1', but must be a whole number"),
        (["depth", "seeds", "x"], "seeds is 'x', but must be a whole number from 1 to 1,000,000"),
    ],
)
def test_a_mistake_is_a_line(arguments, said, store):
    store.experiment_id("depth")
    with pytest.raises(UserError, match=re.escape(said)):
        run(store, *arguments)
