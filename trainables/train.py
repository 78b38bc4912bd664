"""The hot path: train() trains a trial's replicates and yields one record per epoch.

The whole data set lies on the device as uint8, channels last; a batch is one gather of it. Nothing waits for the device
inside an epoch. What a step is: trainables/lane.py; how replicates take theirs side by side: trainables/group.py.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from trainables.augment import as_evaluated
from trainables.config import Training, Trial
from trainables.datasets import Dataset
from trainables.devices import on_gpu, prepare
from trainables.footprint import evaluated_at_once
from trainables.group import Group, Observer
from trainables.history import Epoch, Record
from trainables.kept import Kept
from trainables.lane import Lane
from trainables.marks import Logits, Marks, Right, Seen
from trainables.replicate import Replicate
from trainables.resident import Part, Parts
from trainables.scoring import Score, score

FITTED = 4096  # training images that are cut out and put through the network at a time


class Diverged(RuntimeError):
    """The training loss is no longer a number."""


def train(
    trial: Trial,
    data: Dataset,
    replicates: list[Replicate],
    device: torch.device,
    observer: Observer | None = None,
    kept: Kept | None = None,
) -> Iterator[Epoch]:
    """Train the replicates up to the trial's number of epochs and yield an Epoch over all of them after each.

    Replicates that are behind (added later, or restored from an earlier state) catch up alone. On one device, the same
    seeds give the same bits, interrupted or not. The observer looks at the first replicate. What the device has from
    the trial before is `kept`. Raises Diverged, naming seed and epoch, where a training loss becomes NaN or infinite.
    """
    prepare(device, trial.training.threads)
    kept = kept or Kept()
    parts = {member.seed: kept.parts_of(member, data, trial.training, device) for member in replicates}
    groups: list[Group] = []
    for number in range(1, trial.training.epochs + 1):
        behind = [member for member in replicates if member.epoch < number]
        if len(behind) > sum(len(group.lanes) for group in groups):  # those that were behind before still are
            groups = kept.groups(behind, trial, data, device)
        for group in groups:
            watched = group.lanes[0].member is replicates[0]
            _run_epoch(group, parts, trial, observer if watched else None)
        if behind and number == trial.training.epochs:
            for member in replicates:
                _fit(member, parts[member.seed].train, trial.training)
        if behind:
            yield Epoch(number, tuple(m.seed for m in replicates), tuple(m.records[number - 1] for m in replicates))


def _run_epoch(group: Group, parts: Mapping[int, Parts], trial: Trial, observer: Observer | None) -> None:
    """Train an epoch of a group, evaluate its replicates by the parts of their seeds, and add a record to each."""
    begin, together = time.perf_counter(), len(group.lanes)
    learned = group.train(observer, trial.training.epochs - group.lanes[0].member.epoch)
    trained = (time.perf_counter() - begin) / together
    for lane, taught in zip(group.lanes, learned, strict=True):
        _finish_epoch(lane, taught, parts[lane.member.seed], trained)


def _finish_epoch(lane: Lane, learned: Score, parts: Parts, trained: float) -> None:
    """Evaluate a replicate whose epoch of training took so many seconds, and add its record."""
    begin = time.perf_counter()
    member, recipe, val, test = lane.member, lane.recipe, parts.val, parts.test
    if not math.isfinite(learned.loss):
        raise Diverged(f"the training loss became {learned.loss} in epoch {member.epoch + 1} (seed {member.seed})")
    chosen_by, val_seen = evaluate(member.model, _as_evaluated(val, recipe), val.own_labels, recipe.ap_rule)
    read, test_seen = evaluate(member.model, test.images, test.labels, recipe.ap_rule)
    record = Record(
        train_loss=learned.loss,
        train_score=learned.value,
        val_loss=chosen_by.loss,
        val_score=chosen_by.value,
        test_loss=read.loss,
        test_score=read.value,
        class_score=read.per_class,
        lr=recipe.lr * recipe.lr_factor(member.epoch),
        images_per_second=len(parts.train) / trained,
        seconds=trained + time.perf_counter() - begin,
    )
    member.hold(record, Marks(member.epoch + 1, val_seen, test_seen))


def _as_evaluated(val: Part, recipe: Training) -> Tensor:
    """Return validation images as in evaluation: of a pool, a copy for the moment."""
    if val.index is None:
        return val.images
    [images] = val.chunks(len(val))
    return as_evaluated(images, recipe)


def _fit(member: Replicate, train: Part, recipe: Training) -> None:
    """Add the score on the training images to what is held of the chosen epoch."""
    held, newest = member.chosen, member.newest
    if newest is None or held.marks is None or held.marks.fit is not None:
        return
    member.model.load_state_dict(held.weights)
    logits = torch.cat([predict(member.model, as_evaluated(chunk, recipe)) for chunk in train.chunks(FITTED)])
    member.model.load_state_dict(newest.weights)
    marks = replace(held.marks, fit=score(logits, train.own_labels, recipe.ap_rule).value)
    member.replace(held, replace(held, marks=marks))


def evaluate(model: nn.Module, images: Tensor, labels: Tensor, ap_rule: str) -> tuple[Score, Seen]:
    """Score `model` on uint8 images (N, H, W, C) as it gets them in evaluation, labels being on the model's device.

    Returns also what it makes of each image. In float32 on every hardware, as the analyses do, so that one checkpoint
    has one score.
    """
    # Where the hardware computes bfloat16, older records of protocol 2 were evaluated in it and may differ in the last
    # digits. The protocol stays: the hardware decided even then which of the two it was, and training keeps its bits.
    logits = predict(model, images)
    found = score(logits, labels, ap_rule)
    if labels.ndim == 2:
        return found, Logits.of(logits.cpu().numpy())
    return found, Right.of((logits.argmax(1) == labels).cpu().numpy())


def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Return the logits (N, classes), computed in float32, of uint8 images (N, H, W, C), which may be on the host."""
    model.eval()
    device = next((each.device for each in (*model.parameters(), *model.buffers())), images.device)
    size = evaluation_batch(images.shape[1:3], device)
    with torch.inference_mode():
        batches = (batch.to(device, non_blocking=True) for batch in images.split(size))
        return torch.cat([model(batch.permute(0, 3, 1, 2)) for batch in batches])


def evaluation_batch(size: Sequence[int], device: torch.device) -> int:
    """Return how many images of `size` (height, width) to evaluate at once."""
    return evaluated_at_once(size, "cuda" if on_gpu(device) else "cpu")
