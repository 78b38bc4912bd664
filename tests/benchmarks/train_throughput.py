"""Images/s of train() against the usual student loop, in one run: python -m tests.benchmarks.train_throughput [--images
N] [--rounds N]

The peer: torchvision's CIFAR10 with ToTensor and Normalize, a shuffling DataLoader, the same network written with
torch.nn in float32, plain SGD with momentum, and the running loss read off with .item() at each step. Both on one
thread, in turn; the ratio is the median over rounds.
"""

import argparse
import statistics
import time

import numpy as np
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torchvision import transforms

from sweeps.part_a import BASELINE
from trainables.config import Trial
from trainables.datasets import Dataset, Split
from trainables.devices import computing_dtype
from trainables.replicate import replicate
from trainables.train import train

MEAN, SD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
CPU = torch.device("cpu")


def split(rng: np.random.Generator, count: int) -> Split:
    return Split(rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), rng.integers(0, 10, count))


def ours(trial: Trial, part: Split) -> float:
    """Return images/s of one epoch's training, after one epoch of warming up."""
    few = Split(part.images[:10], part.labels[:10])
    data = Dataset("noise", tuple("abcdefghij"), part, few, few, "", MEAN, SD)
    *_, epoch = train(trial, data, [replicate(trial, data, 0, CPU)], CPU)
    return epoch.mean("images_per_second")


class StudentNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 32, 3), nn.Conv2d(32, 64, 3)
        self.pool = nn.MaxPool2d(2, 2)
        self.fc1, self.fc2, self.fc3, self.fc4 = (
            nn.Linear(256, 256),
            nn.Linear(256, 128),
            nn.Linear(128, 64),
            nn.Linear(64, 10),
        )

    def forward(self, x):
        for conv in (self.conv1, self.conv2, self.conv3):
            x = F.relu(self.pool(conv(x)))
        x = torch.flatten(x, 1)
        for fc in (self.fc1, self.fc2, self.fc3):
            x = F.relu(fc(x))
        return self.fc4(x)


def students(batch_size: int, part: Split) -> float:
    """Return images/s of one epoch of the student loop."""
    data = torchvision.datasets.CIFAR10.__new__(
        torchvision.datasets.CIFAR10
    )  # its __getitem__ over our pixels, no files
    data.data, data.targets, data.target_transform = part.images, part.labels.tolist(), None
    data.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, SD)])
    type(data).__len__ = lambda self: len(self.data)
    loader = torch.utils.data.DataLoader(data, batch_size=batch_size, shuffle=True)
    net = StudentNet()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
    begin, running = time.perf_counter(), 0.0
    for images, labels in loader:
        optimizer.zero_grad()
        loss = nn.CrossEntropyLoss()(net(images), labels)
        loss.backward()
        optimizer.step()
        running += loss.item()
    return len(part) / (time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=6400)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    part = split(np.random.default_rng(0), options.images)
    print(
        f"torch {torch.__version__}, one thread, {options.images} images, {options.rounds} rounds; bfloat16 here: "
        f"{computing_dtype(CPU)}"
    )
    for batch_size in (4, 64):
        trial = BASELINE.with_values(
            {"model.fc_layers": 4, "training.batch_size": batch_size, "training.epochs": 2, "training.lr": 0.001}
        )
        students(batch_size, split(np.random.default_rng(1), 256))
        pairs = [(ours(trial, part), students(batch_size, part)) for _ in range(options.rounds)]
        ratio = statistics.median(mine / theirs for mine, theirs in pairs)
        mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(
            f"batch {batch_size:3}: train() {mine:7,.0f} images/s, student loop {theirs:7,.0f} images/s, ratio "
            f"{ratio:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
