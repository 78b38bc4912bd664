"""A trial as data: the network, the training recipe and the data set, validated where they are written down."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, ClassVar

from trainables.errors import UserError, suggest

PROTOCOL = (
    2  # what train() computes from a config; raised when the same config would give other numbers, or other records
)

ACTIVATIONS = (
    "relu",
    "tanh",
    "none",
    "leaky_relu",
    "elu",
    "selu",
    "gelu",
    "silu",
    "mish",
    "sigmoid",
    "softplus",
    "hardswish",
)
POOLINGS = ("max", "average", "none")
OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("constant", "exponential", "linear", "cosine")
AP_RULES = ("11-point", "all-point")
RESNET_STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}  # basic blocks per stage, by depth

PerLayer = int | tuple[int, ...]


@dataclass(frozen=True)
class CNN:
    """A plain convolutional network: conv blocks, then fully connected (FC) layers; the last FC layer gives the logits.

    A block is `convs_per_block` × (convolution → batch norm → activation), then pooling, then dropout. A value per
    block, or per hidden FC layer, is one number or a tuple; where a tuple is shorter than the network is deep, its last
    entry repeats.
    """

    family: ClassVar[str] = "cnn"

    conv_layers: int = 3
    channels: PerLayer = (16, 32, 64)  # per block
    kernel: PerLayer = 3  # per block
    stride: PerLayer = 1  # per block, of its first convolution
    padding: PerLayer = 0  # per block, zeros on each side
    convs_per_block: int = 1
    pooling: str = "max"
    pool_size: int = 2
    pool_stride: int = 2
    pool_after: tuple[int, ...] | None = None  # the blocks that end in pooling, counted from 1; None: every block
    batch_norm: bool = False  # after every convolution
    activation: str = "relu"  # after every layer but the last
    conv_dropout: float = 0.0  # at the end of every block
    fc_layers: int = 3  # with the last one, which gives the logits
    fc_widths: PerLayer = (256, 128, 64)  # of the hidden FC layers
    fc_batch_norm: bool = False  # after every hidden FC layer
    fc_dropout: float = 0.0  # after every hidden FC layer
    normalize_input: bool = True  # by the training images' mean and standard deviation, per channel

    def __post_init__(self) -> None:
        _integer("conv_layers", self.conv_layers, 0, 64)
        _integer("convs_per_block", self.convs_per_block, 1, 16)
        if self.conv_layers % self.convs_per_block:
            raise UserError(
                f"conv_layers is {self.conv_layers}, but must be a multiple of convs_per_block ({self.convs_per_block})"
            )
        for name, low in (("channels", 1), ("kernel", 1), ("stride", 1), ("padding", 0), ("fc_widths", 1)):
            object.__setattr__(self, name, _per_layer(name, getattr(self, name), low))
        for name in ("pool_size", "pool_stride"):
            _integer(name, getattr(self, name), 1, 64)
        if self.pool_after is not None:
            object.__setattr__(self, "pool_after", tuple(self.pool_after))
            for block in self.pool_after or ():
                _integer("pool_after", block, 1, 64)
        _integer("fc_layers", self.fc_layers, 1, 32)
        _choice("pooling", self.pooling, POOLINGS)
        _choice("activation", self.activation, ACTIVATIONS)
        for name in ("batch_norm", "fc_batch_norm", "normalize_input"):
            _boolean(name, getattr(self, name))
        for name in ("conv_dropout", "fc_dropout"):
            _number(name, getattr(self, name), 0.0, 0.99)

    @property
    def blocks(self) -> int:
        """The number of conv blocks."""
        return self.conv_layers // self.convs_per_block

    def per_block(self, name: str) -> tuple[int, ...]:
        """Return a per-block field spread over the blocks: one number each."""
        return _spread(getattr(self, name), self.blocks)

    @property
    def hidden_widths(self) -> tuple[int, ...]:
        """The widths of the FC layers before the last."""
        return _spread(self.fc_widths, self.fc_layers - 1)

    def pools(self, block: int) -> bool:
        """Tell whether block number `block` (from 1) ends in pooling."""
        return self.pooling != "none" and (self.pool_after is None or block in self.pool_after)

    def canonical(self) -> dict[str, Any]:
        """Return the fields that matter, spread out: two configs that build the same network have the same canonical form."""
        form = asdict(self) | {name: self.per_block(name) for name in ("channels", "kernel", "stride", "padding")}
        form["fc_widths"] = self.hidden_widths
        form["pool_after"] = tuple(block for block in range(1, self.blocks + 1) if self.pools(block))
        idle = set() if form["pool_after"] else {"pooling", "pool_size", "pool_stride"}
        if not self.blocks:
            idle |= {"convs_per_block", "batch_norm", "conv_dropout"}
        if not self.hidden_widths:
            idle |= {"fc_batch_norm", "fc_dropout"} | (set() if self.blocks else {"activation"})
        return {"family": self.family} | {name: value for name, value in form.items() if name not in idle}


@dataclass(frozen=True)
class ResNet:
    """A residual network as torchvision builds it: a 7×7 stem of stride 2, four stages of basic blocks, one FC layer.

    He et al., "Deep residual learning for image recognition", CVPR 2016.
    """

    family: ClassVar[str] = "resnet"

    depth: int = 18
    normalize_input: bool = True  # by the training images' mean and standard deviation, per channel

    def __post_init__(self) -> None:
        _choice("depth", self.depth, RESNET_STAGES)
        _boolean("normalize_input", self.normalize_input)

    def canonical(self) -> dict[str, Any]:
        """Return the fields that matter: all of them."""
        return {"family": self.family} | asdict(self)


Model = CNN | ResNet
FAMILIES: dict[str, type[CNN] | type[ResNet]] = {kind.family: kind for kind in (CNN, ResNet)}


@dataclass(frozen=True)
class Training:
    """The training recipe. Images are drawn without replacement, in a new order each epoch.

    The loss is the cross-entropy over the classes; on multi-label data the mean binary cross-entropy of all known
    labels.
    """

    epochs: int = 15
    batch_size: int = 64
    optimizer: str = "sgd"
    lr: float = 0.05
    momentum: float = 0.9  # SGD only
    weight_decay: float = 0.0  # on all parameters; SGD and Adam: as L2 penalty, AdamW: decoupled
    schedule: str = "constant"
    gamma: float = 0.9  # exponential only: the learning rate's factor per epoch
    resize: int | None = None  # images are first brought to so many pixels square
    crop: int | None = (
        None  # what the network sees: random squares of this size in training, the one in the centre in evaluation
    )
    # in training, crops (of the image's own size where `crop` is None) come from the image padded by so many zeros
    crop_padding: int = 0
    flip: bool = False  # random horizontal flips
    ap_rule: str = "11-point"  # multi-label only: how precision is averaged over recall

    def __post_init__(self) -> None:
        _integer("epochs", self.epochs, 1, 100_000)
        _integer("batch_size", self.batch_size, 1, 1_000_000)
        _integer("crop_padding", self.crop_padding, 0, 64)
        for name in ("resize", "crop"):
            if getattr(self, name) is not None:
                _integer(name, getattr(self, name), 1, 4096)
        _boolean("flip", self.flip)
        _choice("optimizer", self.optimizer, OPTIMIZERS)
        _choice("schedule", self.schedule, SCHEDULES)
        _choice("ap_rule", self.ap_rule, AP_RULES)
        for name, low, high in (
            ("lr", 1e-12, 1e3),
            ("momentum", 0.0, 0.9999),
            ("weight_decay", 0.0, 1e3),
            ("gamma", 1e-6, 1.0),
        ):
            _number(name, getattr(self, name), low, high)

    @property
    def knows_its_end(self) -> bool:
        """Whether the number of epochs changes the earlier ones, as with a schedule that falls to zero at the end."""
        return self.schedule in ("linear", "cosine")

    def lr_factor(self, progress: float) -> float:
        """Return the learning rate's factor after `progress` epochs (a fraction inside an epoch)."""
        match self.schedule:
            case "exponential":
                return self.gamma ** int(progress)
            case "linear":
                return 1.0 - progress / self.epochs
            case "cosine":
                return 0.5 * (1.0 + math.cos(math.pi * progress / self.epochs))
        return 1.0

    def input_shape(self, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return the shape (C, H, W) in which the network gets images of `image_shape`.

        Raises UserError for a crop larger than these.
        """
        channels, height, width = image_shape
        if self.resize:
            height = width = self.resize
        if not self.crop:
            return channels, height, width
        if self.crop > min(height, width):
            raise UserError(
                f"crop is {self.crop}, but must be at most {min(height, width)}, the side of the images it is cut from"
            )
        return channels, self.crop, self.crop

    def canonical(self) -> dict[str, Any]:
        """Return the fields that matter; the number of epochs only where it changes what the earlier epochs compute."""
        idle = set() if self.knows_its_end else {"epochs"}
        idle |= set() if self.optimizer == "sgd" else {"momentum"}
        idle |= set() if self.schedule == "exponential" else {"gamma"}
        idle |= {"ap_rule"} if self.ap_rule == AP_RULES[0] else set()  # most data has one label an image
        idle |= {name for name in ("resize", "crop") if getattr(self, name) is None}
        return {name: value for name, value in asdict(self).items() if name not in idle}


@dataclass(frozen=True)
class Trial:
    """One configuration. Its seeds are replicates inside it and no part of it.

    `weights` names pretrained weights to start from (see pretrained.py), None: start from scratch. Where their names
    differ from the network's, `rename` gives pairs (regular expression, replacement), applied to each name in order.
    """

    dataset: str = "cifar10"
    model: Model = field(default_factory=CNN)
    training: Training = field(default_factory=Training)
    weights: str | None = None
    rename: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "rename", tuple((pattern, new) for pattern, new in self.rename))
        for pattern, _ in self.rename:
            try:
                re.compile(pattern)
            except re.error as error:
                raise UserError(f"rename holds {pattern!r}, which is no regular expression: {error}") from error

    def get(self, path: str) -> Any:
        """Return the field named as in a stage: `model.conv_layers`, `training.lr`, `dataset` or `weights`."""
        part, name = self._split(path)
        return getattr(getattr(self, part), name) if name else getattr(self, part)

    def with_values(self, values: Mapping[str, Any]) -> Trial:
        """Return a copy with fields replaced, named as in a stage.

        All of a part's fields change together, then are validated.
        """
        changes: dict[str, Any] = {}
        for path, value in values.items():
            part, name = self._split(path)
            if name:
                changes.setdefault(part, {})[name] = value
            else:
                changes[part] = value
        parts = {
            part: replace(getattr(self, part), **new) if isinstance(new, dict) else new for part, new in changes.items()
        }
        return replace(self, **parts)

    def _split(self, path: str) -> tuple[str, str | None]:
        part, _, name = path.partition(".")
        known = [f"{p}.{f.name}" for p in ("model", "training") for f in fields(getattr(self, p))] + [
            "dataset",
            "weights",
        ]
        if path not in known:
            raise UserError(f"a trial has no field {path!r}{suggest(path, known)}")
        return part, name or None

    def key(self, contents: Mapping[str, str]) -> str:
        """Return the trial's identity: SHA-256 of what it computes.

        That is the canonical config, the training protocol, and the digests of the data and of the weights: `contents`
        has them by name. What it lacks counts by its name, which tells trials of one study apart before anything is
        read.
        """
        named = {
            "protocol": PROTOCOL,
            "data": contents.get(self.dataset, self.dataset),
            "model": self.model.canonical(),
            "training": self.training.canonical(),
        }
        if self.weights is not None:
            named |= {"weights": contents.get(self.weights, self.weights), "rename": self.rename}
        return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that survives JSON."""
        form = json.loads(json.dumps(asdict(self)))
        return form | {"model": {"family": self.model.family} | form["model"]}

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> Trial:
        """Build a trial from to_dict()'s form. Raises UserError where a field is unknown or a value breaks a rule."""
        _known("trial", form, cls)
        model = dict(form["model"])
        family = model.pop("family", None)
        _choice("family", family, FAMILIES)
        for part, kind, values in (("model", FAMILIES[family], model), ("training", Training, form["training"])):
            _known(part, values, kind)
        return cls(**dict(form) | {"model": FAMILIES[family](**model), "training": Training(**form["training"])})


def _known(what: str, form: Mapping[str, Any], kind: type) -> None:
    known = [f.name for f in fields(kind)]
    for name in form:
        if name not in known:
            raise UserError(f"a {what} has no field {name!r}{suggest(name, known)}")


def _spread(value: PerLayer, count: int) -> tuple[int, ...]:
    given = (value,) if isinstance(value, int) else value
    return (given + given[-1:] * count)[:count]


def _integer(name: str, value: object, low: int, high: int | None = None) -> None:
    rule = f"a whole number of at least {low}" if high is None else f"{low}..{high}"
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        raise UserError(f"{name} is {value!r}, but must be {rule}")


def _number(name: str, value: object, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise UserError(f"{name} is {value!r}, but must be {low:g}..{high:g}")


def _boolean(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise UserError(f"{name} is {value!r}, but must be True or False")


def _choice(name: str, value: object, known: Iterable[object]) -> None:
    if value not in (known := tuple(known)):
        raise UserError(f"{name} is {value!r}, but must be one of {', '.join(map(str, known))}")


def _per_layer(name: str, value: object, low: int) -> PerLayer:
    """Check one number or a non-empty sequence of them; sequences come back as tuples."""
    if isinstance(value, list | tuple):
        if not value:
            raise UserError(f"{name} is empty, but must be a number or a tuple of at least one")
        for entry in value:
            _integer(name, entry, low)
        return tuple(value)
    _integer(name, value, low)
    return value  # type: ignore[return-value]
