"""Configuration → network.

A network is a sequence of named steps. It returns its logits and, asked for, its features by name: analyses need no
hooks.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from trainables.config import CNN, Model, ResNet
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
        """Map (N, C, H, W) uint8, or float in 0..1, to float of the same shape, in one pass over the pixels."""
        scale = self.sd.reciprocal()
        shift = self.mean * -scale
        if pixels.dtype == torch.uint8:
            return torch.addcmul(shift, pixels.float(), scale / 255)
        return torch.addcmul(shift, pixels, scale)


def normalizing(config: Model, channels: int, mean: tuple[float, ...], sd: tuple[float, ...]) -> Normalize:
    """Return a network's first module. Without `mean` and `sd`, or if the config says so, it only scales the pixels."""
    if config.normalize_input and mean:
        return Normalize(mean, sd)
    return Normalize((0.0,) * channels, (1.0,) * channels)


class Step(NamedTuple):
    """One step of a network's way from pixels to logits.

    It has the name of its layer in the plan, if it has one there. What the flags do not promise, a step may do: by
    default everything that it gets can change everything that it yields. They are given by position, which is faster:
    steps are made anew in every forward pass, so that a module that is replaced is never missed.
    """

    name: str
    run: Callable[[Any], Any]  # what the step before yields → what the step after gets; see State
    is_feature: bool = False  # whether features() keeps what it yields, under its name
    keeps_channels: bool = False  # a channel that it yields comes from the same channel alone: activation, pooling
    keeps_places: bool = False  # a place comes from the same place alone, everywhere in one way: activation, sum
    convolution: nn.Module | None = None  # where it is one: its nn.Conv2d, or that with the batch norm behind it
    shortcut: nn.Conv2d | None = None  # where it is the convolution of a shortcut: that

    @property
    def conv2d(self) -> nn.Conv2d | None:
        """The convolution's own module, None where the step is not a convolution."""
        modules = () if self.convolution is None else self.convolution.modules()
        return next((module for module in modules if isinstance(module, nn.Conv2d)), None)


# What goes from step to step: a tensor, or inside a residual block what the last step made, and the other branch.
State = Tensor | tuple[Tensor, Tensor]


def made(state: State) -> Tensor:
    """Return what the last step made."""
    return state[0] if isinstance(state, tuple) else state


class Network(nn.Module):
    """A network as its steps: they alone say what is computed, and in which order.

    forward(), features() and the analyses that stop a network, change it there or go back through it all follow them.
    """

    def steps(self) -> Iterator[Step]:
        """Go through the steps from pixels (N, C, H, W), uint8, or float in 0..1, to logits (N, classes)."""
        raise NotImplementedError

    def plain_steps(self) -> Iterator[Step]:
        """Go through the steps with every activation where it is written, behind its convolution.

        The same function as steps(), which may put pooling first where that is less work.
        """
        return self.steps()

    @property
    def last_activation(self) -> str:
        """The name of the plain step that yields the last convolution's maps after their activation."""
        raise NotImplementedError

    @property
    def activation(self) -> nn.Module:
        """The activation, the same one behind every convolution; it leaves what it gets as it is."""
        raise NotImplementedError

    def forward(self, pixels: Tensor) -> Tensor:
        """Map (N, C, H, W) uint8, or float in 0..1, to logits (N, classes)."""
        x: Any = pixels
        for step in self.steps():
            x = step.run(x)
        return cast(Tensor, x)

    def features(self, pixels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return logits (N, classes) and every named feature: maps (N, channels, height, width) and vectors (N, n)."""
        kept: dict[str, Tensor] = {}
        x: Any = pixels
        for step in self.steps():
            x = step.run(x)
            if step.is_feature:
                kept[step.name] = made(x)
        return x, kept

    @property
    def first_convolution(self) -> nn.Conv2d | None:
        """The convolution that sees the image, None where there is none."""
        return next((step.conv2d for step in self.steps() if step.convolution is not None), None)


class ConvNet(Network):
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
        layers = plan(config, image_shape, classes)
        channels = image_shape[0]
        self.normalize = normalizing(config, channels, mean, sd)
        self.blocks = nn.ModuleList()
        for number in range(1, config.blocks + 1):
            self.blocks.append(Block(config, number, channels))
            channels = config.block(number)["channels"]
        flat = next(layer.shape[0] for layer in layers if layer.name == "flat")
        widths = (flat, *config.hidden_widths)
        maps = next((layer.shape for layer in reversed(layers) if len(layer.shape) == 3), image_shape)
        linears = [nn.Linear(*pair) for pair in itertools.pairwise((*widths, classes))]
        linears[0] = FromMaps(linears[0], maps)
        self.hidden = nn.ModuleList(Hidden(config, linear) for linear in linears[:-1])
        self.head = linears[-1]

    def steps(self) -> Iterator[Step]:
        """Go through the steps, with max pooling before an activation that never falls."""
        return self._steps(plain=False)

    def plain_steps(self) -> Iterator[Step]:
        """Go through the steps with every activation behind its convolution."""
        return self._steps(plain=True)

    @property
    def last_activation(self) -> str:
        """The name of the plain step that yields the last convolution's maps after their activation."""
        return f"activation{cast(Block, self.blocks[-1]).last}"

    @property
    def activation(self) -> nn.Module:
        """The activation behind every convolution."""
        return cast(Block, self.blocks[0]).activation

    def _steps(self, *, plain: bool) -> Iterator[Step]:
        yield Step("normalize", self.normalize, False, True, True)
        for block in cast("Iterable[Block]", self.blocks):
            yield from block.steps(plain)
        yield Step("flat", flattened, True)
        number = 0
        for number, layer in enumerate(self.hidden, start=1):
            yield Step(f"fc{number}", layer, True)
        yield Step(f"fc{number + 1}", self.head)


class Block(nn.Module):
    """Convolutions with batch norm and activation, then pooling, then dropout."""

    def __init__(self, config: CNN, number: int, channels: int) -> None:
        super().__init__()
        values = config.block(number)
        width, padding = values["channels"], values["padding"]
        self.number = number
        # the numbers of its first and last convolution in the network
        self.first, self.last = (number - 1) * config.convs_per_block + 1, number * config.convs_per_block
        self.convs = nn.ModuleList()
        for index in range(config.convs_per_block):
            inputs, stride = (width, 1) if index else (channels, values["stride"])
            conv = nn.Conv2d(inputs, width, values["kernel"], stride, padding, values["dilation"], values["groups"])
            self.convs.append(nn.Sequential(conv, nn.BatchNorm2d(width)) if config.batch_norm else conv)
        self.activation = ACTIVATIONS[config.activation]()
        pools = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}
        self.pool = pools[config.pooling](config.pool_size, config.pool_stride) if config.pools(number) else None
        self.pool_first = config.pooling == "max" and config.activation in NON_DECREASING
        self.dropout = _dropout(config.conv_dropout)

    def steps(self, plain: bool) -> Iterator[Step]:
        """Go through the steps; `plain`: with the last activation before the pooling, whatever is less work."""
        activation, pool = self.activation, self.pool  # looked up once: modules are slow to get at
        for number, conv in enumerate(self.convs, self.first):
            yield Step(f"conv{number}", conv, True, False, False, conv)
            activated = Step(f"activation{number}", activation, False, True, True)
            if number < self.last:
                yield activated
        if pool is None:
            yield activated
        else:
            pooled = Step(f"pool{self.number}", pool, False, True)
            yield from (pooled, activated) if self.pool_first and not plain else (activated, pooled)
        yield Step(f"block{self.number}", self.dropout, True, True, True)


class FromMaps(nn.Linear):
    """The FC layer behind the maps: of them flattened place by place, as channels-last maps lie in memory.

    Flattened channel by channel, as is usual, every batch would be copied. Only in memory are its weights' columns in
    that order: its state_dict() has the usual one, and takes it.
    """

    def __init__(self, linear: nn.Linear, maps: tuple[int, ...]) -> None:
        """Take over the parameters of `linear`, from maps (C, H, W) flattened channel by channel."""
        nn.Module.__init__(self)
        self.in_features, self.out_features, self.maps = linear.in_features, linear.out_features, maps
        self.weight, self.bias = nn.Parameter(self._by_place(linear.weight.detach())), linear.bias

    def _by_place(self, weight: Tensor) -> Tensor:
        return weight.view(-1, *self.maps).permute(0, 2, 3, 1).flatten(1)

    def _by_channel(self, weight: Tensor) -> Tensor:
        channels, height, width = self.maps
        return weight.view(-1, height, width, channels).permute(0, 3, 1, 2).flatten(1)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}weight"] = self._by_channel(destination[f"{prefix}weight"])

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        name = f"{prefix}weight"
        if name in state_dict and state_dict[name].shape == self.weight.shape:
            state_dict[name] = self._by_place(state_dict[name])
        super()._load_from_state_dict(state_dict, prefix, *args)


class Hidden(nn.Module):
    """A hidden FC layer: linear → batch norm → activation → dropout."""

    def __init__(self, config: CNN, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear
        self.norm = nn.BatchNorm1d(linear.out_features) if config.fc_batch_norm else nn.Identity()
        self.activation = ACTIVATIONS[config.activation]()
        self.dropout = _dropout(config.fc_dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs) to (N, outputs)."""
        return self.dropout(self.activation(self.norm(self.linear(x))))


def _dropout(rate: float) -> nn.Module:
    """Return dropout, or where none is dropped what takes less time."""
    return nn.Dropout(rate) if rate else nn.Identity()


def flattened(x: Tensor) -> Tensor:
    """Return maps (N, C, H, W), flattened place by place."""
    return x.permute(0, 2, 3, 1).flatten(1)


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
        from trainables.residual import ResidualNet  # imports torchvision, which takes seconds

        return ResidualNet(model, image_shape, classes, mean, sd)
    return ConvNet(model, image_shape, classes, mean, sd)
