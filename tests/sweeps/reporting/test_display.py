import io
from dataclasses import replace

import pytest
from rich.console import Console

from sweeps.decisions.agenda import Agenda
from sweeps.decisions.status import Status
from sweeps.reporting import display
from sweeps.reporting.display import QUIET_SECONDS, Display, describe, span
from sweeps.study import Choice, Search, Space, Stage, Study
from tests.sweeps.outcomes import history, outcome, record, terms
from trainables.config import CNN, Training, Trial
from trainables.plan import flops, plan

BASE = Trial(model=CNN(conv_layers=1, channels=4, fc_layers=1), training=Training(epochs=4))
STUDY = Study("s", BASE, (Stage("lr", {"training.lr": (0.1, 0.2)}),))


class Watched:
    """A display of a study, on a console that is not a terminal, with a clock of its own."""

    def __init__(self, study=STUDY):
        self.now, self.text = 100.0, io.StringIO()
        self.agenda = Agenda(study, terms(early_stopping=False), lambda _: None)
        self.study = study

    def begin(self):
        self.display = Display(self.agenda, Console(file=self.text, width=200))
        return self

    def start(self):
        task = self.agenda.next()
        self.display.started(task)
        return task

    def end(self, task, *scores, reason=None):
        self.display.ended(task, self.agenda.finish(task.key, history(list(scores)), reason=reason))
        self.agenda.advance()

    def lines(self):
        return self.text.getvalue().splitlines()


@pytest.fixture
def watched(monkeypatch):
    watched = Watched()
    monkeypatch.setattr(display.time, "monotonic", lambda: watched.now)
    return watched.begin()


def test_every_end_and_every_restart_is_a_line(watched):
    first, second = watched.start(), watched.start()
    watched.display.noted(first, "steps are not captured")
    watched.display.restarted(first, "its process was lost", 1, 2)
    watched.end(first, 0.5, 0.6, 0.8, 0.7)
    watched.end(second, 0.3, reason="Diverged: nan")
    assert watched.lines() == [
        "warning: lr: 0.1: steps are not captured",
        "lr: 0.1: its process was lost; it starts again from its last snapshot (1 of at most 2)",
        "lr: 0.1: done, 4 epochs: validation 70.0 %, test 50.0 %",
        "lr: 0.2: failed: Diverged: nan",
    ]


def test_a_trial_that_waits_runs_no_more_and_is_not_announced(watched):
    task = watched.start()
    watched.display.laid_aside(task)
    assert watched.display.running == {}
    assert watched.lines() == []


def test_without_a_terminal_it_is_never_quiet_for_long_and_never_chatty(watched):
    task = watched.start()
    watched.now += QUIET_SECONDS
    watched.display.progressed(task, 1, record(0.5))
    assert watched.lines() == []
    watched.now += 1
    watched.display.progressed(task, 2, record(0.5))
    [line] = watched.lines()
    assert line.startswith("lr · 0 done · 1 running · 0 censored · 0 failed · 1,000 images/s · at most ")
    watched.now += QUIET_SECONDS
    watched.display.progressed(task, 3, record(0.5))
    assert len(watched.lines()) == 1


def test_the_summary_counts_and_names_the_best(watched):
    first, second = watched.start(), watched.start()
    watched.agenda.restarted(first.key, "its process was lost")
    watched.end(first, 0.5, 0.6, 0.8, 0.7)
    watched.display.progressed(second, 1, record(0.9))
    summary = watched.display._summary()
    assert summary.startswith("lr · 1 done · 1 running · 0 censored · 0 failed · 1 restarts · 1,000 images/s · ")
    assert summary.endswith("best so far 70.0 % (0.1)")  # of the trials that ran in full
    watched.end(second, 0.3)
    assert "1 done · 0 running · 1 censored · 0 failed" in watched.display._summary()


def test_the_time_left_is_what_the_work_ahead_takes_at_the_pace_so_far(watched):
    assert watched.display._time_left() == ""  # before the first epoch nobody knows
    task = watched.start()
    watched.now += 10
    watched.display.progressed(task, 1, record(0.5))
    assert watched.display._time_left() == "at most 70 s left"  # three epochs of it and four of the other, 10 s each
    watched.now += 10
    watched.display.progressed(task, 2, record(0.5))
    assert watched.display._time_left() == "at most 60 s left"
    watched.end(task, *[0.5] * 4)
    other = watched.start()
    watched.now += 5
    watched.display.progressed(other, 1, record(0.5))
    assert watched.display._time_left() == f"at most {25 / 3 * 3:.0f} s left"  # three epochs in 25 s; three are ahead


def test_the_time_left_weighs_trials_by_their_work(monkeypatch):
    watched = Watched(replace(STUDY, stages=(Stage("width", {"model.channels": (4, 16)}),)))
    monkeypatch.setattr(display.time, "monotonic", lambda: watched.now)
    watched.begin()
    task = watched.start()
    watched.now += 10
    watched.display.progressed(task, 1, record(0.5))
    small, large = (
        flops(plan(BASE.with_values({"model.channels": width}).model, (3, 32, 32), 10)) for width in (4, 16)
    )
    assert watched.display._time_left() == f"at most {span(10 * (3 + 4 * large / small))} left"


def test_a_trial_that_goes_on_has_only_the_rest_ahead(watched):
    task = replace(watched.agenda.next(), known=None)
    watched.display.running[task.key] = (task, 3, None)
    watched.display.worked, watched.now = watched.display._work(BASE), 110.0
    assert watched.display._time_left() == "at most 50 s left"  # one epoch of it, and four of the other


def test_nobody_knows_how_long_a_search_takes():
    search = Search("find", Space({"training.lr": Choice((0.1, 0.2))}), trials=2, sampler="random")
    watched = Watched(Study("s", BASE, (search,))).begin()
    watched.display.progressed(watched.start(), 1, record(0.5))
    assert watched.display._time_left() == ""


def test_the_panel_shows_each_trial_at_work(watched):
    first, second = watched.start(), watched.start()
    watched.display.progressed(first, 2, record(0.75, loss=1.23456))
    console = Console(file=watched.text, width=200)
    console.print(watched.display._panel())
    by_trial = {line.split(":")[0] + line.split(":")[1][:4]: line.split() for line in watched.lines() if ": 0." in line}
    assert by_trial["lr 0.1"][2:] == ["2/4", "1.235", "75.0", "%", "1,000"]
    assert by_trial["lr 0.2"][2:] == ["0/4"]
    assert second.name == "lr: 0.2"


def test_in_a_terminal_the_panel_is_drawn_and_taken_away():
    text = io.StringIO()
    shown = Display(Agenda(STUDY, terms(), lambda _: None), Console(file=text, force_terminal=True, width=80))
    with shown:
        assert shown.live.is_started
    assert not shown.live.is_started
    assert "0 done" in text.getvalue()


def test_a_terminal_that_can_only_print_gets_lines(watched, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    watched.display = Display(watched.agenda, Console(file=watched.text, force_terminal=True, width=200))
    with watched.display as shown:
        assert not shown.live.is_started
        watched.now += QUIET_SECONDS + 1
        shown.progressed(watched.start(), 1, record(0.5))
    [line] = watched.lines()
    assert line.startswith("lr · 0 done · 1 running")


@pytest.mark.parametrize("width", [1, 2, 10])
def test_the_panel_fits_any_terminal(watched, width):
    shown = Display(watched.agenda, Console(file=watched.text, force_terminal=True, width=width))
    with shown:
        shown.started(watched.agenda.next())
        shown.live.refresh()
    assert watched.lines()


def test_an_outcome_in_a_line():
    done = outcome("a", [0.5, 0.7], [0.6, 0.4])
    assert describe(done) == "done, 2 epochs: validation 65.0 %, test 50.0 %"
    assert describe(replace(done, status=Status.CENSORED)) == (
        f"stopped early after 2 of {done.cell.trial.training.epochs} epochs: validation 65.0 %, test 50.0 %"
    )
    assert describe(outcome("a", [0.5], status="failed")) == "failed: it broke"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(5.4, "5 s"), (89, "89 s"), (90, "2 min"), (600, "10 min"), (5399, "1 h 30"), (5300, "88 min"), (7500, "2 h 05")],
)
def test_durations_are_said_as_people_say_them(seconds, said):
    assert span(seconds) == said
