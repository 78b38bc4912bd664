"""Training walked on a pretended GPU: nothing is mixed, no step waits, and the numbers are the CPU's."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import make_dataset
from tests.pretended import pretended_gpu
from trainables.checkpoint import pack, unpack
from trainables.config import CNN, ResNet, Training, Trial
from trainables.snapshot import STATE
from trainables.train import replicate, train

CPU = torch.device("cpu")
IMAGES, BATCH = 26, 8  # the last batch is a short one
STEPS = 4  # of an epoch
PLAIN = CNN(
    conv_layers=2,
    channels=4,
    padding=1,
    pool_size=3,
    batch_norm=True,
    conv_dropout=0.1,
    fc_layers=2,
    fc_widths=8,
    fc_batch_norm=True,
    fc_dropout=0.2,
)
WALKS = {
    "SGD, crops": (PLAIN, Training(schedule="cosine", flip=True, crop_padding=2), False),
    "Adam, several labels": (PLAIN, Training(optimizer="adam", lr=0.01, crop=10), True),
    "AdamW": (replace(PLAIN, pooling="average"), Training(optimizer="adamw", lr=0.01, weight_decay=0.1), False),
    "ResNet, SGD": (ResNet(), Training(schedule="linear", flip=True), False),
    "ResNet, Adam, several labels": (ResNet(), Training(optimizer="adam", lr=0.001), True),
}


def data_of(several):
    """Return tiny images with a label each, or with labels that are absent, present or unknown."""
    data = make_dataset(count=IMAGES)
    if not several:
        return data
    rng = np.random.default_rng(2)
    parts = {name: getattr(data, name) for name in ("train", "val", "test")}
    return replace(
        data,
        **{
            name: replace(part, labels=rng.integers(-1, 2, (len(part), 3)).astype(np.int8))
            for name, part in parts.items()
        },
    )


def walk(trial, data, device, seeds=(0,), observer=None):
    """Train the trial; return its replicates."""
    members = [replicate(trial, data, seed, device) for seed in seeds]
    assert len(list(train(trial, data, members, device, observer))) == trial.training.epochs
    return members


def results(members):
    """Return the records without their times, and all tensors on the CPU."""
    untimed = {"seconds": 0.0, "images_per_second": 0.0}
    records = [replace(record, **untimed) for member in members for record in member.records]
    tensors = [
        tensor.cpu() for member in members for tensor in (*member.model.state_dict().values(), *member.best.values())
    ]
    return records, tensors


def same(one, other):
    (records, tensors), (others, expected) = one, other
    return records == others and all(map(torch.equal, tensors, expected))


@pytest.fixture(autouse=True)
def without_bfloat16(monkeypatch):
    """Let the CPU train in float32, as the pretended GPU does, whatever it could."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)


@pytest.mark.parametrize("name", WALKS)
def test_whole_epochs_mix_nothing_wait_in_no_step_and_give_the_cpus_bits(name):
    model, recipe, several = WALKS[name]
    small = isinstance(model, ResNet)
    recipe = replace(recipe, epochs=2, batch_size=13 if small else BATCH)
    steps = 2 if small else STEPS
    trial, data, seeds = Trial(model=model, training=recipe), data_of(several), (0,) if small else (0, 1)
    expected = results(walk(trial, data, CPU, seeds))
    with pretended_gpu() as gpu:
        members = walk(trial, data, gpu.device, seeds)
        assert all(tensor.is_cuda for member in members for tensor in member.model.state_dict().values())
        assert not any(tensor.is_cuda for member in members for tensor in member.best.values())
        found = results(members)
    assert gpu.faults == []
    assert gpu.steps == 2 * steps * len(seeds)
    assert list(map(str, gpu.waits_inside(steps))) == []
    assert same(found, expected)
