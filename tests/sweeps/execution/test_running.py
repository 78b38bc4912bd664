"""A trial on a worker: what it trains, and what the Tracker and the driver get of it."""

import json
from dataclasses import replace
from itertools import islice
from statistics import fmean, stdev
from unittest.mock import Mock

import pytest
import torch
from ray.exceptions import RayActorError
from safetensors.torch import load, save

from sweeps.execution import snapshots
from sweeps.execution.messages import Order, Stopped
from sweeps.execution.running import Bench, Running, logged
from sweeps.execution.snapshots import Costs, Snapshots
from sweeps.study import Watch
from sweeps.tracking.entry import Entry
from sweeps.tracking.tracker import Tracker
from tests.sweeps.outcomes import record
from trainables.checkpoint import history
from trainables.config import CNN, Training, Trial
from trainables.files import unzipped, zipped
from trainables.history import Epoch
from trainables.replicate import replicate
from trainables.snapshot import CURVES, PER_CLASS, STATE, WEIGHTS
from trainables.snapshot import TRIAL as TRIAL_FILE
from trainables.train import Diverged

TRIAL = Trial(model=CNN(conv_layers=1, channels=4, fc_layers=1), training=Training(epochs=3, batch_size=16, lr=0.05))
RECORD = record(0.5)
ORDER = Order("0" * 64, "lr", TRIAL, (0, 1), "cpu", Entry("lr: 0.05"))


class Kept:
    """Stands for the outbox, and for the Tracker behind it; `full` is what it raises once its disk is full."""

    def __init__(self, state=b""):
        self.state, self.calls, self.epochs, self.settled, self.full = state, [], [], 0, None

    def ask(self, method, *arguments, worker=""):
        self.calls.append((method.__name__, *arguments, *filter(None, [worker])))
        return self.state if method is Tracker.state else None

    def send(self, method, key, step, metrics, files, worker):
        assert (method, key) == (Tracker.epoch, ORDER.key)
        if self.full:
            raise self.full
        self.epochs.append((step, metrics, files, worker))

    def settle(self):
        self.settled += 1

    @property
    def newest_state(self):
        return self.epochs[-1][2][STATE]


def running(data, outbox, order=ORDER, weights=None, watch=Watch(), dear=False):  # noqa: B008
    """Return a trial whose snapshots cost next to nothing, or are so dear that none is due along the way."""
    return Running(order, Bench(data, weights or {}, watch, outbox, Costs(1e9 if dear else 1e-9)))


@pytest.fixture(autouse=True)
def known_costs(monkeypatch):
    """Have nothing learned of what snapshots cost here."""
    monkeypatch.setattr(Costs, "learn", lambda *_: None)


def all_of(trial):
    steps = [trial.step()]
    while not steps[-1].last:
        steps.append(trial.step())
    return steps


def scores(records):
    return [each.val_score for each in records]


def test_marks_of_all_seeds_come_with_the_last_epoch_alone(tiny):
    first, second, last = all_of(running(tiny, outbox := Kept()))
    assert (first.marks, second.marks) == ({}, {})
    kept = history(outbox.epochs[-1][2])
    assert last.marks == kept.marks
    assert len(kept.chosen_marks()) == 2
    # a process that was lost after its last epoch has them all the same
    [again] = all_of(running(tiny, Kept(outbox.newest_state)))
    assert again.marks == last.marks


def test_each_epoch_goes_to_the_tracker_and_to_the_driver(tiny):
    outbox = Kept()
    trial = running(tiny, outbox)
    steps = all_of(trial)
    assert outbox.calls == [("start", ORDER.key, ORDER.entry, trial.attempt), ("state", ORDER.key)]
    assert [step for step, *_ in outbox.epochs] == [1, 2, 3]
    assert {worker for *_, worker in outbox.epochs} == {trial.attempt}
    assert outbox.settled == 4  # before its end is reported, the last epoch is on the Tracker's disk
    assert all(step.kept for step in steps)
    assert [(step.epoch, step.last) for step in steps] == [(1, False), (2, False), (3, True)]
    kept = history(outbox.epochs[-1][2])
    for number, step in enumerate(steps):
        assert {seed: (new.after, new.records) for seed, new in step.records.items()} == {
            seed: (number, kept.records[seed][number : number + 1]) for seed in (0, 1)
        }
        assert step.val_score == pytest.approx(fmean(kept.records[seed][number].val_score for seed in (0, 1)))
        assert step.earlier == ()
        assert outbox.epochs[number][1]["val_accuracy"] == pytest.approx(step.val_score)


def test_a_snapshot_that_is_not_due_comes_with_the_last_epoch_and_metrics_with_each(tiny):
    outbox = Kept()
    steps = all_of(running(tiny, outbox, dear=True))
    assert [step.kept for step in steps] == [False, False, True]
    assert [sorted(files) for _, _, files, _ in outbox.epochs[:2]] == [[], []]
    assert [metrics["val_accuracy"] for _, metrics, *_ in outbox.epochs] == pytest.approx([s.val_score for s in steps])
    assert {CURVES, PER_CLASS, TRIAL_FILE, WEIGHTS, STATE} == set(outbox.epochs[2][2])
    assert history(outbox.epochs[2][2]).epochs == 3


def test_a_snapshot_is_due_once_the_trial_has_trained_long_enough(tiny, monkeypatch):
    now = iter(range(10**6))  # each look at the clock takes a second, as do an epoch, a wait and a snapshot with it
    monkeypatch.setattr(Snapshots.__init__, "__defaults__", (lambda: next(now),))
    monkeypatch.setattr(snapshots, "SHARE", 2.0)
    trial = running(tiny, Kept(), replace(ORDER, trial=replace(TRIAL, training=replace(TRIAL.training, epochs=9))))
    monkeypatch.setattr(Costs, "expected", lambda *_: 1.5)
    assert [step.kept for step in all_of(trial)] == [False, False, True] * 3


def test_a_trial_that_is_stopped_trains_nothing_more_and_hands_over_all_that_it_has(tiny):
    outbox = Kept()
    trial = running(tiny, outbox, dear=True)
    steps = [trial.step(), trial.step()]
    settled = outbox.settled
    assert trial.wind_up() == Stopped()
    step, metrics, files, worker = outbox.epochs[-1]
    assert (step, metrics, worker, outbox.settled) == (2, {}, trial.attempt, settled + 1)
    kept = history(files)
    assert scores(kept.records[0]) == [each.records[0].records[0].val_score for each in steps]
    whole, rest = Kept(), Kept(files[STATE])
    all_of(running(tiny, whole))
    all_of(running(tiny, rest))
    assert scores(history(rest.epochs[-1][2]).records[1]) == scores(history(whole.epochs[-1][2]).records[1])


def test_what_was_trained_after_the_last_snapshot_is_trained_again_bit_by_bit_and_reported_again(tiny):
    whole = Kept()
    all_of(running(tiny, whole))
    lost = Kept()
    trial = running(tiny, lost)
    trial.step()
    trial.bench.costs.factor = 1e9
    assert not trial.step().kept
    second = Kept(lost.epochs[0][2][STATE])
    steps = all_of(running(tiny, second, dear=True))
    assert [(step.epoch, step.earlier != ()) for step in steps] == [(2, True), (3, False)]
    assert second.epochs[0][1]["train_loss"] == lost.epochs[1][1]["train_loss"]
    assert unsealed_records(second) == unsealed_records(whole)


def unsealed_records(outbox):
    rows = history(outbox.epochs[-1][2]).records
    return {seed: [replace(row, seconds=0.0, images_per_second=0.0) for row in rows[seed]] for seed in rows}


def fails_in(trial, epoch, error):
    """Have a trial's second replicate fail in an epoch, when the first one has run it."""

    def until(epochs):
        yield from islice(epochs, epoch - 1)
        trial.replicates[0].records.append(replace(RECORD, val_score=0.99))
        raise error

    trial.team._here = until(trial.team._here)


@pytest.mark.parametrize("dear", [True, False])
def test_a_trial_that_fails_leaves_the_records_that_it_reported_and_no_state_of_half_an_epoch(tiny, dear):
    outbox = Kept()
    trial = running(tiny, outbox, dear=dear)
    fails_in(trial, 3, Diverged("the training loss became nan"))
    reported = [trial.step(), trial.step()]
    with pytest.raises(Diverged):
        trial.step()
    step, metrics, files, _ = outbox.epochs[-1]
    assert (step, metrics, set(files)) == (2, {}, {CURVES, PER_CLASS})
    kept = history(files)
    for seed in (0, 1):
        assert kept.records[seed] == tuple(row for each in reported for row in each.records[seed].records)
    best = max(kept.records[0], key=lambda row: row.val_score)
    assert list(json.loads(files[PER_CLASS])["0"].values()) == list(best.class_score)
    states = [files[STATE] for _, _, files, _ in outbox.epochs if STATE in files]
    assert len(states) == (0 if dear else 2)


def test_a_trial_that_fails_in_its_first_epoch_leaves_nothing(tiny):
    outbox = Kept()
    trial = running(tiny, outbox)
    fails_in(trial, 1, Diverged("the training loss became nan"))
    with pytest.raises(Diverged):
        trial.step()
    assert outbox.epochs == []


def test_a_tracker_that_takes_nothing_is_not_asked_to_take_the_records(tiny):
    outbox = Kept()
    trial = running(tiny, outbox)
    trial.step()
    outbox.full, outbox.send = OSError(28, "no space left"), Mock(side_effect=outbox.send)
    with pytest.raises(OSError, match="no space left"):
        trial.step()
    assert outbox.send.call_count == 1


def test_records_that_nobody_takes_do_not_hide_why_the_trial_failed(tiny):
    outbox = Kept()
    trial = running(tiny, outbox)
    trial.step()
    fails_in(trial, 1, Diverged("the training loss became nan"))
    outbox.full = RayActorError()
    with pytest.raises(Diverged):
        trial.step()


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


def test_what_is_said_of_a_trial_goes_along_once_with_its_next_epoch(tiny):
    """Here that its state is of another kind of device: a GPU's random numbers are 16 bytes of state."""
    outbox = Kept()
    running(tiny, outbox).step()
    state = unzipped(outbox.newest_state)
    there = {
        name: save(load(content) | {"rng": torch.zeros(16, dtype=torch.uint8)}) if "seed-1" in name else content
        for name, content in state.items()
    }
    steps = all_of(running(tiny, Kept(zipped(there))))
    line = "seed 1 was trained on another kind of device up to epoch 1: its random numbers begin anew on cpu"
    assert [step.notes for step in steps] == [(line,), ()]


def test_the_images_stay_on_the_device_for_the_next_trial(tiny):
    bench = Bench(tiny, {}, Watch(), Kept())
    parts = []
    for seed in (0, 1):
        Running(replace(ORDER, seeds=(seed,)), bench).step()
        parts.append(bench.kept.parts(tiny, TRIAL.training, torch.device("cpu")))
    assert parts[0] is parts[1]


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


def test_figures_come_at_once_also_without_a_snapshot(tiny):
    outbox = Kept()
    all_of(running(tiny, outbox, watch=Watch(filters=(1.5,), images=(0,)), dear=True))
    assert [[name.partition("-")[0] for name in files] for _, _, files, _ in outbox.epochs[:2]] == [
        ["training/images"],
        ["training/filters"],
    ]


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


def test_a_snapshot_s_memory_goes_back_once_the_tracker_has_it_and_only_then(tiny, monkeypatch):
    given = []
    monkeypatch.setattr("sweeps.execution.running.give_memory_back", lambda: given.append(outbox.settled))
    all_of(running(tiny, outbox := Kept(), dear=True))
    assert given == [outbox.settled]  # of the last epoch's alone
    given.clear()
    all_of(running(tiny, outbox := Kept()))
    assert len(given) == 3
