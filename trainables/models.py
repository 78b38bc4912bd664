"""Configuration → network.

A network returns its logits and, asked for, its features by name: analyses need no hooks.
"""

from __future__ import annotations

import itertools

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock

from trainables.config import CNN, RESNET_STAGES, Model, ResNet
from trainables.plan import plan

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "none": nn.Identity,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "hardswish": nn.Hardswish,
}
# max(f(x)) = f(max(x)) for these, so that max pooling goes first and leaves a quarter of the work
NON_DECREASING = ("relu", "tanh", "none", "leaky_relu", "elu", "selu", "sigmoid", "softplus")


class Normalize(nn.Module):
    """Pixels to network input: to 0..1, then by the training images' mean and standard deviation per channel."""

    mean: Tensor
    sd: Tensor

    def __init__(self, mean: tuple[float, ...], sd: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("sd", torch.tensor(sd).view(-1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Map (N, C, H, W) uint8, or float in 0..1, to float of the same shape."""
        x = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
        return (x - self.mean) / self.sd


def _normalize(config: Model, channels: int, mean: tuple[float, ...], sd: tuple[float, ...]) -> Normalize:
    """Return the first module of a network: as the config says, or without `mean` and `sd`, it only scales the pixels."""
    if config.normalize_input and mean:
        return Normalize(mean, sd)
    return Normalize((0.0,) * channels, (1.0,) * channels)


class ConvNet(nn.Module):
    """The network that a CNN config describes.

    Features: `conv1` … (after batch norm, before activation), `block1` …, `flat`, `fc1` ….
    """

    def __init__(
        self,
        config: CNN,
        image_shape: tuple[int, int, int],
        classes: int,
        mean: tuple[float, ...] = (),
        sd: tuple[float, ...] = (),
    ) -> None:
        """Build for images of `image_shape` (C, H, W); `mean` and `sd` are per channel, of pixels scaled to 0..1.

        Raises UserError where a layer does not fit, as plan() does.
        """
        super().__init__()
        channels = image_shape[0]
        self.normalize = _normalize(config, channels, mean, sd)
        self.blocks = nn.ModuleList()
        for block in range(1, config.blocks + 1):
            self.blocks.append(Block(config, block, channels))
            channels = config.per_block("channels")[block - 1]
        flat = next(layer.shape[0] for layer in plan(config, image_shape, classes) if layer.name == "flat")
        widths = (flat, *config.hidden_widths)
        self.hidden = nn.ModuleList(Hidden(config, *pair) for pair in itertools.pairwise(widths))
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map (N, C, H, W) uint8, or float in 0..1, to logits (N, classes)."""
        return self._run(pixels, None)

    def features(self, pixels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return logits (N, classes) and every named feature: maps (N, channels, height, width) and vectors (N, features)."""
        kept: dict[str, Tensor] = {}
        return self._run(pixels, kept), kept

    @property
    def first_convolution(self) -> nn.Conv2d | None:
        """The convolution that sees the image, None where there is none."""
        return next((module for module in self.modules() if isinstance(module, nn.Conv2d)), None)

    def _run(self, pixels: Tensor, keep: dict[str, Tensor] | None) -> Tensor:
        x = self.normalize(pixels)
        for number, block in enumerate(self.blocks, start=1):
            x = block(x, keep)
            if keep is not None:
                keep[f"block{number}"] = x
        x = x.flatten(1)
        if keep is not None:
            keep["flat"] = x
        for number, layer in enumerate(self.hidden, start=1):
            x = layer(x)
            if keep is not None:
                keep[f"fc{number}"] = x
        return self.head(x)


class Block(nn.Module):
    """Convolutions with batch norm and activation, then pooling, then dropout."""

    def __init__(self, config: CNN, number: int, channels: int) -> None:
        super().__init__()
        width, kernel, stride, padding = (
            config.per_block(name)[number - 1] for name in ("channels", "kernel", "stride", "padding")
        )
        self.first = (number - 1) * config.convs_per_block + 1  # the number of its first convolution in the network
        self.convs = nn.ModuleList()
        for index in range(config.convs_per_block):
            conv = nn.Conv2d(width if index else channels, width, kernel, 1 if index else stride, padding)
            self.convs.append(nn.Sequential(conv, nn.BatchNorm2d(width)) if config.batch_norm else conv)
        self.activation = ACTIVATIONS[config.activation]()
        pools = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}
        self.pool = (
            pools[config.pooling](config.pool_size, config.pool_stride) if config.pools(number) else nn.Identity()
        )
        self.pool_first = config.pooling == "max" and config.activation in NON_DECREASING
        self.dropout = nn.Dropout(config.conv_dropout)

    def forward(self, x: Tensor, keep: dict[str, Tensor] | None) -> Tensor:
        """Map (N, C, H, W) to the block's output, noting each convolution's map in `keep`."""
        last = len(self.convs) - 1
        for index, conv in enumerate(self.convs):
            x = conv(x)
            if keep is not None:
                keep[f"conv{self.first + index}"] = x
            if index < last:
                x = self.activation(x)
        x = self.activation(self.pool(x)) if self.pool_first else self.pool(self.activation(x))
        return self.dropout(x)


class Hidden(nn.Module):
    """A hidden FC layer: linear → batch norm → activation → dropout."""

    def __init__(self, config: CNN, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.norm = nn.BatchNorm1d(outputs) if config.fc_batch_norm else nn.Identity()
        self.activation = ACTIVATIONS[config.activation]()
        self.dropout = nn.Dropout(config.fc_dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs) to (N, outputs)."""
        return self.dropout(self.activation(self.norm(self.linear(x))))


class ResidualNet(torchvision.models.ResNet):
    """The network that a ResNet config describes: torchvision's modules, initialisation and tensor names, and
    `normalize` before them.

    Features: every convolution by its name in the plan (after batch norm, before activation), every block's output
    (`layer1.0` …), every stage's (`layer1` …), and `flat`.
    """

    def __init__(
        self,
        config: ResNet,
        image_shape: tuple[int, int, int],
        classes: int,
        mean: tuple[float, ...] = (),
        sd: tuple[float, ...] = (),
    ) -> None:
        """Build for images of `image_shape` (C, H, W); `mean` and `sd` are per channel, of pixels scaled to 0..1."""
        super().__init__(BasicBlock, list(RESNET_STAGES[config.depth]), num_classes=classes)
        channels = image_shape[0]
        if channels != 3:
            self.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
            nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.normalize = _normalize(config, channels, mean, sd)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map (N, C, H, W) uint8, or float in 0..1, to logits (N, classes)."""
        return super().forward(self.normalize(pixels))

    def features(self, pixels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return logits (N, classes) and every named feature: maps (N, channels, height, width) and vectors (N, features)."""
        kept: dict[str, Tensor] = {}
        x = kept["conv1"] = self.bn1(self.conv1(self.normalize(pixels)))
        x = self.maxpool(F.relu(x))
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            for number, block in enumerate(getattr(self, stage)):
                x = _basic_block(block, x, f"{stage}.{number}", kept)
            kept[stage] = x
        kept["flat"] = self.avgpool(x).flatten(1)
        return self.fc(kept["flat"]), kept

    @property
    def first_convolution(self) -> nn.Conv2d:
        """The convolution that sees the image."""
        return self.conv1


def _basic_block(block: BasicBlock, x: Tensor, name: str, kept: dict[str, Tensor]) -> Tensor:
    """Compute what torchvision's BasicBlock computes, but for its in-place steps, which would overwrite what is kept."""
    y = kept[f"{name}.conv1"] = block.bn1(block.conv1(x))
    y = kept[f"{name}.conv2"] = block.bn2(block.conv2(F.relu(y)))
    if block.downsample is not None:
        x = kept[f"{name}.downsample.0"] = block.downsample(x)
    kept[name] = F.relu(y + x)
    return kept[name]


Network = ConvNet | ResidualNet


def build(
    model: Model,
    image_shape: tuple[int, int, int],
    classes: int,
    mean: tuple[float, ...] = (),
    sd: tuple[float, ...] = (),
) -> Network:
    """Return a new network for images of `image_shape` (C, H, W); `mean` and `sd` are per channel, of pixels scaled to
    0..1.

    Raises UserError where a layer does not fit, as plan() does.
    """
    if isinstance(model, ResNet):
        return ResidualNet(model, image_shape, classes, mean, sd)
    return ConvNet(model, image_shape, classes, mean, sd)
