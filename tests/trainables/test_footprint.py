"""The estimate against what torch keeps on the CPU: of a real step of every study's networks."""

import importlib
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.conftest import make_dataset
from trainables import datasets
from trainables.config import CNN, ResNet, Training, Trial
from trainables.datasets import Dataset, Split
from trainables.footprint import (
    CONTEXT,
    CUBLAS_WORKSPACE,
    WORKER,
    Footprint,
    Images,
    evaluated_at_once,
    examination,
    footprint,
    on_cpu,
    slots,
)
from trainables.plan import parameters, plan
from trainables.replicate import replicate
from trainables.scoring import loss

NAMES = ("part_a", "wide_cnn", "blocks", "resnet", "simple_cnn", "voc", "search", "kernels")
BATCH, BATCH_OF_LARGE = 16, 4  # images of a step here


def trials() -> dict[str, tuple[Trial, tuple[int, int, int], int]]:
    """Return the networks that the studies start from, with the images and classes that they are for."""
    found = {}
    for name in NAMES:
        study = importlib.import_module(f"sweeps.{name}").STUDY
        images = datasets.image_shape(study.baseline.dataset, Path("data"))
        for stage in study.stages:
            trial = stage.start if isinstance(stage.start, Trial) else study.baseline
            found.setdefault(f"{name}, {stage.name}" if trial is not study.baseline else name, (trial, *images))
    return found


TRIALS = trials()


class Memory(TorchDispatchMode):
    """Counts the bytes of the tensors made while it is on: those there are, and the most that there were at once.

    Of what was there `before`, views are no new ones.
    """

    def __init__(self, before):
        super().__init__()
        self.now, self.most, self.known = 0, 0, {each.untyped_storage()._cdata for each in before}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage()._cdata not in self.known:
                self.add(tensor.untyped_storage())
        return made

    def add(self, storage):
        self.known.add(storage._cdata)
        self.now += storage.nbytes()
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self.drop, storage._cdata, storage.nbytes())

    def drop(self, name, size):
        self.known.discard(name)
        self.now -= size


class Step:
    """A training step on the CPU, and a batch of evaluation, of random images."""

    def __init__(self, trial, image_shape, classes, batch):
        channels, height, width = image_shape
        split = Split(np.zeros((1, height, width, channels), np.uint8), np.zeros(1, np.int64))
        names, grey = tuple(map(str, range(classes))), (0.5,) * channels
        data = Dataset("grey", names, split, split, split, "", grey, grey)
        made = replicate(trial, data, 0, torch.device("cpu"))
        self.model, self.optimizer = made.model, made.optimizer
        shape = trial.training.input_shape(image_shape)
        self.pixels = torch.randint(0, 256, (batch, *shape), dtype=torch.uint8).contiguous(
            memory_format=torch.channels_last
        )
        self.labels = torch.randint(0, classes, (batch,))

    @property
    def weights(self) -> int:
        return sum(each.nbytes for each in self.model.state_dict().values())

    @property
    def kept(self) -> int:
        """What the optimizer keeps, but for its counts of steps."""
        return sum(each.nbytes for state in self.optimizer.state.values() for each in state.values() if each.ndim)

    @property
    def there(self) -> list[torch.Tensor]:
        slots = [each for state in self.optimizer.state.values() for each in state.values()]
        # state_dict() may hold copies, whose places in memory would be taken for known once they are gone
        return [*self.model.parameters(), *self.model.buffers(), *slots, self.pixels]

    def train(self) -> tuple[int, int]:
        """Return the bytes that were saved for the way back, and the most that there were beside weights and slots."""
        saved, own = {}, {each.untyped_storage()._cdata for each in self.model.parameters()}

        def save(tensor):
            storage = tensor.untyped_storage()
            if storage._cdata not in own:
                saved[storage._cdata] = storage
            return tensor

        memory = Memory(self.there)
        with memory, torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
            value = loss(self.model.train()(self.pixels).float(), self.labels)
            size = sum(each.nbytes() for each in saved.values())
            saved.clear()
            value.backward()
            self.optimizer.step()
        self.optimizer.zero_grad()
        return size, memory.most

    def evaluate(self) -> int:
        """Return the most bytes that there were."""
        memory = Memory(self.there)
        with memory, torch.inference_mode():
            self.model.eval()(self.pixels)
        return memory.most


def estimate(trial, image_shape, classes, batch) -> Footprint:
    found = trial.with_values({"training.batch_size": batch})
    return footprint(found, Images(image_shape, classes, val=batch), 1)


@pytest.mark.parametrize("name", TRIALS)
def test_it_is_an_upper_bound_of_what_torch_keeps_and_not_far_above(name):
    trial, image_shape, classes = TRIALS[name]
    large = image_shape[1] > 64 or parameters(plan(trial.model, image_shape, classes)) > 1e7
    batch = BATCH_OF_LARGE if large else BATCH
    step, estimated = Step(trial, image_shape, classes, batch), estimate(trial, image_shape, classes, batch)
    saved, first = step.train()  # the slots are made at its end
    _, second = step.train()
    activations = estimated.activations // 2 - CUBLAS_WORKSPACE  # of the captured step, and of one taken alone
    there = step.weights + max(first, step.kept + second)
    evaluated = step.evaluate()
    assert saved <= activations <= 4.5 * saved
    assert there <= activations + estimated.network <= 2.5 * there
    assert evaluated <= estimated.evaluation <= 4 * evaluated


@pytest.mark.parametrize(
    ("recipe", "count"),
    [
        (Training(), 1),
        (Training(momentum=0.0), 0),
        (Training(optimizer="adam"), 2),
        (Training(optimizer="adamw"), 2),
    ],
)
def test_an_optimizer_s_slots_are_known_exactly(recipe, count):
    trial = Trial(model=CNN(conv_layers=1, channels=4, batch_norm=True, fc_layers=2, fc_widths=8), training=recipe)
    step = Step(trial, (3, 12, 12), 3, batch=4)
    step.train()
    layers = plan(trial.model, (3, 12, 12), 3)
    assert slots(trial) == count
    assert step.kept == 4 * count * parameters(layers)
    norm, largest = 2 * 4, 100 * 8 + 8  # parameters; a batch norm has as many statistics
    found = footprint(trial, Images((3, 12, 12), 3), 1).network
    assert found == 4 * ((2 + count) * parameters(layers) + norm + largest)


def test_the_data_set_is_counted_as_it_lies_on_the_device():
    tiny = make_dataset()
    plain = Trial(model=CNN(conv_layers=1, channels=4, fc_layers=1))
    images, labels = 96 + 24 + 30, (96 + 24 + 30) * 8
    found = footprint(plain, Images.of(tiny), 1)
    assert found.data == images * 12 * 12 * 3 + labels
    cropped = plain.with_values({"training.resize": 8, "training.crop": 6})  # of training each epoch anew
    found = footprint(cropped, Images.of(tiny), 1)
    assert found.data == 96 * 8 * 8 * 3 + 54 * 6 * 6 * 3 + labels
    varied = cropped.with_values({"training.vary_split": True})  # two replicates, each with places in the same pool
    again = footprint(varied, Images.of(tiny), 2)
    assert again.data == 120 * 8 * 8 * 3 + 30 * 6 * 6 * 3 + labels + 2 * 120 * 8
    assert again.evaluation - found.evaluation == 24 * (8 * 8 + 6 * 6) * 3
    several = footprint(plain, Images((3, 12, 12), 20, train=10), 1)  # a byte for each class, where that is more
    assert several.data == 10 * (12 * 12 * 3 + 20)


def test_replicates_are_counted_side_by_side_and_share_the_data():
    trial, image_shape, classes = TRIALS["part_a"]
    images = Images(image_shape, classes, 45_000, 5_000, 10_000)
    one, three = (footprint(trial, images, count) for count in (1, 3))
    assert three.network == 3 * one.network
    assert three.activations == 2 * one.activations  # one more of each: where one takes a step alone
    assert (three.data, three.evaluation, three.context) == (one.data, one.evaluation, CONTEXT)
    assert three.total - one.total == 2 * one.network + one.activations


def test_the_total_is_all_that_there_is_at_once():
    assert Footprint(1, 10, 20, 30, 40).total == 1 + 10 + 90
    assert Footprint(1, 10, 20, 30, 40).without_data == 1 + 90


SMALL = {"conv_layers": 1, "channels": 4, "fc_layers": 2, "fc_widths": 8}  # on 3×12×12: 4×10×10 → 4×5×5 → 8 → 3


@pytest.mark.parametrize(
    ("changes", "conv", "pool", "fc"),
    [
        ({}, 2 * 400, 3 * 100, 2 * 8),  # with its activation; with eight bytes for each; with its activation
        ({"batch_norm": True}, 3 * 400, 3 * 100, 2 * 8),  # both, and an activation
        ({"conv_dropout": 0.5}, 2 * 400, 5 * 100, 2 * 8),  # a mask and a product
        ({"fc_dropout": 0.5}, 2 * 400, 3 * 100, 4 * 8),
        ({"fc_batch_norm": True}, 2 * 400, 3 * 100, 3 * 8),
    ],
)
def test_what_a_batch_keeps_is_known_by_layer(changes, conv, pool, fc):
    trial = Trial(model=CNN(**SMALL | changes), training=Training(batch_size=7))
    inputs, logits = 3 * 12 * 12, 2 * 3
    kept = inputs + conv + pool + fc + logits  # flattened maps are the maps
    found = footprint(trial, Images((3, 12, 12), 3), 1)
    assert found.activations == 2 * (4 * (kept + 3 * inputs) * 7 + CUBLAS_WORKSPACE)  # the widest is the input


def test_dropout_is_behind_a_block_that_does_not_pool():
    with_it, without = (
        footprint(
            Trial(model=CNN(**SMALL, pooling="none", conv_dropout=rate), training=Training(batch_size=1)),
            Images((3, 12, 12), 3),
            1,
        )
        for rate in (0.5, 0.0)
    )
    assert with_it.activations - without.activations == 2 * 4 * 2 * 400


def test_a_small_part_of_evaluation_is_one_batch():
    trial = Trial(model=ResNet())
    few, many = (footprint(trial, Images((3, 32, 32), 10, val=5, test=count), 1) for count in (7, 100_000))
    assert few.evaluation * 2048 == many.evaluation * 7


def test_an_analysis_looks_at_all_features_of_a_batch_of_evaluation():
    trial, image_shape, classes = TRIALS["part_a"]
    images = Images(image_shape, classes, 45_000, 5_000, 10_000)
    found, training = examination(trial, images), footprint(trial, images, 1)
    layers = plan(trial.model, image_shape, classes)
    assert (found.data, found.network, found.activations) == (training.data, 4 * parameters(layers), 0)
    of_a_batch = training.activations // 2 - CUBLAS_WORKSPACE  # the same, in a batch of training
    assert found.evaluation == of_a_batch // trial.training.batch_size * 2048 + CUBLAS_WORKSPACE
    step = Step(trial, image_shape, classes, 16)
    _, features = step.model.eval().features(step.pixels)
    assert sum(each.nbytes for each in features.values()) // 16 * 2048 < found.evaluation


def test_on_the_cpu_replicates_take_their_steps_in_turn_and_two_epochs_of_each_are_held():
    trial, image_shape, classes = TRIALS["part_a"]
    images = Images(image_shape, classes, 45_000, 5_000, 10_000)
    weights = 4 * parameters(plan(trial.model, image_shape, classes))
    one, three = (on_cpu(trial, images, count) for count in (1, 3))
    on_gpu = footprint(trial, images, 1)
    assert one.activations == three.activations == on_gpu.activations // 2 - CUBLAS_WORKSPACE
    assert (one.network, three.network) == (on_gpu.network + 2 * weights, 3 * one.network)
    assert one.evaluation == three.evaluation < on_gpu.evaluation
    assert (one.data, one.context) == (0, WORKER)


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({}, 0),
        ({"resize": 12}, 0),  # as they are
        ({"crop_padding": 2, "flip": True}, 0),
        ({"crop": 10}, 54 * 10 * 10 * 3),  # of training each epoch anew
        ({"resize": 8}, (96 + 54) * 8 * 8 * 3),
        ({"resize": 8, "crop": 6}, 96 * 8 * 8 * 3 + 54 * 6 * 6 * 3),
        ({"vary_split": True}, 120 * 12 * 12 * 3 + 2 * 120 * 8),
        ({"vary_split": True, "resize": 8, "crop": 6}, 120 * 8 * 8 * 3 + 30 * 6 * 6 * 3 + 2 * 120 * 8),
    ],
)
def test_on_the_cpu_a_worker_has_its_own_copy_only_of_what_it_changes(recipe, expected):
    trial = Trial(model=CNN(conv_layers=1, channels=4, fc_layers=1), training=Training(**recipe))
    assert on_cpu(trial, Images.of(make_dataset()), 2).data == expected


def test_mapped_images_are_put_together_without_a_copy():
    varied = Trial(model=CNN(conv_layers=1, channels=4, fc_layers=1), training=Training(vary_split=True))
    images = Images.of(make_dataset())
    assert on_cpu(varied, images, 2, mapped=True).data == 2 * 120 * 8
    resized = varied.with_values({"training.resize": 8})
    assert on_cpu(resized, images, 2, mapped=True) == on_cpu(resized, images, 2)


def test_what_a_process_takes_is_near_the_estimate():
    """Its peak, as the kernel counts it, above what it had before; 40 MB are torch's own."""
    code = (
        "import torch; from pathlib import Path\n"
        "from tests.conftest import make_dataset\n"
        "from trainables.config import CNN, Training, Trial\n"
        "from trainables.footprint import Images, on_cpu\n"
        "from trainables.replicate import replicate\n"
        "from trainables.train import train\n"
        "def run(data, **model):\n"
        "    cnn = CNN(conv_layers=1, fc_layers=2, pooling='none', **model)\n"
        "    trial = Trial(model=cnn, training=Training(epochs=2, batch_size=48))\n"
        "    for _ in train(trial, data, [replicate(trial, data, 0, torch.device('cpu'))], torch.device('cpu')): pass\n"
        "    return on_cpu(trial, Images.of(data), 1)\n"
        "def peak():\n"  # getrusage() would count what the process that started this one has taken
        "    return 1024 * int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])\n"
        "run(make_dataset(), channels=4, fc_widths=8)\n"
        "before = peak()\n"
        "found = run(make_dataset(size=34), channels=64, fc_widths=128)\n"
        "print(peak() - before, found.without_data - found.context)"
    )
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    taken, estimated = map(int, ended.stdout.split())
    assert taken - 40e6 <= estimated <= 2 * taken


def test_as_many_images_are_evaluated_at_once_as_their_pixels_allow():
    assert [evaluated_at_once((side, side), "cpu") for side in (32, 64, 128, 1024)] == [128, 128, 32, 1]
    assert [evaluated_at_once((side, side), "cuda") for side in (32, 128, 256)] == [2048, 1024, 256]


def test_images_are_expected_before_they_are_read():
    found = datasets.find("cifar10", Path("nowhere"))
    assert Images.expected(found) == Images((3, 32, 32), 10, 45_000, 5_000, 10_000)
