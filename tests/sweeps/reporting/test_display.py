import io
from dataclasses import replace

import pytest
from rich.console import Console

from sweeps.decisions.acts import Act
from sweeps.decisions.agenda import Agenda, open_again
from sweeps.decisions.labels import span
from sweeps.decisions.status import Status
from sweeps.reporting import display
from sweeps.reporting.display import QUIET_SECONDS, Display, describe
from sweeps.study import Choice, Search, Space, Stage, Study
from tests.sweeps.outcomes import history, outcome, record, terms
from trainables.config import CNN, Training, Trial

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
    assert line.startswith("lr · 0 of 2 trials · 1 running · 1,000 images/s · at most ")
    watched.now += QUIET_SECONDS
    watched.display.progressed(task, 3, record(0.5))
    assert len(watched.lines()) == 1


def test_the_summary_counts_and_names_the_best(watched):
    first, second = watched.start(), watched.start()
    watched.agenda.ledger.restarted(first.key, "its process was lost")
    watched.end(first, 0.5, 0.6, 0.8, 0.7)
    watched.display.progressed(second, 1, record(0.9))
    summary = watched.display._summary().plain
    assert summary.startswith("lr · 1 of 2 trials · 1 done · 1 running · 1 restart · 1,000 images/s · at most ")
    assert summary.endswith("best so far 70.0 % (lr: 0.1)")  # of the trials that ran in full
    watched.end(second, 0.3)
    assert watched.display._summary().plain.startswith("2 of 2 trials · 1 done · 1 stopped early · 1 restart · ")


def test_the_question_of_a_stage_is_said_once_as_it_begins():
    watched = Watched(replace(STUDY, stages=(replace(STUDY.stages[0], question="How fast?"),))).begin()
    first, second = watched.start(), watched.start()
    assert watched.lines() == ["lr: How fast?"]
    assert (first.name, second.name) == ("lr: 0.1", "lr: 0.2")


@pytest.mark.parametrize(
    ("scores", "reason", "said"),
    [
        ([0.5] * 4, None, "lr: 0.1: \x1b[32mdone\x1b[0m, 4 epochs: validation 50.0 %, test 50.0 %"),
        ([0.5], None, "lr: 0.1: \x1b[33mstopped early\x1b[0m after 1 of 4 epochs: validation 50.0 %, test 50.0 %"),
        ([0.5], "Diverged: nan", "lr: 0.1: \x1b[31mfailed\x1b[0m: Diverged: nan"),
    ],
)
def test_an_end_has_the_colour_that_the_terminal_gives_it(scores, reason, said, watched):
    task = watched.start()
    watched.display.console = Console(file=watched.text, force_terminal=True, color_system="standard", _environ={})
    watched.end(task, *scores, reason=reason)
    assert watched.lines() == [said]


def test_a_trial_of_a_search_is_screened_first_and_then_confirmed():
    search = Search(
        "find", Space({"training.lr": Choice((0.1,))}), trials=1, sampler="random", rule="none", confirm=1, seeds=2
    )
    watched = Watched(Study("s", BASE, (search,))).begin()
    first = watched.start()
    watched.end(first, 0.5, 0.6, 0.8, 0.7)
    again = watched.start()
    assert (again.key, again.seeds) == (first.key, (1, 2))
    watched.display.ended(again, outcome("#0", [0.5] * 4, [0.7] * 4))
    assert watched.lines() == [
        "find: #0: screened, 4 epochs: validation 70.0 %, test 50.0 %",
        "find: #0: confirmed with 2 seeds, 4 epochs: validation 60.0 %, test 50.0 %",
    ]


def test_of_a_grid_the_time_left_is_the_most_and_of_a_search_an_estimate(watched):
    assert watched.display._time_left().plain == ""  # before the first epoch nobody knows
    task = watched.start()
    watched.now += 10
    watched.display.progressed(task, 1, record(0.5))
    assert watched.display._time_left().plain == "at most 70 s left"  # three epochs, and four of the other
    search = Search("find", Space({"training.lr": Choice((0.1, 0.2))}), trials=2, sampler="random", rule="none")
    searching = Watched(Study("s", BASE, (search,))).begin()
    task = searching.start()
    watched.now += 10
    searching.display.progressed(task, 1, record(0.5))
    searching.agenda.goes_on(task.key, 1, 0.5)
    # three epochs, and four of the other; then both race with three seeds, and one of them is let go after an epoch
    assert searching.display._time_left().plain == f"about {span(10 * (3 + 4 + 3 * (2 + 3)))} left"


def test_the_panel_shows_each_trial_at_work(watched):
    first, second = watched.start(), watched.start()
    watched.display.progressed(first, 2, record(0.75, loss=1.23456))
    console = Console(file=watched.text, width=200)
    console.print(watched.display._panel())
    by_trial = {line.split(":")[0] + line.split(":")[1][:4]: line.split() for line in watched.lines() if ": 0." in line}
    assert by_trial["lr 0.1"][2:] == ["2/4", "1.235", "75.0", "%", "1,000"]
    assert by_trial["lr 0.2"][2:] == ["0/4"]
    assert watched.lines()[0].strip(" ━╸").startswith("0 of 2 trials · at most ")
    assert watched.lines()[0].endswith(" left · 1,000 images/s")
    assert watched.lines()[1].strip() == "lr · 2 running"
    assert second.name == "lr: 0.2"


def test_the_panel_shows_how_many_workers_train_a_trial_until_it_starts_again(watched):
    task = watched.start()

    def shown():
        console = Console(file=(text := io.StringIO()), width=200)
        console.print(watched.display._panel())
        return [line.split("  ")[0] for line in text.getvalue().splitlines() if line.startswith("lr: 0.1")]

    assert shown() == ["lr: 0.1"]
    watched.display.shared(task, 3)
    assert shown() == ["lr: 0.1 (3 workers)"]
    watched.display.started(task)
    assert shown() == ["lr: 0.1"]


def test_in_a_terminal_the_panel_is_drawn_and_taken_away():
    text = io.StringIO()
    shown = Display(Agenda(STUDY, terms(), lambda _: None), Console(file=text, force_terminal=True, width=80))
    with shown:
        assert shown.live.is_started
    assert not shown.live.is_started
    assert "0 of 2 trials" in text.getvalue()


def test_a_terminal_that_can_only_print_gets_lines(watched, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    watched.display = Display(watched.agenda, Console(file=watched.text, force_terminal=True, width=200))
    with watched.display as shown:
        assert not shown.live.is_started
        watched.now += QUIET_SECONDS + 1
        shown.progressed(watched.start(), 1, record(0.5))
    [line] = watched.lines()
    assert line.startswith("lr · 0 of 2 trials · 1 running")


@pytest.mark.parametrize(("loss", "said"), [(0.12345, "0.123"), (999.0, "999.000"), (2629467904.0, "2.6e+09")])
def test_a_loss_that_is_far_off_takes_no_more_room(loss, said, watched):
    watched.display.progressed(watched.start(), 1, record(0.5, loss=loss))
    Console(file=watched.text, width=200).print(watched.display._panel())
    assert f" {said} " in watched.lines()[-1]


@pytest.mark.parametrize("width", [80, 140])
def test_each_line_of_the_panel_has_room_in_a_terminal(width, watched):
    first, second = watched.start(), watched.start()
    watched.agenda.ledger.restarted(second.key, "its process was lost")
    watched.end(first, *[0.5] * 4)
    watched.display.console = Console(file=watched.text, width=width)
    watched.display.progressed(second, 1, record(0.75))
    watched.display.console.print(watched.display._panel())
    assert len(watched.lines()) == 1 + 4  # the end of the first, then bar, counts, and a table of one


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
    assert describe(replace(done, status=Status.DROPPED, reason="maria")) == "dropped: maria"


def test_what_somebody_asked_for_is_a_line_with_its_answer(watched):
    watched.display.steered(Act("drop", "lr: 0.1", "maria", "too slow", time=0.0), "lr: 0.1 is dropped")
    assert watched.lines() == ["drop lr: 0.1 (maria, 1970-01-01 00:00 UTC: too slow): lr: 0.1 is dropped"]


def test_an_act_that_closes_the_agenda_is_why_until_one_opens_it_and_what_goes_on_leaves_nothing(watched):
    watched.agenda.close()
    watched.display.steered(Act("pause", "", "maria", time=0.0), "it waits")
    assert watched.display.closing == "pause (maria, 1970-01-01 00:00 UTC)"
    open_again(watched.agenda)
    watched.display.steered(Act("resume", "", "maria", time=0.0), "it goes on")
    assert watched.display.closing is None
    watched.agenda.close()
    watched.display.steered(Act("seeds", "3", "maria", time=0.0), "3 seeds", goes_on=True)
    before = watched.lines()
    watched.display.__exit__()
    assert watched.lines() == before
    watched.display.steered(Act("stop", "", "maria", time=0.0), "it ends")
    watched.display.__exit__()
    assert watched.lines()[-1].startswith("left: ")


def test_at_its_bound_a_command_says_which_and_what_is_left(watched):
    first, second = watched.start(), watched.start()
    watched.now += 10
    watched.display.progressed(first, 1, record(0.5))
    watched.display.closed("the budget (2 epochs) is spent")
    watched.agenda.close()
    for task in (first, second):
        watched.agenda.lay_aside(task.key, history([0.5]))
        watched.display.laid_aside(task)
    watched.display.__exit__()
    assert watched.lines() == [
        "the budget (2 epochs) is spent; what is under way ends with its epoch",
        "left: 2 trials with at most 6 epochs, at most 60 s; the same command goes on from here",
    ]


def test_where_nothing_was_trained_nobody_knows_how_long_the_rest_takes(watched):
    watched.display.__exit__()
    assert watched.lines() == []  # nothing is said of one that is not closed
    watched.agenda.close()
    watched.display.__exit__()
    assert watched.lines() == ["left: 2 trials with at most 8 epochs; the same command goes on from here"]


def test_a_trial_that_waited_goes_on_where_it_was(watched):
    task = watched.start()
    watched.display.progressed(task, 3, record(0.5))
    watched.display.laid_aside(task)
    assert watched.display.running == {}
    watched.display.started(task)
    assert watched.display.running == {task.key: (task, 3, record(0.5))}
