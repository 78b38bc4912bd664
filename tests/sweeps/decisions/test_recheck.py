"""Studies run by hand, by scores that are made up, and what their recheck then does."""

from dataclasses import replace

import pytest

from sweeps.decisions.agenda import Agenda
from sweeps.decisions.planning import plan_study
from sweeps.decisions.recheck import final_winner
from sweeps.decisions.records import Known
from sweeps.decisions.stages import FINAL, RECHECK, Cell
from sweeps.study import Choice, Search, Space, Stage, Study
from tests.sweeps.outcomes import draws, expected, history, record, terms
from trainables.config import CNN, Training, Trial
from trainables.history import History
from trainables.marks import Marks, Right

BASE = Trial(model=CNN(conv_layers=2, channels=(4, 8), fc_layers=1), training=Training(epochs=1))
DEPTH = Stage("depth", {"model.conv_layers": (1, 2)})
WIDTH = Stage("width", {"model.channels": ((4, 8), (8, 16), (16, 32))})
POOLING = Stage("pooling", {"model.pooling": ("max", "none")}, start="depth")
OWN = Stage("own", {"model.stride": (1, 2)}, start=BASE.with_values({"training.lr": 0.5}))
STUDY = Study("s", BASE, (DEPTH, WIDTH, POOLING, Stage("curve", start="width"), OWN), recheck=True)
SHAPE = (3, 32, 32)


def score(trial: Trial) -> float:
    """The deeper, the wider and the pooled is the better; a study's own base is the best of all."""
    model = trial.model
    own = 0.3 if trial.training.lr == 0.5 else 0
    return 0.3 + model.conv_layers / 20 + model.spread("channels")[0] / 100 + (model.pooling == "max") / 25 + own


def planted(trial: Trial) -> float:
    """As `score`, but 16 channels are better with one layer than with two."""
    odd = trial.model.spread("channels")[0] == 16 and trial.model.conv_layers == 1
    return score(trial) + (0.2 if odd else 0)


class Course:
    """Runs a study's trials one after another, each with a score; `ends` has other ends, by the trial's name."""

    def __init__(self, study=STUDY, by=score, known=None, seeds=(0,), ends=None, stop_after=None):
        self.agenda = Agenda(study, terms(seeds, images=2000), lambda _: None, known)
        self.ran = []
        while not self.agenda.over and len(self.ran) != stop_after:
            task = self.agenda.next()
            self.ran.append(task.name)
            found, reason = (ends or {}).get(task.name, (marked(by(task.cell.trial), len(seeds)), None))
            self.agenda.finish(task.key, found, reason=reason)
            self.agenda.advance()
        self.results = {result.stage.name: result for result in self.agenda.results}

    @property
    def known(self):
        return {key: Known(each.status, each.history, "run") for key, each in self.agenda.outcomes.items()}

    @property
    def swaps(self):
        return [swap.cell.label for swap in self.results[RECHECK].stage.swaps]


def marked(found: float, seeds: int) -> History:
    rights = draws(found, seeds, number=round(1000 * found))
    records = {seed: (record(right.mean()),) for seed, right in enumerate(rights)}
    return History(records, {seed: Marks(1, Right.of(right), Right.of(right)) for seed, right in enumerate(rights)})


STOPPED = History({}), None
BROKEN = History({}), "it broke"


def test_at_last_the_final_winner_takes_the_second_best_value_of_each_stage_in_the_baselines_lineage():
    course = Course()
    rechecked = course.results[RECHECK]
    wide = BASE.with_values({"model.channels": (16, 32)})
    assert rechecked.start == wide
    assert rechecked.stage.winner == "depth 2, width 16-32"
    assert [outcome.cell for outcome in rechecked.outcomes] == [
        Cell(FINAL, (), wide),
        Cell("depth 1", (1,), wide.with_values({"model.conv_layers": 1})),
        Cell("width 8-16", ((8, 16),), wide.with_values({"model.channels": (8, 16)})),
        Cell("pooling none", ("none",), wide.with_values({"model.pooling": "none"})),
    ]
    assert rechecked.stage.left_out == ()
    # the second of the last stage has run there
    assert sorted(course.ran[-2:]) == ["recheck: depth 1", "recheck: pooling none"]
    assert list(course.results)[-1] == RECHECK


def test_without_a_recheck_nothing_more_is_run():
    assert not any("recheck" in name for name in Course(replace(STUDY, recheck=False)).ran)


def test_the_best_winner_is_the_final_one_unless_it_is_of_another_lineage_and_of_equals_the_last():
    course = Course()
    assert course.results["own"].winner.outcome.score > course.results["width"].winner.outcome.score
    found, winner = final_winner(STUDY, course.results)
    assert (found.stage.name, winner) == ("curve", course.results["curve"].winner)
    assert final_winner(STUDY.only(["own"]), course.results) is None


def test_a_baseline_that_nothing_beats_is_the_final_winner():
    stages = Stage("base"), Stage("lr", {"training.lr": (0.1, 0.2)}, start=BASE)
    course = Course(Study("s", BASE, stages, recheck=True), by=lambda trial: 0.7 - trial.training.lr)
    assert course.results[RECHECK].stage.winner == "the baseline"
    assert course.swaps == ["lr 0.1"]


def test_a_branch_that_did_not_lead_to_the_final_winner_is_tried_with_its_own():
    """Without pooling is better, but the final winner comes of the other branch, which pools."""
    course = Course(by=lambda trial: score(trial) + (0.06 if trial.model.pooling == "none" else 0))
    assert course.results["pooling"].winner.outcome.cell.label == "none"
    assert course.swaps == ["depth 1", "width 8-16", "pooling none"]


def test_a_value_that_makes_the_same_network_is_passed_over():
    """With one layer only the first number of channels counts."""
    one = BASE.with_values({"model.conv_layers": 1})
    width = Stage("width", {"model.channels": ((8, 8), (8, 16), (4, 8))})
    assert Course(Study("s", one, (width,), recheck=True)).swaps == ["width 4-8"]


def test_what_cannot_be_built_there_is_left_out_with_the_reason():
    """A window of 31 fits one layer, with which it was tried, but not the two of the other branch, which is better."""
    one = BASE.with_values({"model.conv_layers": 1})
    stages = Stage("kernel", {"model.kernel": (3, 31)}), Stage("depth", {"model.conv_layers": (1, 2)}, start=one)
    course = Course(Study("s", one, stages, recheck=True))
    [reason] = course.results[RECHECK].stage.left_out
    assert reason.startswith("kernel 31 (conv2 cannot be built: its 31×31 window does not fit the")
    assert course.swaps == ["depth 1"]


def test_so_is_a_value_that_does_not_go_with_those_of_the_final_winner():
    stages = DEPTH, Stage("pairs", {"model.convs_per_block": (1, 2)}, start=BASE)
    study = Study("s", BASE, stages, recheck=True)
    assert len(plan_study(study, SHAPE, 10)[-1].reachable) == 3  # of 2 × 2
    course = Course(study, by=lambda trial: score(trial) + trial.model.convs_per_block / 10)
    assert course.results[RECHECK].stage.left_out == (
        "depth 1 (conv_layers is 1, but must be a multiple of convs_per_block (2))",
    )
    assert course.swaps == ["pairs 1"]


@pytest.mark.parametrize("end", [STOPPED, BROKEN], ids=["stopped", "failed"])
def test_a_stage_none_of_whose_other_trials_ran_in_full_is_left_out(end):
    course = Course(ends={"depth: 1": end})
    assert course.results[RECHECK].stage.left_out == ("depth (no other value of it ran in full)",)
    assert course.swaps == ["width 8-16", "pooling none"]


def test_a_stage_that_was_skipped_is_left_out_and_without_any_winner_so_is_the_recheck():
    nothing = {"depth: 1": BROKEN, "depth: 2": BROKEN}
    course = Course(ends=nothing)
    assert course.results[RECHECK].skipped == "no stage that descends from the baseline has a winner"
    assert course.agenda.over
    first = Stage("first", {"training.lr": (0.1, 0.2)})
    second = Stage("second", {"model.fc_layers": (2, 3)})
    broken = {"second: 2": BROKEN, "second: 3": BROKEN}
    study = Study("s", BASE, (first, second, Stage("third", {"model.stride": (1, 2)})), recheck=True)
    left_out = Course(study, ends=broken).results[RECHECK].stage.left_out
    assert left_out == tuple(f"{name} (no other value of it ran in full)" for name in ("second", "third"))


def test_an_interaction_that_was_planted_is_found_and_its_value_was_behind_in_its_own_stage():
    results = Course(by=planted, seeds=(0, 1)).results
    best, depth, *_ = results[RECHECK].outcomes
    assert results["depth"].winner.outcome.cell.label == "2"
    assert results[RECHECK].stage.swaps[0].behind
    assert results[RECHECK].winner.outcome == depth
    assert results[RECHECK].winner.contest.difference(depth, best).ahead


def test_without_an_interaction_nothing_is_ahead():
    rechecked = Course(seeds=(0, 1)).results[RECHECK]
    best, *others = rechecked.outcomes
    assert rechecked.winner.outcome == best
    assert not any(rechecked.winner.contest.difference(each, best).ahead for each in others)


def test_with_one_seed_a_value_is_not_told_to_have_been_behind():
    assert not any(swap.behind for swap in Course(by=planted).results[RECHECK].stage.swaps)


def test_what_leads_to_the_final_winner_tells_how_seeds_scatter():
    course = Course(seeds=(0, 1))
    leading = course.results["curve"].winner.contest.spreads
    assert leading.keys() < course.results[RECHECK].winner.contest.spreads.keys()


@pytest.mark.parametrize("stop_after", [None, 3, 6, 7, 8])
def test_a_second_start_goes_on_and_a_third_runs_nothing(stop_after):
    whole = Course()
    first = Course(stop_after=stop_after)
    second = Course(known=first.known)
    assert sorted(first.ran + second.ran) == sorted(whole.ran)
    third = Course(known=second.known)
    assert (third.ran, third.agenda.over) == ([], True)
    assert third.results[RECHECK].stage == whole.results[RECHECK].stage


@pytest.mark.parametrize("number", range(20))
def test_a_plan_foresees_every_trial_whoever_wins(number):
    """So that a second start finds them all in the store."""

    def drawn(trial: Trial) -> float:
        return int(f"{number}{trial.key({})}"[:9], 36) % 97 / 100 + 0.01

    course = Course(by=drawn)
    foreseen = {trial.key({}) for entry in plan_study(STUDY, SHAPE, 10) for trial in entry.reachable}
    assert course.agenda.outcomes.keys() <= foreseen


def test_what_is_still_ahead_counts_one_trial_a_stage():
    study = Study("s", BASE, (DEPTH, WIDTH, OWN), recheck=True)
    agenda = Agenda(study, terms(), lambda _: None)
    assert len(expected(agenda)) == 2 + 2 + 2 + 2  # depth, width less the baseline, own; rechecks of two
    course = Course(study, stop_after=6)
    assert expected(course.agenda) == [BASE.with_values({"model.conv_layers": 1, "model.channels": (16, 32)})]
    assert expected(Course(study).agenda) == []


def test_with_some_of_the_stages_only_these_are_rechecked():
    course = Course(STUDY.only(["width"]))
    assert course.swaps == ["depth 1", "width 8-16"]
    assert RECHECK not in Course(STUDY.only(["own"])).results


def test_a_search_is_no_part_of_it_and_comes_before():
    space = Space({"model.conv_layers": Choice((1, 2)), "model.channels": Choice(((16, 32), (32, 64)))})
    find = Search("find", space, trials=4, sampler="grid", rule="none", confirm=1, seeds=1, start=BASE)
    study = Study("s", BASE, (DEPTH, WIDTH, find), recheck=True)
    agenda = Agenda(study, terms(images=2000), lambda _: None)
    ran = []
    while not agenda.over:
        task = agenda.next()
        if task is None:
            continue
        ran.append(task.name)
        found = score(task.cell.trial)
        agenda.finish(task.key, history([found], [found]))
        agenda.advance()
    *_, searched, rechecked = agenda.results
    assert searched.winner.outcome.score > rechecked.outcomes[0].score
    assert rechecked.start == BASE.with_values({"model.channels": (16, 32)})
    assert [name for name in ran if name.startswith("recheck")] == []  # the search has run it in full
    assert [outcome.cell.label for outcome in rechecked.outcomes] == [FINAL, "depth 1", "width 8-16"]
