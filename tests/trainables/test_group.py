"""The capture is pretended: what would be replayed is run. What a GPU makes of it: tests/gpu/verify.py."""

from dataclasses import replace

import pytest
import torch

from tests.conftest import make_dataset
from trainables import devices, graphs, group
from trainables.config import CNN, ResNet, Training, Trial
from trainables.kept import Kept
from trainables.replicate import replicate
from trainables.train import train

CPU = torch.device("cpu")
MODEL = CNN(conv_layers=1, channels=4, fc_layers=2, fc_widths=8, fc_dropout=0.2, batch_norm=True)
RECIPE = Training(epochs=3, batch_size=4, flip=True, crop_padding=2, schedule="cosine", lr=0.02)
TRIAL = Trial(model=MODEL, training=RECIPE)
DATA = make_dataset(count=90)  # 22 batches of 4, and one of 2


@pytest.fixture
def captures(monkeypatch):
    """The number of branches of each capture that was made."""
    made = []

    def captured(branches, _):
        def step():
            for branch in branches:
                with branch.random.in_use():
                    branch.step()

        for _ in range(graphs.WARM_UP):
            step()
        made.append(len(branches))
        return step

    monkeypatch.setattr(group, "FEWEST_STEPS", 3)
    monkeypatch.setattr(graphs, "can_capture", lambda _: True)
    monkeypatch.setattr(graphs, "capture", captured)
    return made


def outcome(trial, members, data=DATA, observer=None, kept=None):
    epochs = list(train(trial, data, members, CPU, observer, kept))
    records = [replace(record, seconds=0, images_per_second=0) for epoch in epochs for record in epoch.records]
    weights = [tensor.clone() for member in members for tensor in member.model.state_dict().values()]
    return records, weights, [member.rng for member in members]


def same(some, others):
    return some[0] == others[0] and all(
        torch.equal(mine, theirs) for kind in (1, 2) for mine, theirs in zip(some[kind], others[kind], strict=True)
    )


def fresh(trial, seeds=(0, 1)):
    return [replicate(trial, DATA, seed, CPU) for seed in seeds]


def alone(trial, seeds=(0, 1), data=DATA):
    """What comes of training without a capture."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "can_capture", lambda _: False)
        return outcome(trial, fresh(trial, seeds), data)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_replicates_side_by_side_are_the_same_as_alone(captures, optimizer, schedule):
    trial = replace(TRIAL, training=replace(RECIPE, optimizer=optimizer, schedule=schedule))
    assert same(outcome(trial, fresh(trial)), alone(trial))
    assert captures == [2]


@pytest.mark.parametrize("change", [{"momentum": 0.0}, {"batch_size": 89}, {"batch_size": 13}, {"crop": 8}])
def test_so_they_are_whatever_the_recipe(captures, change):
    trial = replace(TRIAL, training=replace(RECIPE, **change))
    assert same(outcome(trial, fresh(trial)), alone(trial))
    assert captures == ([] if "batch_size" in change and change["batch_size"] == 89 else [2])


def test_a_residual_network_is_the_same_too(captures):
    trial = Trial(model=ResNet(), training=Training(epochs=1, batch_size=2))
    data = make_dataset(count=9)
    assert same(outcome(trial, fresh(trial, (0,)), data), alone(trial, (0,), data))
    assert captures == [1]


def test_images_beside_the_device_change_nothing(captures, monkeypatch):
    expected = alone(TRIAL)
    monkeypatch.setattr(devices, "fits", lambda *_: False)
    monkeypatch.setattr("trainables.resident.Part.on_device", False)
    assert same(outcome(TRIAL, fresh(TRIAL)), expected)
    assert captures == [2]
    assert same(alone(TRIAL), expected)


def test_replicates_that_are_behind_are_captured_alone_until_they_have_caught_up(captures):
    expected = alone(TRIAL)
    (ahead, late), short = fresh(TRIAL), replace(TRIAL, training=replace(RECIPE, epochs=3))
    running = train(short, DATA, [ahead], CPU)
    next(running)
    captures.clear()
    mine = outcome(TRIAL, [ahead, late])
    assert captures == [1, 2]
    assert mine[0] == expected[0]
    assert same((expected[0], *mine[1:]), expected)


class Now:
    """Looks at two steps, of which one is an epoch's last."""

    def __init__(self):
        self.seen = []

    def due(self, progress):
        return progress in (5 / 23, 1 + 22 / 23)

    def look(self, progress, network, images):
        self.seen.append((progress, network, images.clone()))


def test_steps_that_are_watched_are_the_same_and_show_the_first_replicate(captures, monkeypatch):
    members, observer = fresh(TRIAL), Now()
    assert same(outcome(TRIAL, members, observer=observer), alone(TRIAL))
    assert captures == [2]
    shown = [(progress, network, len(images)) for progress, network, images in observer.seen]
    assert shown == [(5 / 23, members[0].model, 4), (1 + 22 / 23, members[0].model, 2)]
    monkeypatch.setattr(graphs, "can_capture", lambda _: False)
    by_itself = Now()
    outcome(TRIAL, fresh(TRIAL, (0,)), observer=by_itself)
    for (at, _, images), (other, _, expected) in zip(observer.seen, by_itself.seen, strict=True):
        assert at == other
        assert torch.equal(images, expected)


@pytest.mark.usefixtures("captures")
def test_a_capture_that_fails_is_said_once_and_costs_nothing_else(monkeypatch):
    spoilt = []

    def fails(branches, _):
        branches[0].step()
        spoilt.extend(branch.random.generator for branch in branches)
        for generator in spoilt:
            generator.manual_seed(99)
        raise RuntimeError("CUDA error: operation not permitted\nwhen stream is capturing")

    monkeypatch.setattr(graphs, "capture", fails)
    said = []
    assert same(outcome(TRIAL, fresh(TRIAL), kept=Kept(said.append)), alone(TRIAL))
    numbers = torch.Generator().manual_seed(99).get_state()
    assert all(torch.equal(generator.get_state(), numbers) for generator in spoilt)  # they are not used again
    why = "RuntimeError: CUDA error: operation not permitted when stream is capturing"
    assert said == [f"steps are not captured as a CUDA graph, which is slower: {why}"]


@pytest.mark.parametrize(("batch", "epochs", "made"), [(45, 25, []), (30, 16, []), (30, 17, [2])])
def test_a_capture_is_made_where_there_are_steps_enough_for_it(captures, monkeypatch, batch, epochs, made):
    """50 whole batches to come at least, and three in an epoch."""
    monkeypatch.setattr(group, "FEWEST_STEPS", 50)
    trial = replace(TRIAL, training=replace(RECIPE, batch_size=batch, epochs=epochs))
    assert same(outcome(trial, fresh(trial)), alone(trial))
    assert captures == made
