"""The random numbers of a pretended GPU: the CPU's arithmetic, in generators and states of CUDA's form."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

DEVICE = torch.device("cuda", 0)
STATE_BYTES = 16  # of a CUDA generator's state: seed and offset
_STATES: dict[bytes, Tensor] = {}  # what they stand for here


class DeviceGenerator(torch._C.Generator):
    """A generator of the device. As CUDA's can, it may share its state with another one, and advance it."""

    device = DEVICE

    def __new__(cls, _: torch._C.Generator | None = None) -> DeviceGenerator:
        return super().__new__(cls)

    def __init__(self, numbers: torch._C.Generator | None = None) -> None:
        self.numbers = torch._C.Generator() if numbers is None else numbers

    def manual_seed(self, seed: int) -> DeviceGenerator:
        self.numbers.manual_seed(seed)
        return self

    def get_state(self) -> Tensor:
        state = self.numbers.get_state()
        name = hashlib.sha256(bytes(state.tolist())).digest()[:STATE_BYTES]
        _STATES[name] = state
        return torch.tensor(list(name), dtype=torch.uint8)

    def set_state(self, state: Tensor) -> DeviceGenerator:
        if state.device.type != "cpu" or state.dtype != torch.uint8:
            raise TypeError("RNG state must be a torch.ByteTensor")
        if len(state) != STATE_BYTES:
            raise RuntimeError("RNG state is wrong size")
        self.numbers.set_state(_STATES[bytes(state.tolist())])
        return self

    def graphsafe_get_state(self) -> DeviceGenerator:
        return DeviceGenerator(self.numbers)

    def graphsafe_set_state(self, other: DeviceGenerator) -> DeviceGenerator:
        self.numbers = other.numbers
        return self

    def clone_state(self) -> DeviceGenerator:
        return DeviceGenerator().set_state(self.get_state())

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let operations of the CPU draw from it."""
        default = torch.default_generator
        if self.numbers is default:
            yield
            return
        host = default.get_state()
        default.set_state(self.numbers.get_state())
        try:
            yield
        finally:
            self.numbers.set_state(default.get_state())
            default.set_state(host)


class _AnyGenerator(type):
    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, torch._C.Generator)


class Generator(metaclass=_AnyGenerator):
    """What torch.Generator is meanwhile: it makes generators of either kind."""

    def __new__(cls, device: Any = "cpu") -> Any:
        return DeviceGenerator() if torch.device(device).type == "cuda" else torch._C.Generator(device)
