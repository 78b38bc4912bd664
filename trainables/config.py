"""A trial as data: the network, the training recipe and the data set, validated where they are written down."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from trainables.errors import UserError, suggest

PROTOCOL = 1  # what train() computes from a config; raised when the same config would give other numbers

ACTIVATIONS = ("relu", "tanh", "none", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "sigmoid", "softplus", "hardswish")
POOLINGS = ("max", "average", "none")
OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("constant", "exponential", "linear", "cosine")

PerLayer = int | tuple[int, ...]


@dataclass(frozen=True)
class CNN:
    """A plain convolutional network: conv blocks, then fully connected (FC) layers; the last FC layer gives the logits.

    A block is `convs_per_block` × (convolution → batch norm → activation), then pooling, then dropout. A value per block, or per hidden FC
    layer, is one number or a tuple; where a tuple is shorter than the network is deep, its last entry repeats.
    """

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
            raise UserError(f"conv_layers is {self.conv_layers}, but must be a multiple of convs_per_block ({self.convs_per_block})")
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
        return {name: value for name, value in form.items() if name not in idle}


@dataclass(frozen=True)
class Training:
    """The training recipe. Images are drawn without replacement, in a new order each epoch; the loss is the cross-entropy."""

    epochs: int = 15
    batch_size: int = 64
    optimizer: str = "sgd"
    lr: float = 0.05
    momentum: float = 0.9  # SGD only
    weight_decay: float = 0.0  # on all parameters; SGD and Adam: as L2 penalty, AdamW: decoupled
    schedule: str = "constant"
    gamma: float = 0.9  # exponential only: the learning rate's factor per epoch
    flip: bool = False  # random horizontal flips
    crop_padding: int = 0  # random crops of the image padded by so many pixels of 0

    def __post_init__(self) -> None:
        _integer("epochs", self.epochs, 1, 100_000)
        _integer("batch_size", self.batch_size, 1, 1_000_000)
        _integer("crop_padding", self.crop_padding, 0, 64)
        _boolean("flip", self.flip)
        _choice("optimizer", self.optimizer, OPTIMIZERS)
        _choice("schedule", self.schedule, SCHEDULES)
        for name, low, high in (("lr", 1e-12, 1e3), ("momentum", 0.0, 0.9999), ("weight_decay", 0.0, 1e3), ("gamma", 1e-6, 1.0)):
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

    def canonical(self) -> dict[str, Any]:
        """Return the fields that matter; the number of epochs only where it changes what the earlier epochs compute."""
        idle = set() if self.knows_its_end else {"epochs"}
        idle |= set() if self.optimizer == "sgd" else {"momentum"}
        idle |= set() if self.schedule == "exponential" else {"gamma"}
        return {name: value for name, value in asdict(self).items() if name not in idle}


@dataclass(frozen=True)
class Trial:
    """One configuration. Its seeds are replicates inside it and no part of it."""

    dataset: str = "cifar10"
    model: CNN = field(default_factory=CNN)
    training: Training = field(default_factory=Training)

    def get(self, path: str) -> Any:
        """Return the field named as in a stage: `model.conv_layers`, `training.lr` or `dataset`."""
        part, name = self._split(path)
        return getattr(getattr(self, part), name) if name else getattr(self, part)

    def with_values(self, values: Mapping[str, Any]) -> Trial:
        """Return a copy with fields replaced, named as in a stage. All of a part's fields change together, then are validated."""
        changes: dict[str, Any] = {}
        for path, value in values.items():
            part, name = self._split(path)
            if name:
                changes.setdefault(part, {})[name] = value
            else:
                changes[part] = value
        parts = {part: replace(getattr(self, part), **new) if isinstance(new, dict) else new for part, new in changes.items()}
        return replace(self, **parts)

    def _split(self, path: str) -> tuple[str, str | None]:
        part, _, name = path.partition(".")
        known = [f"{p}.{f.name}" for p in ("model", "training") for f in fields(getattr(self, p))] + ["dataset"]
        if path not in known:
            raise UserError(f"a trial has no field {path!r}{suggest(path, known)}")
        return part, name or None

    def key(self, digest: str) -> str:
        """Return the trial's identity: SHA-256 of what it computes (canonical config, the data's digest, the training protocol)."""
        named = {"protocol": PROTOCOL, "data": digest, "model": self.model.canonical(), "training": self.training.canonical()}
        return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that survives JSON."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> Trial:
        """Build a trial from to_dict()'s form. Raises UserError where a field is unknown or a value breaks a rule."""
        _known("trial", form, cls)
        for part, kind in (("model", CNN), ("training", Training)):
            _known(part, form.get(part, {}), kind)
        return cls(form["dataset"], CNN(**form["model"]), Training(**form["training"]))


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


def _choice(name: str, value: object, known: Iterable[str]) -> None:
    if value not in (known := tuple(known)):
        raise UserError(f"{name} is {value!r}, but must be one of {', '.join(known)}")


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
