"""sweeps.tracking.entry: plain data."""

import dataclasses

import numpy as np
import pytest

from sweeps import search
from sweeps.study import Choice, Each, Real, Space, When, Whole
from sweeps.tracking.entry import PARENT, Entry, continued, params, point
from trainables.config import CNN, Training, Trial


def test_an_entry_needs_only_a_name_and_does_not_change():
    entry = Entry("depth=2")
    assert entry == Entry("depth=2", {}, {}, None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        entry.name = "depth=3"


def test_a_trial_s_params_are_what_matters_of_it():
    trial = Trial(model=CNN(conv_layers=2, channels=(4, 8)), training=Training(lr=0.1, epochs=7))
    found = params(trial)
    assert (found["conv_layers"], found["channels"], found["lr"]) == (2, "4-8", 0.1)
    assert not {"epochs", "weights"} & found.keys()
    assert params(trial.with_values({"training.epochs": 8})) == found


def test_a_network_that_pools_nowhere_says_so():
    bare = Trial(model=CNN(conv_layers=2, pooling="none"))
    assert params(bare)["pooling"] == "none"
    assert params(bare.with_values({"model.pooling": "max", "model.pool_after": ()})) == params(bare)  # the same trial
    assert params(bare.with_values({"model.pooling": "max"}))["pooling"] == "max"
    assert "pooling" not in params(Trial(model=CNN(conv_layers=0)))


def as_mlflow_has_it(trial: Trial) -> dict[str, str]:
    return {name: str(value) for name, value in params(trial).items()}


def test_a_point_is_read_back_from_its_trials_params():
    rng = np.random.default_rng(0)
    for _ in range(200):
        values = search.SPACE.random(rng)
        trial = search.BASELINE.with_values(values)
        found = point(search.SPACE, search.BASELINE, as_mlflow_has_it(trial))
        assert found is not None
        assert search.BASELINE.with_values(found).key({}) == trial.key({})
        # a network without hidden layers has no dropout between them: any is as good
        idle = {"model.fc_dropout"} if trial.model.fc_layers == 1 else set()
        assert {path: found[path] for path in found.keys() - idle} == {
            path: values[path] for path in values.keys() - idle
        }


FORMS = Space(
    {
        "model.conv_layers": Whole(1, 3),
        "model.channels": Choice(((4, 8, 16), (8,), 32)),
        "model.kernel": Each("model.conv_layers", Choice((3, 5))),
        "model.pool_after": Choice(((1,), (1, 2))),
        "training.weight_decay": Real(1e-6, 1e-2, log=True),
        "training.crop": Choice((None, 24)),
        "training.ap_rule": Choice(("11-point", "all-point")),
        "training.schedule": Choice(("constant", "exponential")),
        "training.gamma": When({"training.schedule": "exponential"}, Real(0.5, 1.0)),
    }
)


def test_so_it_is_with_tuples_small_numbers_and_what_is_left_out():
    rng = np.random.default_rng(1)
    for _ in range(200):
        trial = Trial().with_values(FORMS.random(rng))
        found = point(FORMS, Trial(), as_mlflow_has_it(trial))
        assert found is not None
        assert Trial().with_values(found).key({}) == trial.key({})
    small = Trial().with_values(FORMS.random(rng) | {"training.weight_decay": 1e-05})
    assert point(FORMS, Trial(), as_mlflow_has_it(small))["training.weight_decay"] == 1e-05


@pytest.mark.parametrize(
    "beyond",
    [
        {"model.conv_layers": 4},
        {"model.channels": (8, 4, 8), "model.conv_layers": 3},
        {"model.kernel": 7},
        {"training.weight_decay": 0.1},
        {"training.crop": 28},
    ],
)
def test_what_lies_outside_a_space_is_no_point_of_it(beyond):
    inside = {"model.conv_layers": 3, "model.channels": 8, "model.pool_after": (1,), "training.weight_decay": 1e-4}
    assert point(FORMS, Trial(), as_mlflow_has_it(Trial().with_values(inside))) is not None
    assert point(FORMS, Trial(), as_mlflow_has_it(Trial().with_values(inside | beyond))) is None


def test_params_that_somebody_damaged_are_no_point():
    forms = {"model.conv_layers": 2, "model.channels": 8, "model.pool_after": (1,), "training.weight_decay": 1e-4}
    whole = as_mlflow_has_it(Trial().with_values(forms))
    assert point(FORMS, Trial(), whole) is not None
    for name, text in (("conv_layers", "two"), ("conv_layers", "2-3"), ("kernel", "3"), ("weight_decay", "nan")):
        assert point(FORMS, Trial(), whole | {name: text}) is None


def test_a_run_that_a_search_drew_stays_where_it_was_unless_another_search_draws_it():
    drew = {"stage": "find", "value": "#3", PARENT: "a", "draw": "{}", "device": "cpu"}
    grid = {"stage": "fc", "value": "2", PARENT: "b", "device": "gpu"}
    assert continued(drew, grid) == {"stage": "find", "value": "#3", PARENT: "a", "device": "gpu"}
    assert continued(grid, drew) == drew
    assert continued(drew, grid | {"draw": "[]"}) == grid | {"draw": "[]"}
    assert continued({"draw": "{}"}, grid) == grid  # of one without a place there is none to keep
