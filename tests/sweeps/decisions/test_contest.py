from dataclasses import replace

import numpy as np
import pytest

from sweeps.decisions import contest as contest_module
from sweeps.decisions.contest import hold
from sweeps.decisions.inference import compare
from sweeps.decisions.jackknife import contributions
from sweeps.decisions.nested import compare_nested
from sweeps.decisions.outcome import Yardstick
from sweeps.decisions.quantiles import widest
from sweeps.decisions.scatter import spread
from tests.sweeps.outcomes import draws, marked, outcome
from trainables.datasets.splits import held_again
from trainables.history import History
from trainables.marks import Logits, Marks

BY = Yardstick("accuracy", 2000)
A, B = marked("a", *draws(0.7, 3)), marked("b", *draws(0.6, 3, number=1))
OLD = outcome("old", [0.65], [0.66])


def test_trials_are_compared_image_by_image_and_those_without_marks_are_left_out():
    contest = hold([A, OLD, B], BY)
    assert (contest.compared, contest.left_out) == ((A, B), (OLD,))
    expected = compare([np.stack(draws(0.7, 3)), np.stack(draws(0.6, 3, number=1))])
    assert contest.difference(A, B) == expected.difference(0, 1)
    assert contest.difference(B, A) == expected.difference(1, 0)
    assert contest.difference(A, OLD) is None
    assert [contest.may_be_best(each) for each in (A, B, OLD)] == [True, False, False]
    assert (contest.told, contest.place(B), contest.place(OLD)) == (True, 1, None)


def test_of_very_many_the_best_are_compared_with_intervals_that_hold_for_all(monkeypatch):
    monkeypatch.setattr(contest_module, "MOST", 2)
    worst, middle = marked("w", *draws(0.3, 3, number=2)), marked("m", *draws(0.5, 3, number=3))
    contest = hold([worst, B, middle, A], BY)
    assert (contest.compared, contest.beyond) == ((A, B), 2)
    two = [np.stack(draws(0.7, 3)), np.stack(draws(0.6, 3, number=1))]
    assert contest.difference(A, B) == compare(two, of=4).difference(0, 1)
    wider, alone = compare(two, of=4).difference(0, 1), compare(two).difference(0, 1)
    assert wider.value == alone.value
    assert wider.high - wider.value > alone.high - alone.value
    ratio = widest(4, np.array([1e9]))[0] / widest(2, np.array([1e9]))[0]
    assert ratio * 0.95 < (wider.high - wider.value) / (alone.high - alone.value) < ratio * 1.5
    assert contest.difference(A, middle) is None
    assert not contest.may_be_best(worst)
    assert hold([A, B, A], BY).beyond == 0


def test_the_test_set_is_another_part():
    [val], [test] = draws(0.7, 1, 100), draws(0.6, 1, 50)
    assert BY.sample(marked("a", val, test=test), "val").tolist() == [val.tolist()]
    assert BY.sample(marked("a", val, test=test), "test").tolist() == [test.tolist()]


def test_how_seeds_scatter_is_known_of_the_trials_before_too_each_once():
    first = hold([A, B], BY)
    assert first.spreads == {"a": spread(np.stack(draws(0.7, 3))), "b": spread(np.stack(draws(0.6, 3, number=1)))}
    one = [marked("c", *draws(0.7, 1, number=4)), marked("d", *draws(0.4, 1, number=5)), A]
    alone, told = hold(one[:2], BY), hold(one, BY, before=first.spreads)
    assert (alone.told, told.told) == (False, True)
    samples = [BY.sample(each, "val") for each in one]
    assert told.difference(*one[:2]) == compare(samples, [first.spreads["b"]]).difference(0, 1)
    assert told.spreads.keys() == {"a", "b", "c", "d"}


def test_a_trial_that_a_stage_has_twice_is_compared_once():
    assert hold([A, A, B], BY).compared == (A, B)


def test_without_marks_nothing_is_told():
    contest = hold([OLD], BY)
    assert (contest.comparison, contest.told, contest.left_out) == (None, False, (OLD,))
    assert not contest.may_be_best(OLD)
    assert hold([], BY).compared == ()
    before = {"x": spread(np.stack(draws(0.7, 3)))}
    assert hold([OLD], BY, before=before).spreads == before  # handed on to the next stage


def test_of_several_labels_an_image_counts_by_its_share_in_the_map():
    rng = np.random.default_rng(3)
    labels, logits = rng.integers(-1, 2, (40, 3)).astype(np.int8), rng.normal(size=(40, 3)).astype(np.float16)
    by = Yardstick("mAP", 40, {"val": labels, "test": labels})
    whole = outcome("a", [0.5])
    marks = Marks(1, Logits.of(logits), Logits.of(logits))
    found = by.sample(outcome_with(whole, marks), "val")
    np.testing.assert_array_equal(found[0], contributions(logits.astype(float), labels, "11-point"))
    assert by == Yardstick("mAP", 40)
    nothing = Yardstick("mAP", 40, {"val": np.zeros_like(labels)})
    assert nothing.sample(outcome_with(whole, marks), "val") is None


def test_of_several_labels_each_seed_s_images_have_their_own():
    rng = np.random.default_rng(3)
    labels = {part: rng.integers(-1, 2, (count, 3)).astype(np.int8) for part, count in (("train", 80), ("val", 40))}
    by = Yardstick("mAP", 40, labels | {"test": labels["val"]})
    logits = rng.normal(size=(2, 40, 3)).astype(np.float16)
    marks = {seed: Marks(1, Logits.of(each), Logits.of(each)) for seed, each in zip((0, 4), logits, strict=True)}
    [[record]] = outcome("a", [0.5]).history.records.values()
    found = splits_itself(replace(outcome("a", [0.5]), history=History(dict.fromkeys(marks, (record,)), marks)))
    pool = np.concatenate((labels["train"], labels["val"]))
    for seed, each, here in zip((0, 4), logits, by.sample(found, "val"), strict=True):
        of_seed = pool[held_again(pool, 40, seed)]
        np.testing.assert_array_equal(here, contributions(each.astype(float), of_seed, "11-point"))
    for each, here in zip(logits, by.sample(found, "test"), strict=True):
        np.testing.assert_array_equal(here, contributions(each.astype(float), labels["val"], "11-point"))


def splits_itself(found):
    return replace(found, cell=replace(found.cell, trial=found.cell.trial.with_values({"training.vary_split": True})))


def test_trials_whose_seeds_have_validation_images_of_their_own_are_paired_by_seed():
    by, varied = replace(BY, share=0.1), [splits_itself(each) for each in (A, B)]
    contest = hold(varied, by, before={"x": spread(np.stack(draws(0.5, 3)))})
    samples = [by.sample(each, "val") for each in varied]
    assert contest.difference(*varied) == compare_nested(samples, 0.1).difference(0, 1)
    assert (contest.told, contest.same_images, contest.spreads.keys()) == (True, True, {"x"})
    test = hold(varied, by, "test")
    assert test.difference(*varied) == compare(samples).difference(0, 1)
    assert test.spreads.keys() == {"a", "b"}


@pytest.mark.parametrize("other", [B, splits_itself(marked("c", *draws(0.4, 2, number=1)))])
def test_trials_on_different_validation_images_are_not_told_apart(other):
    varied = splits_itself(A)
    contest = hold([varied, other], BY)
    assert (contest.told, contest.same_images, contest.best_set) == (False, False, ())
    assert contest.difference(varied, other).value == pytest.approx(varied.score - other.score)
    assert hold([varied, other], BY, "test").told


def outcome_with(found, marks):
    return replace(found, history=History(found.history.records, {0: marks}))


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_trial_without_marks_has_no_sample(part):
    assert BY.sample(OLD, part) is None
