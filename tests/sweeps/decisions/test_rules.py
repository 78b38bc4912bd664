"""Each rule against a table worked out by hand, and what all of them must keep: replay, resume, failures."""

import math
import random
from collections.abc import Callable

import pytest

from sweeps.decisions.rules import ASHA, PASHA, RULES, Hyperband, Median, Rule, make, resume
from trainables.errors import UserError

Scores = Callable[[int, int], float]  # of a trial after an epoch
QUICK = [name for name in RULES if name != "freeze-thaw"]  # that one has fewer and shorter runs here, and its own file
SEEDS = [*((name, seed) for name in QUICK for seed in range(5)), ("freeze-thaw", 0)]


class Search:
    """A search on one worker, where what is due comes before a new trial.

    Keeps each trial's best scores so far by epoch, and the stretches run, as (number, last epoch).
    """

    def __init__(
        self, rule: Rule, trials: int, scores: Scores, reached: dict[int, dict[int, float]] | None = None
    ) -> None:
        self.rule, self.trials, self.scores = rule, trials, scores
        self.reached = {number: dict(curve) for number, curve in (reached or {}).items()}
        self.stretches: list[tuple[int, int]] = []
        resume(rule, self.reached)

    def run(self, epochs: float = math.inf) -> "Search":
        """Go on until nothing is left, or break off after so many epochs more."""
        while following := self.rule.due() or self._new():
            number, limit = following
            while limit:
                curve = self.reached[number]
                while max(curve, default=0) < limit:
                    if not epochs:
                        return self
                    epoch = max(curve, default=0) + 1
                    curve[epoch] = max(self.scores(number, epoch), curve.get(epoch - 1, -math.inf))
                    epochs -= 1
                self.stretches.append((number, limit))
                limit = self.rule.note(number, limit, curve[limit])
        return self

    def _new(self) -> tuple[int, int] | None:
        number = len(self.reached)
        if number == self.trials:
            return None
        self.reached[number] = {}
        return number, self.rule.first(number)

    @property
    def ends(self) -> list[int]:
        return [max(self.reached[number], default=0) for number in range(len(self.reached))]


def noisy(seed: int) -> Scores:
    """Curves that rise and cross."""
    draws = random.Random(seed)  # noqa: S311
    ends, speeds = ([draws.random() for _ in range(100)] for _ in range(2))
    return lambda number, epoch: (
        ends[number] * (1 - math.exp(-epoch * (0.1 + speeds[number]))) + 0.01 * math.sin(number + epoch)
    )


def flat(*values: float) -> Scores:
    return lambda number, epoch: values[number]  # noqa: ARG005


# ASHA


@pytest.mark.parametrize(
    ("epochs", "rungs"),
    [
        (1, (1,)),
        (4, (1, 3)),
        (6, (1, 4)),
        (9, (1, 2, 6)),
        (15, (1, 3, 10)),
        (30, (1, 3, 7, 20)),
        (100, (1, 3, 8, 23, 67)),
    ],
)
def test_asha_screens_up_to_two_thirds_of_the_epochs(epochs, rungs):
    search = Search(ASHA(epochs, 120), 120, flat(*(number / 200 for number in range(120)))).run()
    assert max(search.ends) == rungs[-1]
    assert set(search.ends) <= set(rungs)
    assert ASHA(epochs, 1).first(0) == 1


def test_asha_runs_the_best_third_on():
    search = Search(ASHA(15, 16), 16, flat(*(number / 100 for number in range(16, 0, -1)))).run()
    assert sorted(search.ends) == [1] * 11 + [3] * 4 + [10]


@pytest.mark.parametrize(("last", "due"), [(2, (0, 3)), (3, None), (8, (0, 10)), (10, None), (15, None)])
def test_a_stored_trial_that_has_come_further_than_asha_would_take_it_stays_there(last, due):
    rule = ASHA(15, 4)
    resume(rule, {0: {epoch: 0.5 + epoch / 100 for epoch in range(1, last + 1)}})
    assert rule.due() == due
    assert rule.ranking() == [0]


# with rungs at epochs 1, 3, 9, and a third that goes on


@pytest.mark.usefixtures("thirds")
def test_asha_promotes_whoever_is_in_the_best_third_as_soon_as_it_is():
    """Of three 2 is the best; of five 4; of seven 6, which is then the best of three at epoch 3."""
    search = Search(ASHA(9, 9), 9, flat(0.5, 0.1, 0.7, 0.2, 0.8, 0.3, 0.9, 0.4, 0.6)).run()
    assert search.stretches == [
        (0, 1),
        (1, 1),
        (2, 1),
        (2, 3),
        (3, 1),
        (4, 1),
        (4, 3),
        (5, 1),
        (6, 1),
        (6, 3),
        (6, 9),
        (7, 1),
        (8, 1),
    ]
    assert search.rule.ranking() == [6, 4, 2, 8, 0, 7, 5, 3, 1]


@pytest.mark.usefixtures("thirds")
def test_asha_promotes_a_paused_trial_once_others_have_shown_that_it_is_good():
    search = Search(ASHA(9, 6), 6, flat(0.9, 0.5, 0.1, 0.4, 0.2, 0.3)).run()
    assert search.stretches == [(0, 1), (1, 1), (2, 1), (0, 3), (3, 1), (4, 1), (5, 1), (1, 3)]


@pytest.mark.usefixtures("thirds")
def test_asha_decides_by_what_trials_show_at_the_rung():
    """At epoch 1 the order is 2, 1, 0 of each three; at epoch 3 it is turned round: 5 comes last, the worst there."""
    scores = {1: (0.1, 0.2, 0.8, 0.3, 0.4, 0.9, 0.5, 0.6, 0.7), 3: (0, 0, 0.95, 0, 0, 0.92, 0, 0, 0.99), 9: (1,) * 9}
    search = Search(ASHA(9, 9), 9, lambda number, epoch: scores[max(e for e in scores if e <= epoch)][number]).run()
    assert search.stretches == [
        (0, 1),
        (1, 1),
        (2, 1),
        (2, 3),
        (3, 1),
        (4, 1),
        (5, 1),
        (5, 3),
        (6, 1),
        (7, 1),
        (8, 1),
        (8, 3),
        (8, 9),
    ]


@pytest.mark.usefixtures("thirds")
def test_of_equal_trials_the_earlier_goes_on():
    assert Search(ASHA(9, 3), 3, flat(0.5, 0.5, 0.5)).run().stretches == [(0, 1), (1, 1), (2, 1), (0, 3)]


@pytest.mark.usefixtures("thirds")
def test_the_highest_rung_is_served_first():
    rule = ASHA(9, 12)
    for number in range(12):
        assert rule.first(number) == 1
    for number in range(9):
        assert rule.note(number, 1, 0.8 - number / 10) is None
    assert [rule.due(), rule.due(), rule.due(), rule.due()] == [(0, 3), (1, 3), (2, 3), None]
    assert rule.note(1, 3, 0.9) is None
    assert rule.note(2, 3, 0.6) is None
    assert rule.note(0, 3, 0.8) is None  # 1 is the best of the three
    assert rule.note(9, 1, 0.0) is None
    assert rule.note(10, 1, 0.0) is None
    assert rule.note(11, 1, 0.9) is None  # is in the best third, but 1 is further
    assert [rule.due(), rule.due(), rule.due()] == [(1, 9), (11, 3), None]


@pytest.mark.usefixtures("thirds")
def test_who_is_promotable_as_it_comes_to_its_limit_runs_on_at_once():
    rule = ASHA(9, 3)
    assert [rule.first(number) for number in range(3)] == [1, 1, 1]
    assert rule.note(0, 1, 0.1) is None
    assert rule.note(1, 1, 0.2) is None
    assert rule.note(2, 1, 0.3) == 3
    assert rule.due() is None


@pytest.mark.usefixtures("thirds")
def test_trials_are_ranked_by_how_far_they_came_and_then_by_the_score_there():
    rule = ASHA(9, 4)
    resume(rule, {0: {1: 0.9}, 1: {1: 0.8, 3: 0.8}, 2: {1: 0.3, 3: 0.85}, 3: {1: 0.9}})
    assert rule.ranking() == [2, 1, 0, 3]


def test_a_trial_that_was_never_started_can_be_dropped():
    rule = ASHA(9, 4)
    rule.drop(0)
    rule.first(1)
    assert rule.note(1, 1, 0.5) is None
    assert rule.ranking() == [1]


@pytest.mark.parametrize("name", RULES)
def test_a_trial_that_ran_longer_than_the_search_now_does_is_at_its_end(name):
    rule = make(name, 3, 1)
    resume(rule, {0: {epoch: epoch / 10 for epoch in range(1, 10)}})
    assert rule.due() is None
    assert rule.ranking() == [0]


# PASHA: rungs at epochs 1, 3, 9, 27


@pytest.mark.usefixtures("thirds")
def test_pasha_stays_low_while_the_ranking_is_stable():
    values = tuple((number + 1) / 10 for number in range(9))
    assert max(Search(PASHA(27, 9), 9, flat(*values)).run().ends) == 3
    assert max(Search(ASHA(27, 9), 9, flat(*values)).run().ends) == 27


@pytest.mark.usefixtures("thirds")
def test_pasha_opens_the_next_rung_when_the_ranking_changes_from_one_rung_to_the_next():
    """2, 5 and 8 come to epoch 3.

    There 2 is before 5, other than at epoch 1. So 8, the best of the three, goes on to 9, but not to 27.
    """

    def scores(number: int, epoch: int) -> float:
        return (0.1, 0.2, 0.6, 0.1, 0.2, 0.65, 0.1, 0.2, 0.9)[number] + (0.2 if number == 2 and epoch > 1 else 0)

    search = Search(PASHA(27, 9), 9, scores).run()
    assert search.stretches[-2:] == [(8, 3), (8, 9)]
    assert search.ends == [1, 1, 3, 1, 1, 3, 1, 1, 9]


# Hyperband of 9 epochs: brackets of nine trials from epoch 1, five from epoch 3, three in full


def test_hyperband_gives_its_brackets_out_in_turn():
    rule = Hyperband(9, 18)
    assert [rule.first(number) for number in range(18)] == [1] * 9 + [3] * 5 + [9] * 3 + [1]


def test_hyperbands_rungs_are_at_powers_of_3_below_the_full_number_of_epochs():
    """Of 8 epochs there are two: the whole part of the logarithm of 8 to the base 3 is 1. At 9 there is one more."""
    rule = Hyperband(8, 6)
    assert [rule.first(number) for number in range(6)] == [3] * 3 + [8] * 2 + [3]
    assert Hyperband(243, 1).first(0) == 1


def test_hyperband_decides_a_rung_when_all_have_come_to_it():
    search = Search(
        Hyperband(9, 14), 14, flat(0.5, 0.1, 0.7, 0.2, 0.8, 0.3, 0.9, 0.4, 0.6, 0.2, 0.4, 0.3, 0.1, 0.3)
    ).run()
    first = [(number, 1) for number in range(9)] + [(6, 3), (4, 3), (2, 3), (6, 9)]
    assert search.stretches == [*first, (9, 3), (10, 3), (11, 3), (12, 3), (13, 3), (10, 9)]


def test_a_dropped_trial_holds_up_no_rung_and_the_next_best_takes_its_place():
    rule = Hyperband(9, 9)
    for number in range(9):
        rule.first(number)
        if number != 4:
            assert rule.note(number, 1, number / 10) is None
    assert rule.due() is None
    rule.drop(4)
    assert [rule.due(), rule.due(), rule.due(), rule.due()] == [(8, 3), (7, 3), (6, 3), None]
    assert rule.note(8, 3, 0.8) is None
    rule.drop(7)
    assert [rule.due(), rule.due()] == [(5, 3), None]
    assert rule.note(5, 3, 0.9) is None
    assert rule.note(6, 3, 0.6) is None
    assert rule.due() == (5, 9)


def test_hyperband_cuts_its_last_bracket_short():
    """Four of nine: one of them goes on, and it alone."""
    assert Search(Hyperband(9, 4), 4, flat(0.1, 0.4, 0.3, 0.2)).run().ends == [1, 9, 1, 1]


# the median rule, of 10 epochs: from epoch 1 on, with five others at least


@pytest.mark.parametrize(("score", "end"), [(0.29, 1), (0.3, 10)])
def test_the_median_rule_pauses_what_is_below_the_median_of_those_before(score, end):
    """The median of 0.1 to 0.5 is 0.3."""
    search = Search(Median(10, 6), 6, flat(0.1, 0.2, 0.3, 0.4, 0.5, score)).run()
    assert search.ends == [10] * 5 + [end]


def test_the_median_rule_holds_the_best_score_against_the_averages_of_others():
    """Five rise by 1 an epoch: their averages are 1, 1.5, 2, 2.5. A trial at 2 is below that from epoch 4 on."""
    search = Search(Median(10, 6), 6, lambda number, epoch: 2 if number == 5 else epoch).run()
    assert search.ends == [10] * 5 + [4]


def test_the_median_rule_goes_on_with_a_paused_trial_once_those_before_it_turn_out_worse():
    rule = Median(10, 8)
    for number in range(7):
        rule.first(number)
    for number in range(5):
        assert rule.note(number, 1, 0.5) == 2
    assert rule.note(6, 1, 0.4) is None
    rule.drop(0)
    assert rule.due() == (6, 2)  # four are too few to judge by
    assert rule.due() is None


def test_the_median_rule_leaves_a_tenth_of_the_epochs_to_everybody():
    rule = Median(40, 6)
    for number in range(6):
        rule.first(number)
    for number in range(5):
        assert [rule.note(number, epoch, 0.5) for epoch in (1, 2, 3, 4)] == [2, 3, 4, 5]
    assert [rule.note(5, epoch, 0.1) for epoch in (1, 2, 3, 4)] == [2, 3, 4, None]


# all of them


def test_without_early_stopping_every_trial_runs_in_full():
    assert Search(make("none", 7, 3), 3, flat(0.1, 0.2, 0.3)).run().stretches == [(0, 7), (1, 7), (2, 7)]


def test_an_unknown_rule_is_named_with_the_nearest():
    with pytest.raises(UserError, match=r"^early stopping 'ahsa' is not known; did you mean 'asha'\?$"):
        make("ahsa", 10, 10)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(("epochs", "trials"), [(1, 1), (1, 5), (2, 2), (10, 1)])
def test_the_smallest_searches_end_and_rank_every_trial(name, epochs, trials):
    search = Search(make(name, epochs, trials), trials, flat(*range(trials))).run()
    assert all(1 <= end <= epochs for end in search.ends)
    assert sorted(search.rule.ranking()) == list(range(trials))


@pytest.mark.parametrize(("name", "seed"), SEEDS)
def test_the_same_calls_give_the_same_decisions(name, seed):
    trials = 40 if name in QUICK else 12
    calls = side_by_side(make(name, 27, trials), 27, trials, seed)
    again = make(name, 27, trials)
    assert [getattr(again, method)(*given) for method, given, _ in calls] == [answer for _, _, answer in calls]


@pytest.mark.parametrize(("name", "seed"), SEEDS)
def test_side_by_side_with_failures_a_trial_runs_once_at_a_time_and_the_search_ends(name, seed):
    """side_by_side() checks each answer."""
    trials = 40 if name in QUICK else 12
    rule = make(name, 27, trials)
    calls = side_by_side(rule, 27, trials, seed, failures=0.1)
    dropped = {given[0] for method, given, _ in calls if method == "drop"}
    assert dropped
    assert set(rule.ranking()) == set(range(trials)) - dropped


def side_by_side(
    rule: Rule, epochs: int, trials: int, seed: int, failures: float = 0.0
) -> list[tuple[str, tuple, object]]:
    """Run a search on four workers that end in any order; return the calls with their answers."""
    draws, scores = random.Random(seed), noisy(seed)  # noqa: S311
    calls: list[tuple[str, tuple, object]] = []
    running: dict[int, int] = {}
    reached: dict[int, int] = {}

    def call(method: str, *given: float) -> object:
        calls.append((method, given, getattr(rule, method)(*given)))
        return calls[-1][2]

    while True:
        while len(running) < 4:
            following = call("due")
            if not following and len(reached) < trials:
                number = len(reached)
                reached[number] = 0
                following = number, call("first", number)
            if not following:
                break
            number, limit = following
            assert number not in running
            assert reached[number] < limit <= epochs
            running[number] = limit
        if not running:
            return calls
        number = draws.choice(list(running))
        if draws.random() < failures:
            call("drop", number)
            del running[number]
            continue
        reached[number] = running[number]
        limit = call(
            "note", number, reached[number], max(scores(number, epoch) for epoch in range(1, reached[number] + 1))
        )
        assert limit is None or reached[number] < limit <= epochs
        if limit:
            running[number] = limit
        else:
            del running[number]


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("seed", range(4))
def test_a_search_that_broke_off_anywhere_ends_as_an_undisturbed_one(name, seed):
    whole = Search(make(name, 27, 30), 30, noisy(seed)).run()
    for epochs in range(0, sum(whole.ends), 1 + sum(whole.ends) // 25):
        broken = Search(make(name, 27, 30), 30, noisy(seed)).run(epochs)
        resumed = Search(make(name, 27, 30), 30, noisy(seed), broken.reached).run()
        assert resumed.ends == whole.ends
        assert resumed.rule.ranking() == whole.rule.ranking()


@pytest.mark.usefixtures("thirds")
def test_a_trial_between_two_rungs_is_given_out_again_before_all_others_and_once():
    rule = ASHA(9, 9)
    resume(rule, {0: {1: 0.0}, 1: {}, 2: {1: 0.2, 2: 0.2}, 3: {1: 0.3}})
    assert [rule.due(), rule.due()] == [(1, 1), (2, 3)]
    assert rule.due() == (3, 3)  # of the three that have come to epoch 1 the best
    assert rule.due() is None


def test_a_trial_that_broke_off_and_is_dropped_is_not_given_out():
    rule = ASHA(9, 9)
    resume(rule, {0: {1: 0.1}, 1: {1: 0.2, 2: 0.2}})
    rule.drop(1)
    assert rule.due() is None
    assert rule.ranking() == [0]


def test_a_longer_search_goes_on_from_a_shorter_one():
    """With 128 in the place of 64 trials, those that are known now compete with the new ones."""
    short = Search(ASHA(27, 15), 15, noisy(1)).run()
    long = Search(ASHA(27, 30), 30, noisy(1), short.reached).run()
    assert long.ends == Search(ASHA(27, 30), 30, noisy(1)).run().ends
