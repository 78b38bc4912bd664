"""A trial on a worker: what it trains, and what the Tracker and the driver get of it."""

import json
from dataclasses import replace
from statistics import fmean, stdev

import pytest
import torch
from safetensors.torch import save

from sweeps.execution.messages import Order
from sweeps.execution.running import Bench, Running, logged
from sweeps.study import Watch
from sweeps.tracking.entry import Entry
from sweeps.tracking.tracker import Tracker
from tests.sweeps.outcomes import record
from trainables.checkpoint import history
from trainables.config import CNN, Training, Trial
from trainables.history import Epoch
from trainables.replicate import replicate
from trainables.snapshot import STATE

TRIAL = Trial(model=CNN(conv_layers=1, channels=4, fc_layers=1), training=Training(epochs=3, batch_size=16, lr=0.05))
ORDER = Order("0" * 64, "lr", TRIAL, (0, 1), "cpu", Entry("lr: 0.05"))


class Kept:
    """Stands for the outbox, and for the Tracker behind it."""

    def __init__(self, state=b""):
        self.state, self.calls, self.epochs, self.settled = state, [], [], 0

    def ask(self, method, *arguments, worker=""):
        self.calls.append((method.__name__, *arguments, *filter(None, [worker])))
        return self.state if method is Tracker.state else None

    def send(self, method, key, step, metrics, files, worker):
        assert (method, key) == (Tracker.epoch, ORDER.key)
        self.epochs.append((step, metrics, files, worker))

    def settle(self):
        self.settled += 1

    @property
    def newest_state(self):
        return self.epochs[-1][2][STATE]


def running(data, outbox, order=ORDER, weights=None, watch=Watch()):  # noqa: B008
    return Running(order, Bench(data, weights or {}, watch, outbox))


def all_of(trial):
    steps = [trial.step()]
    while not steps[-1].last:
        steps.append(trial.step())
    return steps


def scores(records):
    return [each.val_score for each in records]


def test_each_epoch_goes_to_the_tracker_and_to_the_driver(tiny):
    outbox = Kept()
    trial = running(tiny, outbox)
    steps = all_of(trial)
    assert outbox.calls == [("start", ORDER.key, ORDER.entry, trial.attempt), ("state", ORDER.key)]
    assert [step for step, *_ in outbox.epochs] == [1, 2, 3]
    assert {worker for *_, worker in outbox.epochs} == {trial.attempt}
    assert outbox.settled == 1  # before its end is reported, the last epoch is on the Tracker's disk
    assert [(step.epoch, step.last) for step in steps] == [(1, False), (2, False), (3, True)]
    kept = history(outbox.epochs[-1][2])
    for number, step in enumerate(steps):
        assert {seed: (new.after, new.records) for seed, new in step.records.items()} == {
            seed: (number, kept.records[seed][number : number + 1]) for seed in (0, 1)
        }
        assert step.val_score == pytest.approx(fmean(kept.records[seed][number].val_score for seed in (0, 1)))
        assert step.earlier == ()
        assert outbox.epochs[number][1]["val_accuracy"] == pytest.approx(step.val_score)


def test_two_attempts_have_two_names(tiny):
    assert running(tiny, Kept()).attempt != running(tiny, Kept()).attempt


def test_a_trial_taken_up_again_goes_on_bit_by_bit_and_reports_what_was_before(tiny):
    whole = Kept()
    all_of(running(tiny, whole))
    first = Kept()
    trial = running(tiny, first)
    trial.step()
    trial.step()
    second = Kept(first.newest_state)
    step = running(tiny, second).step()
    assert (step.epoch, step.last) == (3, True)
    expected, found = history(whole.epochs[-1][2]), history(second.epochs[-1][2])
    for seed in (0, 1):
        assert scores(found.records[seed]) == scores(expected.records[seed])
        assert step.records[seed].after == 0
        assert step.records[seed].records == found.records[seed]
    before = [fmean(found.records[seed][number].val_score for seed in (0, 1)) for number in (0, 1)]
    assert step.earlier == pytest.approx(tuple(before))


def test_a_trial_whose_lost_process_had_run_it_all_reports_its_last_epoch_and_trains_nothing(tiny):
    whole = Kept()
    all_of(running(tiny, whole))
    outbox = Kept(whole.newest_state)
    step = running(tiny, outbox).step()
    kept = history(whole.epochs[-1][2])
    assert outbox.epochs == []
    assert (step.epoch, step.last) == (3, True)
    assert step.val_score == pytest.approx(fmean(kept.records[seed][2].val_score for seed in (0, 1)))
    assert {seed: len(new.records) for seed, new in step.records.items()} == {0: 3, 1: 3}


def test_a_seed_that_comes_later_catches_up(tiny):
    one = Kept()
    all_of(running(tiny, one, replace(ORDER, seeds=(0,))))
    outbox = Kept(one.newest_state)
    steps = all_of(running(tiny, outbox))
    assert [step.epoch for step in steps] == [1, 2, 3]
    assert [(new.after, len(new.records)) for new in steps[0].records.values()] == [(0, 3), (0, 1)]
    assert [(new.after, len(new.records)) for new in steps[1].records.values()] == [(3, 0), (1, 1)]


def test_pretrained_weights_are_loaded_and_the_report_of_what_fits_is_kept(tiny):
    donor = replicate(TRIAL, tiny, 7, torch.device("cpu")).model
    file = save({name: tensor.contiguous() for name, tensor in donor.state_dict().items()})
    outbox = Kept()
    trial = running(
        tiny, outbox, replace(ORDER, trial=replace(TRIAL, weights="w.safetensors")), {"w.safetensors": file}
    )
    for member in trial.replicates:
        assert torch.equal(member.model.first_convolution.weight, donor.first_convolution.weight)
    trial.step()
    assert "loaded" in json.loads(outbox.epochs[0][2]["pretrained.json"])


def test_figures_that_are_due_are_kept_with_the_epoch(tiny):
    outbox = Kept()
    all_of(running(tiny, outbox, watch=Watch(filters=(1.5,), images=(0,))))
    drawn = [sorted(name for name in files if name.startswith("training/")) for _, _, files, _ in outbox.epochs]
    assert [len(names) for names in drawn] == [1, 1, 0]
    assert drawn[0][0].startswith("training/images-epoch-000.00")
    assert drawn[1][0].startswith("training/filters-epoch-001.5")


def test_logged_are_means_and_the_scores_standard_deviations():
    records = tuple(record(val, test, loss) for val, test, loss in ((0.5, 0.4, 1.0), (0.7, 0.5, 2.0), (0.6, 0.9, 6.0)))
    metrics = logged(Epoch(1, (0, 1, 2), records), "mAP")
    assert metrics["val_mAP"] == pytest.approx(0.6)
    assert metrics["train_loss"] == pytest.approx(3.0)
    assert metrics["val_mAP_sd"] == pytest.approx(stdev([0.5, 0.7, 0.6]))
    assert metrics["test_mAP_sd"] == pytest.approx(stdev([0.4, 0.5, 0.9]))
    assert set(metrics) == {
        *("train_loss", "val_loss", "test_loss", "lr", "images_per_second"),
        *(f"{part}_mAP{end}" for part in ("train", "val", "test") for end in ("", "_sd")),
    }
    assert not any(name.endswith("_sd") for name in logged(Epoch(1, (0,), records[:1]), "accuracy"))
