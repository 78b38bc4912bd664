from dataclasses import replace

import pytest

from sweeps.decisions.agenda import Agenda, searches, take_as_it_stands, under_way
from sweeps.decisions.outcome import Yardstick
from sweeps.decisions.records import Drawn, Known
from sweeps.study import Choice, Search, Space, Stage, Study, Whole
from tests.sweeps.outcomes import expected, history, terms
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
    assert agenda.tasks[key].known.run_id == "run"


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


FIND = Search(
    "find",
    Space({"model.conv_layers": Choice((1, 2)), "training.batch_size": Choice((16, 32))}),
    trials=2,
    sampler="grid",
    confirm=1,
    seeds=1,
)
BESIDE = Stage("beside", {"training.lr": (0.1, 0.2)}, start=BASE)


def agenda_of(*stages, drawn=None, known=None, decided=None, look_up=lambda _: {}, **how):
    study = Study("s", BASE, stages)
    return Agenda(study, terms(**how), lambda _: None, known, drawn, decided, look_up=look_up)


def end(agenda, task, *scores, reason=None):
    outcome = agenda.finish(task.key, history(list(scores)), reason=reason)
    agenda.advance()
    return outcome


def test_a_trial_that_is_put_back_is_next_and_stays_alone_once_it_must_be():
    agenda = Driver().agenda
    first, second = agenda.next(), agenda.next()
    agenda.put_back(first.key)
    agenda.put_back(second.key, alone=True)
    assert agenda.tasks[second.key].alone
    assert agenda.ready(alone=True) == 1
    assert agenda.next(alone=True).key == second.key
    assert (agenda.ready(alone=True), agenda.next(alone=True)) == (0, None)
    agenda.put_back(second.key)
    assert second.cell.trial in expected(agenda)
    assert agenda.next(alone=True) == agenda.tasks[second.key]
    assert agenda.tasks[second.key].alone
    assert agenda.next() == first


def test_as_many_trials_are_ready_as_can_be_given_out_one_after_another():
    agenda = Driver().agenda
    given = 0
    while ready := agenda.ready():
        assert agenda.next() is not None
        given += 1
        assert agenda.ready() == ready - 1
    assert (given, agenda.next()) == (len(agenda.tasks), None)


def test_restarts_are_counted_by_trial_and_kept_with_its_outcome():
    agenda = Driver().agenda
    first, second = agenda.next(), agenda.next()
    assert [agenda.ledger.restarted(first.key, why) for why in ("a node was lost", "out of memory")] == [1, 2]
    assert agenda.ledger.restarted(second.key, "a node was lost") == 1
    assert agenda.restarts == {first.key: ["a node was lost", "out of memory"], second.key: ["a node was lost"]}
    assert end(agenda, first, 0.5, 0.6).restarts == ("a node was lost", "out of memory")


def test_a_trial_ends_as_done_or_censored_or_failed():
    agenda = Driver().agenda
    tasks = [agenda.next() for _ in range(3)]
    ends = [
        end(agenda, tasks[0], 0.5, 0.6),
        end(agenda, tasks[1], 0.5),
        end(agenda, tasks[2], 0.5, 0.6, reason="it broke"),
    ]
    assert [outcome.status for outcome in ends] == ["done", "censored", "failed"]
    assert {task.key: outcome for task, outcome in zip(tasks, ends, strict=True)} == agenda.outcomes
    assert agenda.failed == [ends[2]]


@pytest.mark.parametrize(
    ("early_stopping", "rule", "may"), [(True, "asha", True), (True, "behind", False), (False, "asha", False)]
)
def test_asha_may_stop_a_grids_trials_where_it_is_asked_for_and_a_searchs_never(early_stopping, rule, may):
    agenda = agenda_of(BESIDE, early_stopping=early_stopping, rule=rule)
    assert agenda.may_be_stopped(agenda.next().key) is may
    agenda = agenda_of(FIND, early_stopping=early_stopping, rule=rule)
    assert agenda.may_be_stopped(agenda.next().key) is False


def test_a_searchs_rule_says_which_trial_goes_on_and_a_grids_all_do():
    agenda = agenda_of(FIND)
    task = agenda.next()
    assert agenda.goes_on(task.key, 1, 0.5) is False  # by ASHA, with nothing to compare it with
    end(agenda, task, 0.5)
    second = agenda.next()
    assert agenda.goes_on(second.key, 1, 0.4) is False
    agenda = agenda_of(BESIDE)
    assert agenda.goes_on(agenda.next().key, 1, 0.0) is True


LONG = BASE.with_values({"training.epochs": 8})
ROWS = Stage("rows", {"training.lr": (0.1, 0.2, 0.3, 0.4)}, start=LONG)


def reach(agenda, scores, after=0):
    """Run the next trial up to the end of `scores`; return its task, and whether it goes on."""
    task = agenda.next()
    return task, [agenda.goes_on(task.key, epoch, score) for epoch, score in enumerate(scores, start=after + 1)][-1]


def lay_aside(agenda, scores):
    task, goes_on = reach(agenda, scores)
    assert not goes_on
    assert agenda.waits(task.key)
    agenda.lay_aside(task.key, history(list(scores)))
    return task


def test_a_grids_trials_wait_for_each_other_and_the_best_run_on_first():
    agenda = agenda_of(ROWS)
    second, third = lay_aside(agenda, (0.8, 0.8, 0.8)), lay_aside(agenda, (0.7, 0.7, 0.7))
    first = lay_aside(agenda, (0.8, 0.8, 0.85))
    assert agenda.ready() == 4
    assert len(expected(agenda)) == 4
    assert not {first.key, second.key, third.key} & agenda.outcomes.keys()
    last, goes_on = reach(agenda, (0.81, 0.81, 0.81))
    assert (goes_on, agenda.waits(last.key)) == (False, True)  # nobody is to start, but the third shows more
    agenda.lay_aside(last.key, history([0.81] * 3))
    assert agenda.let_go() == [third.key]
    assert agenda.outcomes[third.key].status == "censored"
    assert agenda.outcomes[third.key].history == history([0.7, 0.7, 0.7])
    assert [agenda.next() for _ in range(4)] == [first, last, second, None]
    assert agenda.ready() == 0
    for task in (first, last, second):
        assert agenda.goes_on(task.key, 4, 0.8)
        end(agenda, task, *[0.8] * 8)
    assert agenda.over
    [result] = agenda.results
    assert [outcome.status for outcome in result.outcomes] == ["done", "censored", "done", "done"]
    assert [each["decision"] for each in agenda.decisions["rows"] if each["decision"] != "note"] == (
        ["wait"] * 4 + ["drop"] + ["due"] * 3
    )


def test_a_grids_trial_that_fails_while_it_waits_waits_no_longer():
    agenda = agenda_of(ROWS)
    task, _ = reach(agenda, (0.8, 0.8, 0.8))
    assert agenda.waits(task.key)
    assert end(agenda, task, 0.8, 0.8, 0.8, reason="it broke").status == "failed"
    assert not agenda.waits(task.key)
    assert agenda.ready() == 3


@pytest.mark.parametrize("how", [{"early_stopping": False}, {"rule": "asha"}])
def test_where_the_stage_is_not_to_decide_all_its_trials_go_on_and_nothing_is_recorded(how):
    agenda = agenda_of(ROWS, **how)
    assert [reach(agenda, scores)[1] for scores in ([0.8] * 3, [0.8] * 3, [0.1] * 3)] == [True] * 3
    assert agenda.decisions == {}


def test_without_a_formula_for_the_images_noise_nothing_stops():
    by = replace(terms(), yardstick=Yardstick("mAP", 1000))
    agenda = Agenda(Study("s", BASE, (ROWS,)), by, lambda _: None)
    assert [reach(agenda, scores)[1] for scores in ([0.8] * 3, [0.8] * 3, [0.1] * 3)] == [True] * 3


def test_a_start_that_goes_on_knows_what_stored_trials_had_reached():
    keys = [task.key for task in agenda_of(ROWS).ledger.queue]
    known = {
        keys[0]: Known("done", history([0.8] * 8), "run"),
        keys[1]: Known("interrupted", history([0.81] * 5), "run"),
        keys[2]: Known("interrupted", history([0.3] * 4), "run"),
    }
    agenda = agenda_of(ROWS, known=known, decided={"rows": [{"decision": "note"}]})
    given = [agenda.next() for _ in range(3)]
    assert [task.key for task in given] == [keys[3], keys[2], keys[1]]  # with the most left first
    fourth, third, second = given
    assert agenda.goes_on(third.key, 4, 0.3)  # it has had this one already
    assert not agenda.goes_on(third.key, 5, 0.3)
    assert not agenda.waits(third.key)
    assert [agenda.goes_on(fourth.key, epoch, 0.3) for epoch in (1, 2, 3)] == [True, True, False]
    assert agenda.goes_on(second.key, 6, 0.81)
    kinds = [each["decision"] for each in agenda.decisions["rows"]]
    assert kinds == ["note", "resumed", "known", "known", "known", "note", "drop", *["note"] * 3, "drop", "note"]


def test_with_more_seeds_than_before_a_stored_trial_is_judged_anew():
    keys = [task.key for task in agenda_of(ROWS).ledger.queue]
    agenda = agenda_of(ROWS, known={keys[0]: Known("done", history([0.8] * 8), "run")}, seeds=(0, 1))
    task = agenda.ledger.queue.pop()
    assert task.known
    assert [agenda.goes_on(task.key, epoch, 0.7) for epoch in (1, 2, 3)] == [True, True, False]
    assert agenda.waits(task.key)


def test_a_search_goes_on_from_what_was_drawn_and_stands_alone():
    """#0 is known and one of two is drawn; the stage beside the search opens when that is decided."""
    values = {"model.conv_layers": 2, "training.batch_size": 32}
    key = BASE.with_values(values).key({})
    known = {key: Known("censored", history([0.5]), "run")}
    agenda = agenda_of(FIND, BESIDE, drawn={"find": [Drawn(key, 0, 0, values)], "beside": []}, known=known)
    assert agenda.reused == [key]
    ran = []
    while not agenda.over:
        task = agenda.next()
        ran.append((task.stage, task.cell.label))
        agenda.finish(task.key, history([0.4, 0.6], [0.4, 0.6]))
        agenda.advance()
    assert ran == [("find", "#1"), ("beside", "0.1"), ("beside", "0.2")]
    assert [result.stage.name for result in agenda.results] == ["find", "beside"]


def searched_and_followed(look_up) -> tuple[Agenda, list]:
    """A search that draws depths 1 to 3, then kernels of 3 and 7, which three layers cannot have; and what ran."""
    find = Search("find", Space({"model.conv_layers": Whole(1, 3)}), trials=5, confirm=1, seeds=1, rule="none")
    agenda = agenda_of(find, Stage("kernel", {"model.kernel": (3, 7)}), look_up=look_up)
    ran = []
    while not agenda.over:
        if task := agenda.next():  # there is none where the search finds that its space is used up
            ran.append(task)
            score = 0.1 * task.cell.trial.model.conv_layers
            agenda.finish(task.key, history([score] * 2, [score] * 2))
            agenda.advance()
    return agenda, ran


def test_what_follows_a_search_starts_from_its_winner_and_the_search_draws_nothing_that_it_could_not_start_from():
    _, ran = searched_and_followed(lambda _: {})
    assert {task.cell.trial.model.conv_layers for task in ran if task.stage == "find"} == {1, 2}
    assert [task.cell.trial.model for task in ran if task.stage == "kernel"] == [
        replace(BASE.model, conv_layers=2, kernel=7)
    ]  # the other one is the winner itself, which has run


def test_the_store_is_asked_once_for_what_follows_a_search_and_what_it_has_is_not_run_again():
    asked = []

    def look_up(keys):
        asked.append(set(keys))
        return dict.fromkeys(keys, Known("done", history([0.9, 0.9]), "theirs"))

    agenda, ran = searched_and_followed(look_up)
    key = BASE.with_values({"model.conv_layers": 2, "model.kernel": 7}).key({})
    assert asked == [{key}]
    assert {task.stage for task in ran} == {"find"}
    assert agenda.reused == [key]
    assert agenda.results[1].winner.outcome.key == key


def test_a_stage_that_is_open_holds_up_a_search():
    agenda = agenda_of(BESIDE, Search("find", FIND.space, trials=1, confirm=1, seeds=1, start=BASE))
    first, second = agenda.next(), agenda.next()
    assert agenda.next() is None
    end(agenda, first, 0.5, 0.5)
    assert agenda.next() is None
    end(agenda, second, 0.5, 0.5)
    assert agenda.next().stage == "find"


def test_results_come_in_the_studys_order_whichever_is_decided_first():
    driver = Driver()
    tasks = [driver.agenda.next() for _ in range(3)]
    for task in reversed(tasks):
        driver.end(task, history([0.5, 0.5]))
    assert driver.decided[:2] == ["own", "depth"]
    assert [result.stage.name for result in driver.agenda.results] == ["depth", "own"]


def test_that_a_searchs_trial_diverges_is_a_finding_and_a_grids_is_a_failure():
    agenda = agenda_of(FIND)
    end(agenda, agenda.next(), reason="Diverged: the loss became nan")
    assert agenda.failed == []
    end(agenda, agenda.next(), reason="it broke")
    assert [outcome.reason for outcome in agenda.failed] == ["it broke"]
    assert agenda.over
    reasons = [outcome.reason for outcome in agenda.results[0].outcomes]
    assert reasons == ["Diverged: the loss became nan", "it broke"]
    agenda = agenda_of(BESIDE)
    end(agenda, agenda.next(), reason="Diverged: the loss became nan")
    assert len(agenda.failed) == 1


def test_a_search_whose_space_is_used_up_is_over_without_another_trial():
    few = Search("find", Space({"model.conv_layers": Choice((1, 2))}), trials=5, sampler="grid", rule="none", seeds=1)
    agenda = agenda_of(few)
    for _ in range(2):
        end(agenda, agenda.next(), 0.5, 0.5)
    assert not agenda.over
    for _ in range(2):  # both are confirmed
        agenda.finish(agenda.next().key, history([0.5, 0.5], [0.5, 0.5]))
        agenda.advance()
    assert agenda.next() is None
    assert agenda.over
    assert len(agenda.results[0].outcomes) == 2


def test_what_is_still_ahead_is_the_queue_and_the_trials_of_stages_to_come():
    """Those of depth and own are queued; of width and pooling the baseline's are foreseen, each once."""
    agenda = Driver().agenda

    def ahead():
        return [(trial.model.conv_layers, trial.model.channels, trial.model.pooling) for trial in expected(agenda)]

    narrow, wide = (4, 8), (8, 16)
    to_come = [(2, wide, "max"), (2, narrow, "none")]
    assert ahead() == [(1, narrow, "max"), (2, narrow, "max"), (2, narrow, "max"), *to_come]
    tasks = [agenda.next() for _ in range(3)]
    assert ahead() == to_come
    for task in tasks[:2]:
        end(agenda, task, 0.5, 0.5 + task.cell.trial.model.conv_layers / 10)
    # depth 2 won; width 4-8 and pooling max have run as it, and the others are queued
    assert ahead() == [(2, narrow, "none"), (2, wide, "max")]
    for _ in range(2):
        end(agenda, agenda.next(), 0.1, 0.1)
    assert ahead() == []
    assert not agenda.over


def test_what_is_ahead_is_asked_for_with_every_epoch_and_works_no_key_out_again(monkeypatch):
    agenda = Driver().agenda
    ahead = expected(agenda)
    monkeypatch.setattr(Trial, "key", None)
    assert expected(agenda) == ahead


def test_skipped_stages_are_not_ahead():
    agenda = Driver().agenda
    first, second, own = (agenda.next() for _ in range(3))
    for task in (first, second):
        end(agenda, task, reason="it broke")
    assert expected(agenda) == []
    end(agenda, own, 0.5, 0.5)
    assert agenda.over


def test_what_a_search_will_draw_is_not_among_what_is_expected():
    agenda = agenda_of(FIND, BESIDE)
    assert len(expected(agenda)) == len(BESIDE.vary["training.lr"])
    [(stage, run)] = searches(agenda)
    assert stage.name == "find"
    assert run is not None
    while not agenda.over:
        task = agenda.next()
        if task.stage == "beside":
            assert [trial.training.lr for trial in expected(agenda)] == [0.2]
            break
        agenda.finish(task.key, history([0.5, 0.6], [0.5, 0.6]))
        agenda.advance()


def test_it_is_told_when_trials_have_ended_with_the_stages_as_they_then_stand():
    seen = []

    def look():
        results, open_ones = agenda.results, under_way(agenda)
        seen.append(([each.stage.name for each in results], [(e.stage.name, len(e.outcomes)) for e in open_ones]))

    agenda = Agenda(STUDY, terms(), lambda _: None, on_end=look)
    assert seen == []
    for score in (0.5, 0.6):  # the two of depth
        agenda.finish(agenda.next().key, history([score] * 2))
        agenda.advance()
    agenda.advance()  # without news nothing is told
    assert seen[0] == ([], [("depth", 1), ("own", 0)])
    assert seen[1][0] == ["depth"]
    assert len(seen) == 2
    assert all(each.winner is None for each in under_way(agenda))


def test_what_failed_before_is_kept_as_it_was_where_nothing_is_to_be_run():
    first = Agenda(STUDY, terms(), lambda _: None)
    task = first.next()
    known = {task.key: Known("failed", history([0.5]), "run", "it broke")}
    agenda = Agenda(STUDY, terms(), lambda _: None, known)
    assert task.key not in agenda.outcomes
    take_as_it_stands(agenda)
    found = agenda.outcomes[task.key]
    assert (found.status, found.reason, found.history.epochs) == ("failed", "it broke", 1)
    assert agenda.next().key != task.key
