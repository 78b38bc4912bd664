"""A step of several replicates captured as one CUDA graph, a branch for each.

Small networks wait for the launches of their kernels. A graph is launched at once, and its branches run side by side.
Source: NVIDIA, "CUDA C++ Programming Guide", CUDA Graphs; torch.cuda.CUDAGraph.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from trainables.devices import RandomNumbers, on_gpu

WARM_UP = 3  # steps before a capture: the libraries take their memory and choose their kernels in them


class Branch(Protocol):
    """What is captured: a step that always reads and writes the same memory, and draws from its own random numbers."""

    random: RandomNumbers

    def step(self) -> None:
        """Take the step."""


Replay = Callable[[], None]


def can_capture(device: torch.device) -> bool:
    """Tell whether steps on this device can be captured."""
    return on_gpu(device)


def capture(branches: Sequence[Branch], device: torch.device) -> Replay:
    """Return what takes one step of every branch, side by side.

    The branches take a few steps before it: whoever calls it undoes them. Raises what a step raises, or CUDA; then the
    branches need other generators, as theirs wait for the end of the capture for ever.
    """
    streams = [_stream(device, number) for number in range(1, len(branches) + 1)]
    for _ in range(WARM_UP):
        _fork(branches, streams)
    graph = torch.cuda.CUDAGraph()
    for branch in branches:
        graph.register_generator_state(branch.random.generator)
    # the outer one takes the current stream back where a capture fails, which torch before 2.15 does not
    with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph, stream=_stream(device, 0)):
        _fork(branches, streams)
    return graph.replay


@functools.cache
def _stream(device: torch.device, number: int) -> torch.cuda.Stream:  # noqa: ARG001
    """Return one of this process's streams, always the same: cuBLAS keeps memory for each that it was used on."""
    return torch.cuda.Stream(device)


def _fork(branches: Sequence[Branch], streams: Sequence[torch.cuda.Stream]) -> None:
    """Take a step of each branch on a stream of its own, all of them after what the current stream has to do."""
    current = torch.cuda.current_stream()
    begun = current.record_event()
    for branch, stream in zip(branches, streams, strict=True):
        stream.wait_event(begun)
        with torch.cuda.stream(stream), branch.random.in_use():
            branch.step()
    for stream in streams:
        current.wait_stream(stream)
