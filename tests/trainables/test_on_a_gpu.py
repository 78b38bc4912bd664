"""Training walked on a pretended GPU: nothing is mixed, no step waits, and the numbers are the CPU's."""

import sys
from dataclasses import replace
from typing import NamedTuple
from unittest import mock

import pytest
import torch
from torch.nn import functional as F
from torch.optim.optimizer import register_optimizer_step_post_hook

from tests.conftest import make_dataset, with_several_labels
from tests.pretended import Mixed, Raced, pretended_gpu
from trainables import graphs
from trainables.augment import flip
from trainables.checkpoint import pack, unpack
from trainables.config import CNN, ResNet, Training, Trial
from trainables.kept import Kept
from trainables.replicate import replicate
from trainables.scoring import loss
from trainables.snapshot import STATE
from trainables.train import evaluate, predict, train

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
RATE = 2**-7  # the same in single precision, which a GPU's optimizers may take it in, and in double
WALKS = {
    "SGD, crops": (PLAIN, Training(schedule="cosine", flip=True, crop_padding=2), False),
    "Adam, several labels": (PLAIN, Training(optimizer="adam", lr=RATE, crop=10), True),
    "AdamW": (replace(PLAIN, pooling="average"), Training(optimizer="adamw", lr=RATE, weight_decay=0.1), False),
    "ResNet, SGD": (ResNet(), Training(schedule="linear", flip=True), False),
    "ResNet, Adam, several labels": (ResNet(), Training(optimizer="adam", lr=RATE), True),
}


def data_of(several):
    """Return tiny images with a label each, or with several."""
    data = make_dataset(count=IMAGES)
    return with_several_labels(data) if several else data


def walk(trial, data, device, seeds=(0,), observer=None):
    """Train the trial; return its replicates."""
    members = [replicate(trial, data, seed, device) for seed in seeds]
    assert len(list(train(trial, data, members, device, observer))) == trial.training.epochs
    return members


def results(members):
    """Return the records without their times, and the tensors of the networks and of their best weights, by name."""
    untimed = {"seconds": 0.0, "images_per_second": 0.0}
    records = [replace(record, **untimed) for member in members for record in member.records]
    tensors = [
        sorted(weights.items()) for member in members for weights in (member.model.state_dict(), member.chosen.weights)
    ]
    return records, [tensor.cpu() for weights in tensors for _, tensor in weights]


def same(one, other):
    (records, tensors), (others, expected) = one, other
    return records == others and len(tensors) == len(expected) and all(map(torch.equal, tensors, expected))


@pytest.fixture(autouse=True)
def in_turn_and_in_float32(monkeypatch):
    """Let the CPU train in float32, as the pretended GPU does, whatever it could; and that one capture nothing."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    monkeypatch.setattr(graphs, "can_capture", lambda _: False)


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
        assert not any(tensor.is_cuda for member in members for tensor in member.chosen.weights.values())
        found = results(members)
    assert gpu.faults == []
    assert gpu.steps == 2 * steps * len(seeds)
    assert list(map(str, gpu.waits_inside(steps))) == []
    assert same(found, expected)


@pytest.mark.parametrize("several", [False, True])
def test_an_epoch_of_more_steps_reads_no_more(several):
    """Few reads for the scores and for what is kept of each image, one of each tensor that is held."""
    data, reads = data_of(several), []
    for size in (26, 13, 4, 2):
        trial = Trial(model=PLAIN, training=Training(epochs=1, batch_size=size, flip=True, crop_padding=1))
        with pretended_gpu() as gpu:
            [member] = walk(trial, data, gpu.device)
        reads.append([wait.what for wait in gpu.reads])
    assert reads[1:] == [reads[0]] * 3
    assert len(reads[0]) <= len(member.chosen.weights) + 27


def test_a_watched_step_waits_no_more_than_any_other():
    """From where the observer looks, before the step, to the step's end a wait is an error."""
    seen = []

    class Watch:
        def due(self, _):
            return True

        def look(self, at, network, images):
            seen.append((at, images.is_cuda, images.shape, next(network.parameters()).is_cuda))
            torch.cuda.set_sync_debug_mode("error")

    with pretended_gpu() as gpu:
        ended = register_optimizer_step_post_hook(lambda *_: torch.cuda.set_sync_debug_mode("default"))
        trial = Trial(model=PLAIN, training=Training(epochs=2, batch_size=BATCH, crop=9))
        try:
            walk(trial, data_of(False), gpu.device, observer=Watch())
        finally:
            ended.remove()
    assert gpu.faults == []
    assert gpu.waits_inside(STEPS) == []
    assert seen == [(n / 4, True, (size, 9, 9, 3), True) for n, size in enumerate([8, 8, 8, 2] * 2)]


@pytest.mark.parametrize("free", [None, 0])
@pytest.mark.parametrize("how", [{}, {"crop": 9}])
def test_seeds_that_split_the_data_themselves_mix_nothing_and_give_the_cpus_bits(free, how):
    """With the pool on the device, or in the host's memory."""
    recipe = Training(epochs=2, batch_size=BATCH, flip=True, vary_split=True, **how)
    trial, data = Trial(model=PLAIN, training=recipe), data_of(False)
    expected = results(walk(trial, data, CPU, (0, 3)))
    with pretended_gpu(**({} if free is None else {"free": free})) as gpu:
        found = results(walk(trial, data, gpu.device, (0, 3)))
    assert gpu.faults == []
    if free is None:
        assert list(map(str, gpu.waits_inside(STEPS))) == []
    assert same(found, expected)


@pytest.mark.parametrize("batch", [13, 8])
def test_images_that_do_not_fit_on_the_device_are_fetched_without_a_wait_or_a_race(batch):
    """Whether they lie on the device or in the host's memory, training is the same."""
    trial = Trial(model=PLAIN, training=Training(epochs=2, batch_size=batch, flip=True))
    expected = results(walk(trial, data_of(False), CPU))
    with pretended_gpu(free=0) as gpu:
        found = results(walk(trial, data_of(False), gpu.device))
    assert gpu.event_waits > 0
    assert gpu.faults == []
    assert same(found, expected)
    assert list(map(str, gpu.waits_inside(-(-IMAGES // batch)))) == []


def test_where_steps_cannot_be_captured_the_replicates_of_a_group_go_in_turn(monkeypatch):
    """There is no graph here, which is said; each replicate still has its own random numbers."""
    said, data = [], data_of(False)
    trial = Trial(model=PLAIN, training=Training(epochs=4, batch_size=2, flip=True))
    with pretended_gpu(own_random_numbers=True) as gpu:
        alone = [results(walk(trial, data, gpu.device, (seed,))) for seed in (0, 1)]
    monkeypatch.setattr(graphs, "can_capture", lambda _: True)
    with pretended_gpu(own_random_numbers=True) as gpu:
        members = [replicate(trial, data, seed, gpu.device) for seed in (0, 1)]
        list(train(trial, data, members, gpu.device, kept=Kept(said.append)))
        found = [results([member]) for member in members]
    why = "RuntimeError: the pretended GPU has no streams of one's own"
    assert said == [f"steps are not captured as a CUDA graph, which is slower: {why}"]
    assert gpu.faults == []
    assert gpu.waits_inside(IMAGES // 2) == []
    assert all(map(same, found, alone))


def test_in_bfloat16_too_nothing_is_mixed_and_no_step_waits():
    trial = Trial(model=PLAIN, training=Training(epochs=1, batch_size=BATCH, flip=True))
    with pretended_gpu(bf16=True) as gpu:
        walk(trial, data_of(False), gpu.device)
    assert gpu.faults == []
    assert gpu.waits_inside(STEPS) == []


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_a_resumed_trial_is_the_uninterrupted_one_and_replicates_in_turn_are_those_alone(optimizer):
    """With a generator of the device's own: the CPU's random numbers are not what is saved and restored."""
    recipe = Training(epochs=2, batch_size=BATCH, flip=True, optimizer=optimizer, lr=0.01)
    trial, data, seeds = Trial(model=PLAIN, training=recipe), data_of(False), (0, 1)
    first = replace(trial, training=replace(recipe, epochs=1))
    with pretended_gpu(own_random_numbers=True) as gpu:
        alone = [results(walk(trial, data, gpu.device, (seed,))) for seed in seeds]
        state = pack(first, data, walk(first, data, gpu.device, seeds))[STATE]
        torch.rand(7, device=gpu.device)
        members = unpack(state, trial, data, seeds, gpu.device)
        list(train(trial, data, members, gpu.device))
        found = [results([member]) for member in members]
    assert gpu.faults == []
    assert all(map(same, found, alone))


def test_the_devices_random_numbers_are_not_the_cpus():
    """Otherwise the test above would say nothing."""
    trial = Trial(model=PLAIN, training=Training(epochs=1, batch_size=BATCH, flip=True))
    found = []
    for own in (False, True):
        with pretended_gpu(own_random_numbers=own) as gpu:
            found.append(results(walk(trial, data_of(False), gpu.device)))
    assert not same(*found)


@pytest.mark.parametrize("there", [True, False])
def test_a_trial_goes_on_on_the_other_kind_of_device(there):
    trial = Trial(model=PLAIN, training=Training(epochs=2, batch_size=BATCH))
    first, data = replace(trial, training=replace(trial.training, epochs=1)), data_of(False)
    with pretended_gpu(own_random_numbers=True) as gpu:
        one, other = (CPU, gpu.device) if there else (gpu.device, CPU)
        state = pack(first, data, walk(first, data, one))[STATE]
        members = unpack(state, trial, data, (0,), other)
        assert [epoch.number for epoch in train(trial, data, members, other)] == [2]
        assert all(tensor.is_cuda == there for tensor in members[0].model.state_dict().values())
    assert gpu.faults == []


def test_pretrained_weights_go_to_the_device():
    data, trial = data_of(False), Trial(model=PLAIN, training=Training(epochs=1, batch_size=BATCH))
    weights = {name: tensor + 0.25 for name, tensor in replicate(trial, data, 1, CPU).model.state_dict().items()}
    with pretended_gpu() as gpu:
        found = replicate(trial, data, 0, gpu.device, weights).model.state_dict()
        assert all(tensor.is_cuda for tensor in found.values())
        assert torch.equal(found["head.weight"].cpu(), weights["head.weight"])


def test_predicting_and_evaluating_are_the_cpus_and_predicting_waits_for_nothing():
    data = data_of(False)
    network = replicate(Trial(model=PLAIN), data, 0, CPU).model
    images, labels = torch.from_numpy(data.test.images), torch.from_numpy(data.test.labels)
    expected, scored = predict(network, images), evaluate(network, images, labels, "11-point")
    with pretended_gpu() as gpu:
        network.to(gpu.device)
        images, labels = images.to(gpu.device), labels.to(gpu.device)
        with gpu.no_waits():
            logits = predict(network, images)
        assert logits.is_cuda
        assert torch.equal(logits.cpu(), expected)
        assert evaluate(network, images, labels, "11-point") == scored
    assert gpu.faults == []


def test_images_are_resized_to_the_same_pixels_everywhere():
    """On the CPU: there torchvision resizes in whole numbers, and on a GPU in float32."""
    data, trial = data_of(False), Trial(model=PLAIN, training=Training(epochs=1, batch_size=BATCH, resize=15, crop=12))
    expected = results(walk(trial, data, CPU))
    with pretended_gpu() as gpu:
        found = results(walk(trial, data, gpu.device))
    assert gpu.faults == []
    assert gpu.waits_inside(STEPS) == []
    assert same(found, expected)


class Step(NamedTuple):
    """What a step has just computed."""

    loss: torch.Tensor
    logits: torch.Tensor
    labels: torch.Tensor


# What may go wrong inside a step, and how it is found
IN_THE_LOSS = {
    "item()": (lambda step: step.loss.item(), "read by aten::_local_scalar_dense"),
    "float()": (lambda step: float(step.loss.detach()), "read by aten::_local_scalar_dense"),
    "if": (lambda step: 1 if step.loss else 2, "read by aten::_local_scalar_dense"),
    "tolist()": (lambda step: step.logits.tolist(), "read by tolist"),
    "cpu()": (lambda step: step.logits.detach().cpu(), "read by aten::_to_copy"),
    "str()": (lambda step: str(step.loss), "read by __repr__"),
    "a boolean mask": (lambda step: step.logits[step.labels > 0], "read by aten::index"),
    "masked_select()": (lambda step: step.labels.masked_select(step.labels > 0), "read by aten::masked_select"),
    "nonzero()": (lambda step: step.labels.nonzero(), "read by aten::nonzero"),
    "unique()": (lambda step: step.labels.unique(), "read by aten::_unique2"),
    "bincount()": (lambda step: torch.bincount(step.labels), "read by aten::bincount"),
    "a counter as an index": (lambda step: step.logits[step.labels.argmax()], "read by aten::_local_scalar_dense"),
    "synchronize()": (lambda _: torch.cuda.synchronize(), "read by torch.cuda.synchronize"),
    "a permutation on the CPU": (lambda step: step.logits[torch.randperm(len(step.logits))], "upload by aten::index"),
    "a pageable upload": (lambda step: torch.zeros(3).to(step.loss.device), "upload by aten::_to_copy"),
    "a list as a tensor": (lambda step: torch.tensor([1.0], device=step.loss.device), "upload by tensor"),
    "labels on the CPU": (lambda step: F.cross_entropy(step.logits, torch.zeros(len(step.logits)).long()), Mixed),
    "numpy()": (lambda step: step.logits.detach().numpy(), TypeError),
}


def spoil(monkeypatch, original, spoilt):
    """Put another function in the place of one of trainables, wherever it is imported."""
    for name in [name for name in sys.modules if name.startswith("trainables.")]:
        if vars(sys.modules[name]).get(original.__name__) is original:
            monkeypatch.setattr(sys.modules[name], original.__name__, spoilt)


def faults_of(trial):
    """Return what is found in an epoch: its waits, without their places in the code, or the kind of its error."""
    with pretended_gpu() as gpu:
        try:
            walk(trial, data_of(False), gpu.device)
        except (Mixed, TypeError) as error:
            return {type(error)}
    return {f"{wait.kind} by {wait.what}" for wait in gpu.waits_inside(STEPS)}


SPOILT = Trial(model=PLAIN, training=Training(epochs=1, batch_size=BATCH, flip=True))


@pytest.mark.parametrize("name", IN_THE_LOSS)
def test_a_fault_in_the_step_is_found(name, monkeypatch):
    fault, found = IN_THE_LOSS[name]

    def spoilt(logits, labels):
        value = loss(logits, labels)
        if logits.requires_grad:  # in training, not in evaluation
            fault(Step(value, logits, labels))
        return value

    spoil(monkeypatch, loss, spoilt)
    assert faults_of(SPOILT) == {found}


def test_random_numbers_of_the_cpu_are_found(monkeypatch):
    def spoilt(images):
        return torch.where(torch.rand(len(images))[:, None, None, None] < 0.5, images.flip(2), images)

    spoil(monkeypatch, flip, spoilt)
    assert faults_of(SPOILT) == {Mixed}


def test_weights_that_were_left_on_the_cpu_are_found(monkeypatch):
    monkeypatch.setattr(torch.nn.Module, "to", lambda module, *_, **__: module)
    assert faults_of(SPOILT) == {Mixed}


def test_images_that_are_overwritten_before_they_are_fetched_are_found():
    """The third batch is put where the first one may still be on its way from."""
    nothing_is_waited_for = mock.patch.object(torch.cuda, "Event", mock.Mock)
    with pretended_gpu(free=0) as gpu, nothing_is_waited_for, pytest.raises(Raced):
        walk(SPOILT, data_of(False), gpu.device)


def test_where_there_is_no_fault_none_is_found():
    assert faults_of(SPOILT) == set()
