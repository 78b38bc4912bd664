"""Records of epochs, and what is made of them, against numbers worked by hand."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest

from tests.damage import any_of, survey
from trainables.errors import UserError
from trainables.files import parsed
from trainables.history import Epoch, History, Record, chosen_epoch, smoothed
from trainables.marks import Marks, Right

NAMES = ("train_loss", "train_score", "val_loss", "val_score", "test_loss", "test_score", "lr", "images_per_second")


def record(val: float, test: float = 0.5, **others) -> Record:
    values = dict.fromkeys((*NAMES, "seconds"), 1.0) | {"val_score": val, "test_score": test} | others
    return Record(**values, class_score=(test, None))


# Centred means of validation: seed 7 0.53, 0.67, 0.8; seed 3 0.23, 0.4, 0.57. On test they are best at 1, and at 2.
SEVEN = (record(0.4, 0.9), record(0.8, 0.2), record(0.8, 0.3))
THREE = (record(0.1, 0.5), record(0.5, 0.6), record(0.6, 0.1))
HISTORY = History({7: SEVEN, 3: THREE})


def test_an_epoch_has_an_array_over_its_replicates():
    epoch = Epoch(4, (1, 2, 5), (record(0.2), record(0.4), record(0.9)))
    assert epoch.values("val_score").tolist() == [0.2, 0.4, 0.9]
    assert epoch.values("val_score").dtype == np.float64
    assert epoch.mean("val_score") == pytest.approx(0.5)
    # deviations −0.3, −0.1, 0.4: their squares sum to 0.26, over n − 1 = 2
    assert epoch.sd("val_score") == pytest.approx(0.13**0.5)
    assert epoch.sd("lr") == 0
    assert Epoch(1, (1, 2), (record(0.2), record(0.6))).sd("val_score") == pytest.approx(0.08**0.5)


def test_a_single_replicate_has_no_sd():
    epoch = Epoch(1, (1,), (record(0.2),))
    assert epoch.mean("val_score") == 0.2
    assert epoch.sd("val_score") is None


@pytest.mark.parametrize(
    ("scores", "means", "chosen"),
    [
        ([0.3], [0.3], 1),
        ([0.3, 0.6], [0.4, 0.5], 2),
        ([0.1, 0.9, 0.2, 0.6, 0.6], [1.1 / 3, 0.4, 1.7 / 3, 1.4 / 3, 0.6], 5),
        ([0.5, 0.9, 0.1, 0.6, 0.6, 0.6, 0.2], [1.9 / 3, 0.5, 1.6 / 3, 1.3 / 3, 0.6, 1.4 / 3, 1 / 3], 1),
        ([0.0, 0.8, 0.1, 0.5, 0.6, 0.6], [0.8 / 3, 0.3, 1.4 / 3, 0.4, 1.7 / 3, 0.6], 6),
    ],
)
def test_the_epoch_is_chosen_by_the_centred_mean_of_three(scores, means, chosen):
    """The best single epoch may be luck; an end counts twice."""
    np.testing.assert_allclose(smoothed(np.array([scores, scores])), [means, means], rtol=1e-15)
    assert chosen_epoch(scores) == chosen


def test_of_equal_means_the_first_is_chosen():
    assert chosen_epoch([0.25, 0.5, 0.5, 0.5, 0.5, 0.25]) == 3


def test_choosing_by_one_epoch_would_favour_the_noisier_trial():
    """Two trials as good, epochs of sd 0.2 and 0.8 points: how often the second wins, and how much it is flattered."""
    rng = np.random.default_rng(5)
    level = 70 - 8 * np.exp(-np.arange(15) / 3)
    still, wild = (level + sd * rng.normal(size=(4000, 15)) for sd in (0.2, 0.8))
    chosen = [np.array([row[chosen_epoch(row) - 1] for row in rows]) for rows in (still, wild)]
    best, smooth = wild.max(axis=1).mean() - 70, chosen[1].mean() - 70
    assert (best, smooth) == (pytest.approx(0.88, abs=0.05), pytest.approx(0.31, abs=0.05))
    assert (wild.max(axis=1) > still.max(axis=1)).mean() > 0.93 > 0.7 > (chosen[1] > chosen[0]).mean()


def test_the_chosen_epoch_is_validations_whatever_the_test_score():
    assert HISTORY.seeds == (3, 7)
    assert HISTORY.chosen_epochs() == (3, 3)
    assert HISTORY.chosen() == (THREE[2], SEVEN[2])
    assert HISTORY.score() == pytest.approx((0.6 + 0.8) / 2)


def marks(epoch: int) -> Marks:
    return Marks(epoch, Right.of(np.array([True, False])), Right.of(np.array([False])))


def test_marks_count_where_they_are_of_the_chosen_epoch_of_every_replicate():
    kept = {7: marks(3), 3: marks(3)}
    assert History(HISTORY.records, kept).chosen_marks() == (kept[3], kept[7])
    assert History(HISTORY.records, {7: marks(3)}).chosen_marks() is None
    assert History(HISTORY.records, {7: marks(3), 3: marks(2)}).chosen_marks() is None
    assert HISTORY.chosen_marks() is None
    assert History({}).chosen_marks() is None


def test_a_smaller_study_has_the_marks_that_its_own_chosen_epoch_would_have():
    whole = History(HISTORY.records, {7: marks(3), 3: marks(2)})
    assert whole.cut((7,), 3).chosen_marks() == (marks(3),)
    assert whole.cut((7,), 2).chosen_marks() is None
    assert whole.cut((3,), 2).chosen_marks() == (marks(2),)


def test_marks_are_plain_data_and_come_back():
    whole = History(HISTORY.records, {7: marks(3)})
    form = json.loads(json.dumps(whole.to_dict()))
    assert History.from_dict(form) == whole
    assert "marks" not in HISTORY.to_dict()


def test_epochs_and_curves_are_in_the_order_of_the_seeds():
    assert HISTORY.at(2) == Epoch(2, (3, 7), (THREE[1], SEVEN[1]))
    assert HISTORY.at(1).records == (THREE[0], SEVEN[0])
    assert HISTORY.curve("test_score").tolist() == [[0.5, 0.6, 0.1], [0.9, 0.2, 0.3]]
    assert HISTORY.curve("test_score").dtype == np.float64


def test_replicates_added_later_count_as_far_as_all_have_come():
    ragged = History({7: SEVEN, 3: THREE[:1]})
    assert ragged.epochs == 1
    assert ragged.count == 4
    assert ragged.curve("val_score").tolist() == [[0.1], [0.4]]
    assert ragged.chosen_epochs() == (1, 1)
    assert ragged.score() == pytest.approx(0.25)
    assert HISTORY.epochs == 3
    assert History({}).epochs == 0
    assert History({}).seeds == ()


@pytest.mark.parametrize(
    ("seeds", "epochs", "covered"),
    [((3, 7), 1, True), ((3, 7), 2, False), ((7,), 3, True), ((7,), 4, False), ((5,), 1, False), ((), 9, True)],
)
def test_a_history_covers_what_each_seed_has_run(seeds, epochs, covered):
    assert History({7: SEVEN, 3: THREE[:1]}).covers(seeds, epochs) is covered


def test_a_smaller_study_would_have_seen_a_part():
    assert HISTORY.cut((7,), 2) == History({7: SEVEN[:2]})
    assert HISTORY.cut((3, 7, 9), 5) == HISTORY
    assert HISTORY.cut((9,), 5) == History({})
    assert HISTORY.cut((7,), 1).chosen() == (SEVEN[0],)


def test_plain_data_and_back():
    form = HISTORY.to_dict()
    assert list(form["seeds"]) == ["3", "7"]
    assert form["seeds"]["7"][1] == asdict(SEVEN[1])
    form["seeds"]["7"][1]["class_score"] = [0.2, None]  # as JSON has it
    assert History.from_dict(form) == HISTORY


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"seeds": []},
        {"seeds": {"x": []}},
        {"seeds": {"1": [{"lr": 1.0}]}},
        {"seeds": {"1": [asdict(record(0.1)) | {"extra": 1}]}},
        {"seeds": {"1": [asdict(record(0.1)) | {"class_score": None}]}},
        {"seeds": {"1": 5}},
        {"seeds": {"1": [7]}},
        {"seeds": {"01": []}},
        {"seeds": {"1": [], " 1": []}},
        {"seeds": {"9" * 5000: []}},
        {"seeds": {"1": [asdict(record(float("nan")))]}},
        {"seeds": {"1": [asdict(record(0.1, float("inf")))]}},
        {"seeds": {"1": [asdict(record(True))]}},
        {"seeds": {"1": [asdict(record("0.1"))]}},
        {"seeds": {"1": [asdict(record(10**400))]}},
        {"seeds": {"1": [asdict(record(0.1, lr=None))]}},
        {"seeds": {"1": [asdict(record(0.1)), asdict(record(0.1)) | {"class_score": [0.5]}]}},
        [],
    ],
)
def test_what_is_not_a_history_is_refused_in_one_line(form):
    with pytest.raises(UserError, match=r"^these curves cannot be read: ") as caught:
        History.from_dict(form)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_loss_that_is_no_number_is_read_as_it_was_written():
    form = json.loads(json.dumps(History({1: (record(0.1, val_loss=float("inf"), test_loss=float("nan")),)}).to_dict()))
    [[read]] = History.from_dict(form).records.values()
    assert math.isinf(read.val_loss)
    assert math.isnan(read.test_loss)


def test_damaged_curves_are_read_or_refused_in_one_line():
    content = json.dumps(HISTORY.to_dict()).encode()
    whole, refused = survey(any_of(content, most=400), lambda damaged: History.from_dict(parsed(damaged)))
    assert len(refused) > 400
    assert all(np.isfinite(read.curve("val_score")).all() for read in whole.values())  # a number was changed
