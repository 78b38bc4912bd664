"""What a configuration builds, known without building it: per layer the shape, parameters, FLOPs and receptive field.

Plain arithmetic, no torch: a plan of hundreds of trials is ready before torch would have been imported.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from trainables.config import CNN, RESNET_STAGES, Model, ResNet, Trial
from trainables.errors import UserError

# What a training step takes beside its images, in the FLOPs that take as long: a parameter, whose gradient, momentum
# and weight are read and written, and the rest. Fitted to steps of 1 to 61 ms on one AVX512-BF16 core, 2026-11-23.
UPDATE_FLOPS, STEP_FLOPS = 1000, 6e8


@dataclass(frozen=True)
class Layer:
    """One layer of the plan.

    `shape` is its output for one image: (channels, height, width), or (features,). `flops` counts the multiplications
    and additions of one forward pass of one image (2 × multiply-adds of convolutions and FC layers; the rest is left
    out). The unit at column x sees the `receptive_field` input pixels around input position `start` + x × `jump` (in
    pixels, centre of pixel 0 at 0). Araujo et al., "Computing receptive fields of convolutional neural networks",
    Distill 2019. Behind a shortcut it is that of the longest path.
    """

    name: str
    shape: tuple[int, ...]
    parameters: int = 0
    flops: int = 0
    receptive_field: int = 1
    jump: int = 1
    start: float = 0.0


def plan(model: Model, image_shape: tuple[int, int, int], classes: int) -> tuple[Layer, ...]:
    """Return the layers of `model` on images of `image_shape` (C, H, W). A ResNet's are named as torchvision's modules.

    Raises UserError, in one line, where a kernel or pooling window does not fit the map it is applied to, or the groups
    of a convolution do not divide its channels.
    """
    return tuple(
        _resnet(model, image_shape, classes) if isinstance(model, ResNet) else _cnn(model, image_shape, classes)
    )


def plan_of(trial: Trial, image_shape: tuple[int, int, int], classes: int) -> tuple[Layer, ...]:
    """Return the layers of a trial's network, on images as its training makes them of `image_shape` (C, H, W).

    Raises UserError, in one line, where the network cannot be built.
    """
    return plan(trial.model, trial.training.input_shape(image_shape), classes)


def parameters(layers: tuple[Layer, ...]) -> int:
    """Return the number of trained parameters."""
    return sum(layer.parameters for layer in layers)


def flops(layers: tuple[Layer, ...]) -> int:
    """Return the FLOPs of one forward pass of one image."""
    return sum(layer.flops for layer in layers)


def effort(layers: tuple[Layer, ...], batch_size: int) -> float:
    """Return how long an image takes in training, in the FLOPs that take as long: its own, forward and back, and its
    part of what a step takes whatever the batch.

    It tells long trials from short ones: of seven networks measured on the CPU it is between 0.4 and 1.3 of the time.
    """
    step = UPDATE_FLOPS * parameters(layers) + STEP_FLOPS
    return 3.0 * flops(layers) + step / batch_size


def _cnn(model: CNN, image_shape: tuple[int, int, int], classes: int) -> Iterator[Layer]:
    at = Layer("input", image_shape)
    number = 0
    for block in range(1, model.blocks + 1):
        values = model.block(block)
        channels = values["channels"]
        for first in range(model.convs_per_block):
            number += 1
            name, stride = f"conv{number}", 1 if first else values["stride"]
            _check_groups(f"{name} of block {block}", at.shape[0], channels, values["groups"])
            at = _conv(
                at, name, channels, values["kernel"], stride, values["padding"], values["dilation"], values["groups"]
            )
            yield at
            if model.batch_norm:
                yield replace(at, name=f"norm{number}", parameters=2 * channels, flops=0)
        if model.pools(block):
            at = _window(at, f"pool{block}", model.pool_size, model.pool_stride, 0)
            yield at
    at = replace(at, name="flat", shape=(math.prod(at.shape),), parameters=0, flops=0)
    yield at
    for number, width in enumerate((*model.hidden_widths, classes), start=1):
        inputs = at.shape[0]
        at = replace(
            at, name=f"fc{number}", shape=(width,), parameters=inputs * width + width, flops=2 * inputs * width
        )
        yield at
        if model.fc_batch_norm and number < model.fc_layers:
            yield replace(at, name=f"fc_norm{number}", parameters=2 * width, flops=0)


def _resnet(model: ResNet, image_shape: tuple[int, int, int], classes: int) -> Iterator[Layer]:
    stem = _conv_and_norm(Layer("input", image_shape), "conv1", "bn1", 64, 7, 2)
    yield from stem
    at = _window(stem[1], "maxpool", 3, 2, 1)
    yield at
    for stage, blocks in enumerate(RESNET_STAGES[model.depth]):
        for block in range(blocks):
            name, channels = f"layer{stage + 1}.{block}", 64 * 2**stage
            halves = stage > 0 and block == 0  # then the shortcut too needs a convolution, to end in the same shape
            first = _conv_and_norm(at, f"{name}.conv1", f"{name}.bn1", channels, 3, 2 if halves else 1)
            second = _conv_and_norm(first[1], f"{name}.conv2", f"{name}.bn2", channels, 3, 1)
            yield from (*first, *second)
            if halves:
                yield from _conv_and_norm(at, f"{name}.downsample.0", f"{name}.downsample.1", channels, 1, 2)
            at = second[1]
    at = _average(at, "avgpool")
    yield at
    inputs = at.shape[0]
    yield replace(at, name="fc", shape=(classes,), parameters=inputs * classes + classes, flops=2 * inputs * classes)


def _conv_and_norm(at: Layer, conv: str, norm: str, channels: int, kernel: int, stride: int) -> tuple[Layer, Layer]:
    """Return a convolution without bias, padded so that stride 1 would keep the map's size, and its batch norm."""
    out = _conv(at, conv, channels, kernel, stride, kernel // 2, bias=False)
    return out, replace(out, name=norm, parameters=2 * channels, flops=0)


def _conv(
    at: Layer,
    name: str,
    channels: int,
    kernel: int,
    stride: int,
    padding: int,
    dilation: int = 1,
    groups: int = 1,
    *,
    bias: bool = True,
) -> Layer:
    out = _window(at, name, kernel, stride, padding, dilation)
    weights = kernel * kernel * (at.shape[0] // groups) * channels
    shape = (channels, *out.shape[1:])
    return replace(
        out, shape=shape, parameters=weights + (channels if bias else 0), flops=2 * weights * shape[1] * shape[2]
    )


def _check_groups(name: str, inputs: int, outputs: int, groups: int) -> None:
    if inputs % groups or outputs % groups:
        raise UserError(
            f"{name} cannot be built: groups is {groups}, but must divide the channels going in ({inputs}) and coming "
            f"out ({outputs})"
        )


def _window(at: Layer, name: str, size: int, stride: int, padding: int, dilation: int = 1) -> Layer:
    _, height, width = at.shape
    span = (size - 1) * dilation + 1  # from the window's first to its last pixel
    if min(height, width) + 2 * padding < span:
        dilated = f", dilated to {span}×{span}," if dilation > 1 else ""
        raise UserError(
            f"{name} cannot be built: its {size}×{size} window{dilated} does not fit the {height}×{width} map padded "
            f"by {padding}"
        )
    shape = (at.shape[0], (height + 2 * padding - span) // stride + 1, (width + 2 * padding - span) // stride + 1)
    return Layer(
        name,
        shape,
        receptive_field=at.receptive_field + (span - 1) * at.jump,
        jump=at.jump * stride,
        start=at.start + ((span - 1) / 2 - padding) * at.jump,
    )


def _average(at: Layer, name: str) -> Layer:
    """Return the average over the whole map."""
    channels, _, width = at.shape
    return Layer(
        name,
        (channels, 1, 1),
        receptive_field=at.receptive_field + (width - 1) * at.jump,
        jump=at.jump * width,
        start=at.start + (width - 1) / 2 * at.jump,
    )
