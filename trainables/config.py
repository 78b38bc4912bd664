"""A trial as data: the network, the training recipe and the data set, validated where they are written down."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, ClassVar

from trainables.errors import UserError, suggest
from trainables.fields import Config, PerLayer, check_known, number, one_of, per_layer, switch, whole, wholes

# What train() computes from a config; raised when the same config would give other numbers, or other records.
PROTOCOL = 3

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


@dataclass(frozen=True)
class CNN(Config):
    """A plain convolutional network: conv blocks, then fully connected (FC) layers; the last FC layer gives the logits.

    A block is `convs_per_block` × (convolution → batch norm → activation), then pooling, then dropout. A value per
    block, or per hidden FC layer, is one number or a tuple; where a tuple is shorter than the network is deep, its last
    entry repeats.
    """

    family: ClassVar[str] = "cnn"
    first_fields: ClassVar[frozenset[str]] = frozenset(
        {
            "conv_layers",
            "channels",
            "kernel",
            "stride",
            "padding",
            "convs_per_block",
            "pooling",
            "pool_size",
            "pool_stride",
            "pool_after",
            "batch_norm",
            "activation",
            "conv_dropout",
            "fc_layers",
            "fc_widths",
            "fc_batch_norm",
            "fc_dropout",
            "normalize_input",
        }
    )

    conv_layers: int = whole(3, 0, 64)
    channels: PerLayer = per_layer((16, 32, 64), low=1, layers="blocks")
    kernel: PerLayer = per_layer(3, low=1, layers="blocks")
    stride: PerLayer = per_layer(1, low=1, layers="blocks")  # of the block's first convolution
    padding: PerLayer = per_layer(0, low=0, layers="blocks")  # zeros on each side
    dilation: PerLayer = per_layer(1, low=1, layers="blocks")  # the pixels from one weight of a kernel to the next
    groups: PerLayer = per_layer(1, low=1, layers="blocks")  # of channels, each convolved for itself
    convs_per_block: int = whole(1, 1, 16)
    pooling: str = one_of("max", POOLINGS)
    pool_size: int = whole(2, 1, 64)
    pool_stride: int = whole(2, 1, 64)
    # the blocks that end in pooling, counted from 1; None: every block
    pool_after: tuple[int, ...] | None = wholes(None, 1, 64)
    batch_norm: bool = switch(False)  # after every convolution
    activation: str = one_of("relu", ACTIVATIONS)  # after every layer but the last
    conv_dropout: float = number(0.0, 0.0, 0.99)  # at the end of every block
    fc_layers: int = whole(3, 1, 32)  # with the last one, which gives the logits
    fc_widths: PerLayer = per_layer((256, 128, 64), low=1, layers="hidden_layers")
    fc_batch_norm: bool = switch(False)  # after every hidden FC layer
    fc_dropout: float = number(0.0, 0.0, 0.99)  # after every hidden FC layer
    normalize_input: bool = switch(True)  # by the training images' mean and standard deviation, per channel

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.conv_layers % self.convs_per_block:
            raise UserError(
                f"conv_layers is {self.conv_layers}, but must be a multiple of convs_per_block ({self.convs_per_block})"
            )

    @property
    def blocks(self) -> int:
        """The number of conv blocks."""
        return self.conv_layers // self.convs_per_block

    @property
    def hidden_layers(self) -> int:
        """The number of FC layers before the last."""
        return self.fc_layers - 1

    @property
    def hidden_widths(self) -> tuple[int, ...]:
        """The widths of the FC layers before the last."""
        return self.spread("fc_widths")

    def block(self, number: int) -> dict[str, int]:
        """Return what the fields with a value per block say of block `number` (from 1)."""
        names = [entry.name for entry in fields(self) if entry.metadata.get("layers") == "blocks"]
        return {name: self.spread(name)[number - 1] for name in names}

    def pools(self, block: int) -> bool:
        """Tell whether block number `block` (from 1) ends in pooling."""
        return self.pooling != "none" and (self.pool_after is None or block in self.pool_after)

    def canonical(self) -> dict[str, Any]:
        """Return the fields that matter, spread over the layers; those of parts that the network lacks are left out."""
        pool_after = tuple(block for block in range(1, self.blocks + 1) if self.pools(block))
        idle = set() if pool_after else {"pooling", "pool_size", "pool_stride"}
        if not self.blocks:
            idle |= {"convs_per_block", "batch_norm", "conv_dropout"}
        if not self.hidden_layers:
            idle |= {"fc_batch_norm", "fc_dropout"} | (set() if self.blocks else {"activation"})
        form = {"family": self.family} | super().canonical() | {"pool_after": pool_after}
        return {name: value for name, value in form.items() if name not in idle}


@dataclass(frozen=True)
class ResNet(Config):
    """A residual network as torchvision builds it: a 7×7 stem of stride 2, four stages of basic blocks, one FC layer.

    He et al., "Deep residual learning for image recognition", CVPR 2016.
    """

    family: ClassVar[str] = "resnet"

    first_fields: ClassVar[frozenset[str]] = frozenset({"depth", "normalize_input"})

    depth: int = one_of(18, RESNET_STAGES)
    normalize_input: bool = switch(True)  # by the training images' mean and standard deviation, per channel

    def canonical(self) -> dict[str, Any]:
        """Return the fields that matter."""
        return {"family": self.family} | super().canonical()


Model = CNN | ResNet
FAMILIES: dict[str, type[CNN] | type[ResNet]] = {kind.family: kind for kind in (CNN, ResNet)}


@dataclass(frozen=True)
class Training(Config):
    """The training recipe. Images are drawn without replacement, in a new order each epoch.

    The loss is the cross-entropy over the classes; on multi-label data the mean binary cross-entropy of all known
    labels.
    """

    first_fields: ClassVar[frozenset[str]] = frozenset(
        {
            "epochs",
            "batch_size",
            "optimizer",
            "lr",
            "momentum",
            "weight_decay",
            "schedule",
            "gamma",
            "resize",
            "crop",
            "crop_padding",
            "flip",
            "ap_rule",
        }
    )

    epochs: int = whole(15, 1, 100_000)
    batch_size: int = whole(64, 1, 1_000_000)
    optimizer: str = one_of("sgd", OPTIMIZERS)
    lr: float = number(0.05, 1e-12, 1e3)
    momentum: float = number(0.9, 0.0, 0.9999)  # SGD only
    weight_decay: float = number(0.0, 0.0, 1e3)  # on all parameters; SGD and Adam: as L2 penalty, AdamW: decoupled
    schedule: str = one_of("constant", SCHEDULES)
    gamma: float = number(0.9, 1e-6, 1.0)  # exponential only: the learning rate's factor per epoch
    resize: int | None = whole(None, 1, 4096)  # images are first brought to so many pixels square
    # what the network sees: random squares of this size in training, the one in the centre in evaluation
    crop: int | None = whole(None, 1, 4096)
    # in training, crops (of the image's own size where `crop` is None) come from the image padded by so many zeros
    crop_padding: int = whole(0, 0, 64)
    flip: bool = switch(False)  # random horizontal flips
    ap_rule: str = one_of("11-point", AP_RULES)  # multi-label only: how precision is averaged over recall
    # each seed holds back validation images of its own, so that the spread over seeds has that of the split in it
    vary_split: bool = switch(False)
    # CPU only: so many cores train one replicate. Other numbers give other bits, whatever there is of cores
    threads: int = whole(1, 1, 256)

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
        return {name: value for name, value in super().canonical().items() if name not in idle}


@dataclass(frozen=True)
class Trial(Config):
    """One configuration. Its seeds are replicates inside it and no part of it.

    `weights` names pretrained weights to start from (see pretrained.py), None: start from scratch. Where their names
    differ from the network's, `rename` gives pairs (regular expression, replacement), applied to each name in order.
    """

    first_fields: ClassVar[frozenset[str]] = frozenset({"dataset", "model", "training", "weights", "rename"})

    dataset: str = "cifar10"
    model: Model = field(default_factory=CNN)
    training: Training = field(default_factory=Training)
    weights: str | None = None
    rename: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "rename", tuple((pattern, new) for pattern, new in self.rename))
        for pattern, _ in self.rename:
            try:
                re.compile(pattern)
            except re.error as error:
                raise UserError(f"rename holds {pattern!r}, which is not a regular expression: {error}") from error

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
        parts = ("model", "training")
        known = [f"{part}.{entry.name}" for part in parts for entry in fields(getattr(self, part))]
        known += [entry.name for entry in fields(self) if entry.name not in (*parts, "rename")]
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
        named |= self.added()
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
        check_known("family", family, FAMILIES)
        for part, kind, values in (("model", FAMILIES[family], model), ("training", Training, form["training"])):
            _known(part, values, kind)
        return cls(**dict(form) | {"model": FAMILIES[family](**model), "training": Training(**form["training"])})


def _known(what: str, form: Mapping[str, Any], kind: type) -> None:
    known = [f.name for f in fields(kind)]
    for name in form:
        if name not in known:
            raise UserError(f"a {what} has no field {name!r}{suggest(name, known)}")
