"""sweeps.tracking.entry: plain data."""

import dataclasses

import pytest

from sweeps.tracking.entry import Entry, params
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
