"""A replicate's way through its epochs, a step at a time, in tensors that stay where they are.

A step reads no number off the device and none from Python, and writes into the same memory each time: which batch is
next, the learning rate, the logits. So it can be captured once as a CUDA graph, and be replayed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from trainables.augment import augmented
from trainables.config import Training
from trainables.devices import RandomNumbers, sent
from trainables.replicate import Replicate, Weights, learning_rate, optimizer_tensors, update
from trainables.resident import Feed, Part
from trainables.scoring import Score, loss, score
from trainables.straight import straight

Seen = Callable[[Tensor], None]  # gets a batch (N, H, W, C) uint8 as the network is about to


class Lane:
    """Trains one replicate. An epoch is begin(), then load() and step() for each whole batch, rest(), score()."""

    def __init__(self, member: Replicate, part: Part, recipe: Training, dtype: torch.dtype, classes: int) -> None:
        device, count = part.labels.device, len(part)
        self.member, self.part, self.recipe, self.dtype = member, part, recipe, dtype
        self.forward = straight(member.model)
        self.whole = whole_batches(count, recipe.batch_size)
        self.steps = self.whole + (count > self.whole * recipe.batch_size)
        self.random = RandomNumbers(device)
        self.order = torch.empty(count, dtype=torch.int64, device=device)  # of the part's images
        self.at = torch.zeros(1, dtype=torch.int64, device=device)  # the next step's number in the epoch
        lr = learning_rate(member.optimizer)
        self.rates = torch.empty(self.steps, dtype=lr.dtype, device=device)
        self.logits = torch.empty((count, classes), device=device)
        self.feed = None if part.on_device else Feed(part.images, recipe.batch_size, device)
        self.order_on_host = self.order

    def begin(self) -> None:
        """Begin an epoch: draw its order, and write down its learning rates."""
        member, recipe = self.member, self.recipe
        self.random.state = member.rng
        with self.random.in_use():
            torch.randperm(len(self.order), out=self.order)
        if self.part.index is not None:
            self.order.copy_(self.part.index[self.order])
        if self.feed:
            self.order_on_host = self.order.cpu()
        progress = (member.epoch + step / self.steps for step in range(self.steps))
        self.rates.copy_(torch.tensor([recipe.lr * recipe.lr_factor(at) for at in progress], dtype=torch.float64))
        self.at.zero_()
        member.model.train()

    def load(self, step: int) -> None:
        """Have the images of a whole batch on the device, where they do not lie there."""
        if self.feed:
            self.feed.load(self.order_on_host[step * self.recipe.batch_size :][: self.recipe.batch_size])

    def step(self, seen: Seen | None = None) -> None:
        """Train on the next whole batch."""
        size = self.recipe.batch_size
        orders = self.order[: self.whole * size].view(self.whole, size)
        index = orders.index_select(0, self.at)[0]
        images = self.feed.batch if self.feed else self.part.images.index_select(0, index)
        logits = self._learn(images, index, seen)
        self.logits[: self.whole * size].view(self.whole, size, -1).index_copy_(0, self.at, logits[None])
        self.at += 1

    def rest(self, seen: Seen | None = None) -> None:
        """Train on the last batch, where that is of another size."""
        begin = self.whole * self.recipe.batch_size
        if begin == len(self.order):
            return
        images = self.part.images.index_select(0, self.order_on_host[begin:])
        if self.feed:
            images = sent(images, self.order.device)
        self.logits[begin:] = self._learn(images, self.order[begin:], seen)

    def score(self) -> Score:
        """Return the epoch's score, as the weights moved, and keep where its random numbers stand."""
        self.member.rng = self.random.state
        return score(self.logits, self.part.labels[self.order], self.recipe.ap_rule)

    def _learn(self, images: Tensor, index: Tensor, seen: Seen | None) -> Tensor:
        """Train on a batch of resized images; return its logits (N, classes)."""
        optimizer, kind = self.member.optimizer, self.order.device.type
        torch.index_select(self.rates, 0, self.at, out=learning_rate(optimizer).view(1))
        images = augmented(images, self.recipe)
        if seen:
            seen(images)
        with torch.autocast(kind, torch.bfloat16, enabled=self.dtype == torch.bfloat16, cache_enabled=False):
            logits = self.forward(images.permute(0, 3, 1, 2)).float()
        loss(logits, self.part.labels.index_select(0, index)).backward()
        update(optimizer)
        return logits.detach()

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Take back whatever is trained meanwhile, in place: a captured step knows its tensors by their addresses.

        What the optimizer lacked before becomes zeros, from which its first step is the same.
        """
        before = {name: tensor.clone() for name, tensor in _tensors(self.member).items()}
        at, random = self.at.clone(), self.random.state
        try:
            yield
        finally:
            _write(before, self.member)
            self.at.copy_(at)
            self.random.state = random

    def take_over(self, member: Replicate, part: Part, recipe: Training) -> None:
        """Train another replicate of a trial with the same steps from now on: it gets this one's tensors.

        Its part may be another choice of the same images.
        """
        _write(_tensors(member), self.member)
        member.model, member.optimizer = self.member.model, self.member.optimizer
        self.member, self.part, self.recipe = member, part, recipe


def _tensors(member: Replicate) -> Weights:
    """Return the weights, statistics and optimizer's slots of a replicate, by name."""
    model = member.model
    own = itertools.chain(model.named_parameters(), model.named_buffers())  # state_dict() may hold copies
    named = {f"model.{name}": tensor.detach() for name, tensor in own}
    return named | {f"optimizer.{name}": tensor for name, tensor in optimizer_tensors(member.optimizer).items()}


def _write(tensors: Weights, member: Replicate) -> None:
    """Give a replicate's own tensors these values; the slots that are not among them become zeros."""
    with torch.no_grad():
        for name, tensor in _tensors(member).items():
            tensor.copy_(tensors[name]) if name in tensors else tensor.zero_()


def whole_batches(count: int, size: int) -> int:
    """Return how many whole batches an epoch begins with.

    The rest is its last batch. One image alone joins the batch before: batch norm cannot train on it.
    """
    whole, rest = divmod(count, size)
    return whole - 1 if whole and rest == 1 else whole
