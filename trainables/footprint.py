"""How much memory a trial takes, of a GPU or of the machine, known before it runs: by arithmetic on the plan.

Of a GPU it is an upper bound. Checked against what torch keeps on the CPU (`tests/trainables/test_footprint.py`), and
on an H100, where the largest networks of the studies train within it (`tests/gpu/verify.py`). What a convolution takes
to be faster is not in it: it is as much as there is, and so a process is kept within its share of the GPU
(devices.keep_within). Of the machine it is an estimate, checked against the processes' own peaks (see on_cpu).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trainables.config import CNN, Model, Trial
from trainables.datasets import Dataset, Found
from trainables.plan import Layer, parameters, plan

# What a process takes beside torch's memory: the context, and the kernels of torch, cuBLAS and cuDNN that it loads.
# Measured 2026-11-26 on an H100 with CUDA 13.0: 834 MiB once R0's network has been trained.
CONTEXT = 900_000_000
# What cuBLAS keeps for each stream on Hopper, as torch sets it: 32 MiB in each of two threads, as the way back has its
# own. Smaller GPUs have 8 MiB.
CUBLAS_WORKSPACE = 2 * 32 * 2**20
# What a worker on the CPU takes before it trains: Python, torch and Ray. Measured 2026-11-26 on Linux with Ray 2.60 and
# torch 2.15: 580 MB each of two, of which 470 are a worker's own.
WORKER = 600_000_000
# How many images, and how many pixels of them, are evaluated at once at most; on the CPU what stays in the cache.
EVALUATED = {"cuda": (2048, 2**24), "cpu": (128, 2**19)}
VALUE = 4  # bytes of a weight, and the most that one of an activation takes: in bfloat16 it is half of that
INDEX = 8  # bytes that max pooling keeps of each of its values, to know where it came from


@dataclass(frozen=True)
class Images:
    """The images of a data set, by number and shape; none where only reading shows how many there are."""

    shape: tuple[int, int, int]  # (channels, height, width)
    classes: int
    train: int = 0
    val: int = 0
    test: int = 0

    @classmethod
    def expected(cls, found: Found) -> Images:
        """Return those of a data set before it is read."""
        return cls(found.image_shape, len(found.class_names), *found.counts or ())

    @classmethod
    def of(cls, data: Dataset) -> Images:
        """Return those of a data set that was read."""
        return cls(data.image_shape, data.classes, len(data.train), len(data.val), len(data.test))


@dataclass(frozen=True)
class Footprint:
    """The bytes that a trial takes of a GPU at most, by what takes them."""

    context: int
    data: int  # images as they are kept, labels, and where each replicate splits them by itself, which are which
    network: int  # weights, gradients and the optimizer's slots, of all replicates
    # what a batch keeps for the way back, and what is on that way: of each replicate in the captured step, and of one
    # that takes a step alone
    activations: int
    evaluation: int  # what the largest batch in evaluation takes

    @property
    def total(self) -> int:
        """All that there is at once."""
        return self.data + self.without_data

    @property
    def without_data(self) -> int:
        """What the trial takes whose data lies in the memory of the host."""
        return self.context + self.network + self.activations + self.evaluation


def footprint(trial: Trial, images: Images, replicates: int) -> Footprint:
    """Return what a trial with so many replicates takes of a GPU, all of them trained side by side.

    Raises UserError where the network cannot be built.
    """
    shape, layers = _built(trial, images)
    kept, moving = _kept(trial, shape, layers), 3 * _widest(shape, layers)
    return Footprint(
        CONTEXT,
        _data(trial, images, shape) + replicates * _split(trial, images),
        replicates * VALUE * _network(trial, layers),
        (replicates + 1) * (VALUE * (kept + moving) * trial.training.batch_size + CUBLAS_WORKSPACE),
        _evaluation(trial, images, shape, moving, "cuda"),
    )


def on_cpu(trial: Trial, images: Images, replicates: int, *, mapped: bool = False) -> Footprint:
    """Return what a worker that trains a trial with so many replicates, one after another, takes of the machine.

    The data that workers share is not in it: only what each makes of it for itself, which is less where it is mapped
    from one file (see Dataset.pool). Measured 2026-11-26: nine runs of five of the studies' networks (50 to 970 MB
    beside WORKER) peaked at 0.7 to 1.2 times what is estimated. Raises UserError where the network cannot be built.
    """
    shape, layers = _built(trial, images)
    kept, moving = _kept(trial, shape, layers), 3 * _widest(shape, layers)
    held = 2 * parameters(layers)  # of the newest epoch, and of the best before it
    return Footprint(
        WORKER,
        _own(trial, images, shape, mapped=mapped) + replicates * _split(trial, images),
        replicates * VALUE * (_network(trial, layers) + held),
        VALUE * (kept + moving) * trial.training.batch_size,
        _evaluation(trial, images, shape, moving, "cpu"),
    )


def examination(trial: Trial, images: Images) -> Footprint:
    """Return what an analysis of a trial's model takes of a GPU, which looks at all features of a batch of evaluation.

    Raises UserError where the network cannot be built.
    """
    shape, layers = _built(trial, images)
    looked_at = _kept(trial, shape, layers) + 3 * _widest(shape, layers)
    at_once = VALUE * looked_at * _largest_batch(images, shape, "cuda") + CUBLAS_WORKSPACE
    return Footprint(CONTEXT, _data(trial, images, shape), VALUE * parameters(layers), 0, at_once)


def _built(trial: Trial, images: Images) -> tuple[tuple[int, int, int], tuple[Layer, ...]]:
    """Return the shape in which the network gets images, and its layers."""
    shape = trial.training.input_shape(images.shape)
    return shape, plan(trial.model, shape, images.classes)


def evaluated_at_once(size: Sequence[int], kind: str) -> int:
    """Return how many images of `size` (height, width) are evaluated at once on this kind of device."""
    most, pixels = EVALUATED[kind]
    return max(1, min(most, pixels // math.prod(size)))


def _largest_batch(images: Images, shape: Sequence[int], kind: str) -> int:
    """Return how many images there are in the largest batch of evaluation."""
    batch = evaluated_at_once(shape[1:], kind)
    return min(batch, max(images.train, images.val, images.test) or batch)


def _evaluation(trial: Trial, images: Images, shape: Sequence[int], values: int, kind: str) -> int:
    """Return the bytes of the largest batch of evaluation, with so many values of each image beside its pixels."""
    largest = _largest_batch(images, shape, kind)
    return VALUE * (math.prod(shape) + values) * largest + _gathered(trial, images, shape)


def slots(trial: Trial) -> int:
    """Return how many values the optimizer keeps of each weight."""
    if trial.training.optimizer == "sgd":
        return 1 if trial.training.momentum else 0
    return 2


def _network(trial: Trial, layers: tuple[Layer, ...]) -> int:
    """Return how many values a network is: weights, gradients and slots, and one layer's gradient as it is made."""
    running = sum(layer.parameters for layer in layers if _is_norm(layer))  # mean and variance: as many as parameters
    return (2 + slots(trial)) * parameters(layers) + running + max(layer.parameters for layer in layers)


def _data(trial: Trial, images: Images, shape: Sequence[int]) -> int:
    """Return the bytes of the data as it stays on the device.

    Training images are cropped anew in each epoch and stay as they are, and so does what each replicate splits by
    itself; those of evaluation are cropped once.
    """
    label = max(8, images.classes)  # an int64, or an int8 of each class
    pooled = images.val if trial.training.vary_split else 0
    kept = (images.train + pooled) * _resized(trial, images) + (images.val - pooled + images.test) * math.prod(shape)
    return kept + (images.train + images.val + images.test) * label


def _own(trial: Trial, images: Images, shape: Sequence[int], *, mapped: bool) -> int:
    """Return the bytes of the images that a worker copies: those it resizes, crops once for all, or puts together."""
    resized = trial.training.resize and images.shape[1:] != (trial.training.resize, trial.training.resize)
    pooled = images.val if trial.training.vary_split else 0
    learned_from = (images.train + pooled) * _resized(trial, images) if resized or (pooled and not mapped) else 0
    as_evaluated = (images.val - pooled + images.test) * math.prod(shape) if resized or trial.training.crop else 0
    return learned_from + as_evaluated


def _resized(trial: Trial, images: Images) -> int:
    """Return the bytes of an image before it is cropped."""
    return images.shape[0] * trial.training.resize**2 if trial.training.resize else math.prod(images.shape)


def _split(trial: Trial, images: Images) -> int:
    """Return the bytes that say which images a replicate trains on, and by which it chooses its epoch."""
    return 8 * (images.train + images.val) if trial.training.vary_split else 0


def _gathered(trial: Trial, images: Images, shape: Sequence[int]) -> int:
    """Return the bytes of validation images that are put together for the moment, and cropped."""
    return images.val * (_resized(trial, images) + math.prod(shape)) if trial.training.vary_split else 0


def _kept(trial: Trial, shape: Sequence[int], layers: Sequence[Layer]) -> int:
    """Return how many values of one image are kept for the way back: each layer's output, and what is made of it.

    That is an activation, a dropout (a mask, and its product), and what each value of max pooling was chosen from.
    """
    values = math.prod(shape)
    dropped = _dropped(trial.model)
    for layer, after in zip(layers, [*layers[1:], None], strict=True):
        if layer.name == "flat":  # as the maps lie in memory
            continue
        activated = layer.parameters and not (after and _is_norm(after))
        chosen = INDEX // VALUE if "pool" in layer.name else 0
        values += (1 + bool(activated) + chosen + 2 * (layer.name in dropped)) * math.prod(layer.shape)
    return values


def _is_norm(layer: Layer) -> bool:
    return layer.parameters > 0 and layer.flops == 0


def _dropped(model: Model) -> set[str]:
    """Return the layers behind whose output there is dropout."""
    if not isinstance(model, CNN):
        return set()
    ends = (
        f"pool{block}" if model.pools(block) else f"conv{block * model.convs_per_block}"
        for block in range(1, model.blocks + 1)
    )
    hidden = (f"fc{number}" for number in range(1, model.fc_layers))
    return {*(ends if model.conv_dropout else ()), *(hidden if model.fc_dropout else ())}


def _widest(shape: Sequence[int], layers: Sequence[Layer]) -> int:
    """Return how many values of one image the largest output of a layer has, the input being one."""
    return max(math.prod(shape), *(math.prod(each.shape) for each in layers))
