import numpy as np
import pytest

from sweeps.decisions.importance import importance, importance_errors
from sweeps.decisions.told import Told
from sweeps.study import Choice, Space, When, Whole
from tests.sweeps.decisions.drawn import SPACE, drawn, off, told_of
from trainables.errors import UserError


def test_importance_is_the_field_that_decides_at_that_epoch():
    told = [
        Told(n, point, "censored", {3: -off(point), 9: float(point["model.channels"][0])}) if n % 2 else
        Told(n, point, "failed", {3: -off(point)})
        for n, point in enumerate(drawn(120))
    ]  # fmt: skip
    early, late = importance(SPACE, told, 3), importance(SPACE, told, 9)
    assert next(iter(early)) == "training.lr"
    assert next(iter(late)) == "model.channels"
    assert min(early["training.lr"], late["model.channels"]) > 0.7
    for shares in (early, late):
        assert set(shares) == set(SPACE.fields)
        assert list(shares.values()) == sorted(shares.values(), reverse=True)
        assert sum(shares.values()) == pytest.approx(1)


def test_the_error_of_an_importance_is_the_scatter_over_resamples_of_the_trials():
    told = [Told(n, point, "done", {3: -off(point)}, (0.0,)) for n, point in enumerate(drawn(60))]
    found, rng = importance_errors(SPACE, told, 3), np.random.default_rng(5)
    assert set(found) == set(SPACE.fields)
    assert found == importance_errors(SPACE, told, 3)
    again = [importance(SPACE, [told[at] for at in rng.integers(60, size=60)], 3) for _ in range(60)]
    shares = {path: [each.get(path, 0.0) for each in again] for path in found}
    assert found["training.lr"] == pytest.approx(np.std(shares["training.lr"]), rel=0.4)
    assert found["model.channels"] == pytest.approx(np.std(shares["model.channels"]), rel=0.5)
    with pytest.raises(UserError, match="importance needs at least 8"):
        importance_errors(SPACE, told[:7], 3)


def test_eight_trials_are_enough_for_importance_and_what_none_drew_is_left_out():
    points = [{"model.pooling": "max", "n": n} for n in range(1, 9)]
    space = Space({"model.pooling": Choice(("max", "none")), "n": Whole(1, 8),
                   "model.stride": When({"model.pooling": "none"}, Choice((1, 2)))})  # fmt: skip
    told = [Told(number, point, "done", {1: float(point["n"])}, (0.0,)) for number, point in enumerate(points)]
    assert list(importance(space, told, 1)) == ["n", "model.pooling"]


def test_importance_of_a_field_with_a_condition_counts_where_it_is_drawn():
    told = [
        Told(n, point, "done", {1: float(point["model.pooling"] == "none") + point.get("model.stride", 0)}, (0.0,))
        for n, point in enumerate(drawn(200))
    ]
    shares = importance(SPACE, told, 1)
    assert list(shares)[:2] in (["model.stride", "model.pooling"], ["model.pooling", "model.stride"])
    assert shares["model.stride"] + shares["model.pooling"] > 0.8


@pytest.mark.parametrize(
    ("trials", "epoch", "message"),
    [
        (7, 3, "7 trials have come to epoch 3, but importance needs at least 8"),
        (8, 4, "0 trials have come to epoch 4, but importance needs at least 8"),
    ],
)
def test_from_fewer_than_eight_trials_at_the_epoch_nothing_is_told(trials, epoch, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        importance(SPACE, told_of(drawn(trials)), epoch)


def test_bounds_make_no_difference_to_what_mattered():
    told = told_of(drawn(40))
    over = [Told(t.number, t.values, t.state, t.scores, t.objectives, {"seconds": 1.0}) for t in told]
    assert importance(SPACE, over, 3) == importance(SPACE, told, 3)
