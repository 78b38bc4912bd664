"""Who is confirmed, where the leaders are nearly the same."""

import pytest

from sweeps.decisions import candidates as module
from sweeps.decisions.candidates import candidates
from sweeps.decisions.drawing import Draw
from sweeps.decisions.stages import Cell
from sweeps.decisions.status import Status
from sweeps.decisions.told import Told
from sweeps.study import Real, Space
from tests.sweeps.outcomes import history
from trainables.config import Training, Trial

SPACE = Space({"training.momentum": Real(0.0, 1.0)})
TRIAL = Trial(training=Training(epochs=15))
# four close together and four apart, all paused after epoch 3
PLACES = (0.500, 0.502, 0.498, 0.501, 0.05, 0.2, 0.8, 0.95)
ENDS = (0.900, 0.899, 0.898, 0.897, 0.3, 0.5, 0.88, 0.4)


def draw(number, place, *scores) -> Draw:
    made = Draw(number, number, {"training.momentum": place}, Cell(f"#{number}", (number,), TRIAL), str(number))
    made.take(history(list(scores)))
    return made


def drawn(places=PLACES, ends=ENDS) -> list[Draw]:
    """Trials with these scores after epoch 3, the best first."""
    made = [draw(n, place, end / 2, end / 1.5, end) for n, (place, end) in enumerate(zip(places, ends, strict=True))]
    return sorted(made, key=lambda each: -max(each.scores.values()))


def numbers(found) -> list[int]:
    return [each.number for each in found]


def test_one_of_those_that_are_nearly_the_same_is_confirmed_and_the_best_of_the_others():
    found = numbers(candidates(SPACE, drawn(), (), 2))
    assert len(set(found) & {0, 1, 2, 3}) == 1
    assert 6 in found


def test_the_same_trials_are_chosen_each_time():
    assert numbers(candidates(SPACE, drawn(), (), 3)) == numbers(candidates(SPACE, drawn(), (), 3))


@pytest.mark.parametrize(("trials", "count"), [(8, 8), (8, 9), (7, 2), (1, 1)])
def test_where_all_are_confirmed_or_too_few_tell_anything_the_first_ones_are(trials, count):
    ranked = drawn()[:trials]
    assert candidates(SPACE, ranked, (), count) == ranked[:count]


def test_of_many_only_the_best_are_looked_at(monkeypatch):
    """The sixth best is the other good one; without it the choice is among those that are nearly the same."""
    monkeypatch.setattr(module, "MOST", 4)
    assert set(numbers(candidates(SPACE, drawn(), (), 2))) <= {0, 1, 2, 3}


def test_what_diverged_beside_a_trial_speaks_against_it():
    """Both ends of the range have shown the same; at one of them three others diverged."""
    places = (0.5, 0.05, 0.95, 0.3, 0.7, 0.45, 0.55, 0.6)
    ends = (0.9, 0.8, 0.8, 0.3, 0.3, 0.6, 0.6, 0.5)
    broken = [draw(number, place) for number, place in ((8, 0.94), (9, 0.96), (10, 0.97))]
    assert numbers(candidates(SPACE, drawn(places, ends), broken, 2)) == [0, 1]


def test_between_rungs_the_last_score_counts_and_a_score_that_is_no_number_does_not():
    told = module._told(draw(0, 0.5, 0.1, 0.2).scores, (1, 3, 4))
    assert told == {1: 0.1, 2: 0.2}
    assert module._told(draw(0, 0.5, 0.1, 0.2, 0.3, float("nan")).scores, (1, 3, 4)) == {1: 0.1, 3: 0.3}


def test_of_two_that_show_the_same_the_one_is_confirmed_whose_like_came_to_more_elsewhere():
    places = (0.05, 0.95, 0.5, 0.3, 0.7, 0.45, 0.55, 0.6)
    ends = (0.6, 0.6, 0.1, 0.3, 0.3, 0.2, 0.2, 0.2)

    def chosen(good):
        others = []
        for number, place in enumerate((0.04, 0.06, 0.94, 0.96)):
            top = 0.95 if abs(place - good) < 0.1 else 0.62
            scores = {1: 0.3, 3: 0.6, 10: top - 0.02, 15: top}
            others.append(Told(number - 4, {"training.momentum": place}, Status.DONE, scores))
        return numbers(candidates(SPACE, drawn(places, ends), (), 1, others))

    assert (chosen(0.05), chosen(0.95)) == ([0], [1])
