"""A pretended GPU: CPU tensors that are marked as lying on "cuda:0", and rules that a CUDA device would enforce.

    with pretended_gpu() as gpu:
        members = [replicate(trial, data, 0, gpu.device)]
        epochs = list(train(trial, data, members, gpu.device))
    assert gpu.faults == [] and gpu.waits_inside(steps_an_epoch) == []

The mark is on the storage, so that views, parameters and gradients have it too; what is computed of marked tensors is
marked. The numbers are the CPU's, to the bit.

- Tensors of both kinds in one operation are refused (Mixed), but for what CUDA takes: numbers (0-dim CPU tensors)
  in elementwise operations, and CPU indices, which are copied to the device first.
- Whatever makes the host wait is kept in `waits`: each read (`.item()`, `if`, `.cpu()`, a boolean mask, `nonzero`, …),
  and each upload that is not from pinned memory with non_blocking. Inside no_waits() it is refused (Waited), as by
  torch.cuda.set_sync_debug_mode("error").
- Pinned memory to or from which a copy was not waited for, by an event or a read, is refused where it is read too soon,
  or overwritten (Raced).
- `.device`, `.is_cuda`, `.to()`, `device=`, generators, autocast, fused optimizers and random-number states (16 bytes)
  answer as on a GPU.

It has one stream and no graphs, no memory to run out of and is no default device; operations in which the CPU alone
looks at the values (`F.one_hot`) count a read that CUDA does not make. It holds in the thread that opened it.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # else the first operation would import it, while torch is told otherwise
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.pretended_numbers import DEVICE, DeviceGenerator
from tests.pretended_torch import HANDLERS, MEMORY, patches, tensors_in

# Operations whose result the host needs before it can go on: a number, or the size of what they return
READS = {
    f"aten::{name}"
    for name in (
        *("_local_scalar_dense", "item", "is_nonzero", "equal", "allclose", "nonzero", "masked_select", "bincount"),
        *("_unique", "_unique2", "unique_dim", "unique_consecutive", "unique_dim_consecutive", "histc"),
        *("_linalg_check_errors", "_linalg_eigh", "_linalg_svd", "linalg_eig", "linalg_lstsq"),
    )
}
INDEXING = {f"aten::{name}" for name in ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")}
# Not tagged as elementwise, but they take a number off the CPU too: a fused optimizer its learning rate
NUMBERS = ("aten::_fused", "aten::fill", "aten::masked_fill")
COPIES = {"aten::copy_", "aten::_foreach_copy_"}


class Mixed(RuntimeError):
    """An operation on tensors of the CPU and of the GPU."""


class Raced(RuntimeError):
    """Pinned memory was used while a copy from it or to it may still have been under way."""


class Waited(RuntimeError):
    """The host waited for the device where it must not."""


@dataclass(frozen=True)
class Wait:
    """One time that the host waited for the device."""

    kind: str  # "read", or "upload"
    what: str  # the operation
    where: str  # file:line
    step: int  # how many steps optimizers had done

    def __str__(self) -> str:
        return f"{self.kind} by {self.what} at {self.where} after step {self.step}"


class PretendedGpu:
    """What is on the device, and what was done to it. Made by pretended_gpu()."""

    device = DEVICE

    def __init__(self, *, bf16: bool, own_random_numbers: bool, free: int) -> None:
        self.bf16, self.free = bf16, free
        self.waits: list[Wait] = []
        self.faults: list[str] = []  # whatever was refused, also where the error was caught
        self.steps = 0  # of all optimizers
        self.refuses = False  # whether a wait is an error
        self._held: dict[int, StorageWeakRef] = {}  # weak: they live on, and no other storage gets their number
        self._pinned: dict[int, StorageWeakRef] = {}
        # pinned memory that a copy may still be under way "from" or "to", and the number of the copy
        self.flying: dict[int, tuple[str, int]] = {}
        self._copies = itertools.count()
        self.event_waits = 0  # of the host for an event, which may have happened long ago
        self._default = True  # whether what is made of no tensor is made on the device
        self._asked: bool | None = None  # whether the call asks for the device itself
        self._moving = False
        self.numbers = DeviceGenerator(None if own_random_numbers else torch.default_generator)

    @property
    def reads(self) -> list[Wait]:
        """The times that the host read off the device."""
        return [wait for wait in self.waits if wait.kind == "read"]

    @property
    def uploads(self) -> list[Wait]:
        """The times that the host waited for a copy to the device."""
        return [wait for wait in self.waits if wait.kind == "upload"]

    def waits_inside(self, steps: int) -> list[Wait]:
        """Return the waits inside epochs of so many steps, from the end of the first step to that of the last."""
        return [wait for wait in self.waits if wait.step % steps]

    @contextmanager
    def no_waits(self, refuse: bool = True) -> Iterator[None]:
        """Refuse whatever makes the host wait; with `refuse` False let it pass again."""
        before, self.refuses = self.refuses, refuse
        try:
            yield
        finally:
            self.refuses = before

    def holds(self, tensor: Tensor) -> bool:
        """Tell whether a tensor is on the device."""
        return tensor.untyped_storage()._cdata in self._held

    def take(self, tensor: Tensor) -> Tensor:
        """Mark a tensor as on the device, and return it."""
        _mark(self._held, tensor)
        return tensor

    def wait(self, kind: str, what: str) -> None:
        """Note that the host waits. Raises Waited where that is refused."""
        wait = Wait(kind, what, _where(), self.steps)
        self.waits.append(wait)
        self.flying.clear()
        if self.refuses:
            self.refuse(Waited(f"called a synchronizing CUDA operation: {wait}"))

    def call(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Do what a function of torch does, as called by Python."""
        if handler := HANDLERS.get(func):
            return handler(self, *args, **kwargs)
        if getattr(func, "__name__", "") == "__get__":
            return func(*args, **kwargs)
        before = self._default, self._asked
        asked = kwargs.get("device")
        if asked is not None:
            self._default = self._asked = torch.device(asked).type == "cuda"
            kwargs = kwargs | ({"device": "cpu"} if self._asked else {})
        else:
            self._default, self._asked = any(map(self.holds, tensors_in((args, *kwargs.values())))), None
        if isinstance(numbers := kwargs.get("generator"), torch._C.Generator):
            kwargs = kwargs | {"generator": self._checked(numbers)}
        pin = kwargs.pop("pin_memory", False)
        try:
            result = func(*args, **kwargs)
        finally:
            self._default, self._asked = before
        return self.pin(result) if pin else result

    def run(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Do one operation, from wherever it comes."""
        if self._moving:
            return func(*args, **kwargs)
        name, tensors = func._schema.name, list(tensors_in((args, *kwargs.values())))
        here = sum(map(self.holds, tensors))
        if self.flying:
            self.check_landed(name, tensors, _written(func, args, kwargs))
        if name in COPIES:  # into a tensor that stays where it is
            self._copy(name, args, kwargs)
            return func(*args, **kwargs)
        if here:
            self._check(func, name, args, kwargs, tensors)
        on = self._asked if self._asked is not None else here > 0 or (not tensors and self._default)
        if not on:
            return func(*args, **kwargs)
        drawing = torch.Tag.nondeterministic_seeded in func.tags and kwargs.get("generator") is None
        with self.numbers.in_use() if drawing else nullcontext():
            result = func(*args, **kwargs)
        for tensor in tensors_in((result,)):
            self.take(tensor)
        return result

    def move(
        self, tensor: Tensor, there: bool, *, non_blocking: bool = False, copy: bool = False, **form: Any
    ) -> Tensor:
        """Return a tensor on the device, or on the CPU; `form` is its dtype and memory_format, None as it is."""
        given = {"dtype": tensor.dtype} | {name: value for name, value in form.items() if value is not None}
        here = self.holds(tensor)
        if here == there:
            return tensor.to(copy=copy, **given)
        with self.unwatched():
            moved = tensor.to(copy=True, **given)
        if there:
            self.take(moved)
        elif non_blocking:  # torch then makes it in pinned memory
            self.pin(moved)
        self._carried("aten::_to_copy", moved, tensor, non_blocking)
        return moved

    def pin(self, tensor: Tensor) -> Tensor:
        """Mark a tensor of the CPU as lying in pinned memory, and return it."""
        _mark(self._pinned, tensor)
        return tensor

    def pinned(self, tensor: Tensor) -> bool:
        """Tell whether a tensor lies in pinned memory."""
        return tensor.untyped_storage()._cdata in self._pinned

    @contextmanager
    def unwatched(self) -> Iterator[None]:
        """Let operations pass as the CPU does them."""
        before, self._moving = self._moving, True
        try:
            yield
        finally:
            self._moving = before

    def _check(self, func: Any, name: str, args: tuple, kwargs: dict[str, Any], tensors: list[Tensor]) -> None:
        """Note the waits of an operation on tensors of the device. Raises Mixed where it has others too."""
        host = [each for each in tensors if each.device.type == "cpu" and not self.holds(each)]
        if name in INDEXING:
            self._index(name, args, host)
        elif host:
            numbers = all(each.dim() == 0 for each in host)
            written = any(each is other for each in _written(func, args, kwargs) for other in host)
            if written or not numbers or not (torch.Tag.pointwise in func.tags or name.startswith(NUMBERS)):
                self._mixed(name, tensors)
        if name in READS or (name == "aten::repeat_interleave" and kwargs.get("output_size") is None):
            self.wait("read", name)

    def _index(self, name: str, args: tuple, host: list[Tensor]) -> None:
        target, indices, *values = args[:3]
        places, value = list(tensors_in((indices,))), next(tensors_in(values), None)
        if not self.holds(target) or (value is not None and not self.holds(value) and value.dim()):
            self._mixed(name, [target, *places])
        masks = [each for each in places if each.dtype in (torch.bool, torch.uint8)]
        if masks and value is not None and len(places) == 1 and not self.holds(value):
            host = [each for each in host if each is not value]  # x[mask] = 0 is a masked_fill, which waits for nothing
        elif masks:
            self.wait("read", name)
        if host:
            self.wait("upload", name)

    def _copy(self, name: str, args: tuple, kwargs: dict[str, Any]) -> None:
        non_blocking = kwargs.get("non_blocking", args[2] if len(args) > 2 else False)
        for to, source in zip(tensors_in(args[:1]), tensors_in(args[1:2]), strict=False):
            if self.holds(to) != self.holds(source):
                self._carried(name, to, source, non_blocking)

    def _carried(self, name: str, to: Tensor, source: Tensor, non_blocking: bool) -> None:
        """Note a copy from one device to the other."""
        up = self.holds(to)
        memory = source if up else to
        if non_blocking and self.pinned(memory):
            self.flying[memory.untyped_storage()._cdata] = ("from" if up else "to", next(self._copies))
        else:
            self.wait("upload" if up else "read", name)

    def landed(self, copies: Mapping[int, tuple[str, int]]) -> None:
        """Note that these copies, by their memory, are done."""
        for memory, copy in copies.items():
            if self.flying.get(memory) == copy:
                del self.flying[memory]

    def check_landed(self, what: str, used: Iterable[Tensor], written: Iterable[Tensor]) -> None:
        """Raise Raced where memory is read before a copy to it has come, or written before one from it is done."""
        for tensors, kinds in ((used, ("to",)), (written, ("to", "from"))):
            for tensor in tensors:
                way, _ = self.flying.get(tensor.untyped_storage()._cdata, ("", 0))
                if way in kinds:
                    self.refuse(Raced(f"{what} at {_where()}: a copy {way} this memory may still be under way"))

    def _checked(self, numbers: torch._C.Generator) -> torch._C.Generator:
        """Return the CPU's generator that draws for one of the device where that draws, or for itself."""
        if (numbers.device.type == "cuda") != self._default:
            kinds = [self.device.type if on else "cpu" for on in (self._default, not self._default)]
            self.refuse(Mixed("Expected a '{}' device type for generator but found '{}'".format(*kinds)))
        return numbers.numbers if isinstance(numbers, DeviceGenerator) else numbers

    def _mixed(self, name: str, tensors: Iterable[Tensor]) -> None:
        shapes = ", ".join(f"{'cuda:0' if self.holds(each) else 'cpu'} {tuple(each.shape)}" for each in tensors)
        what = (
            f"Expected all tensors to be on the same device, but found cuda:0 and cpu: {name}({shapes}) at {_where()}"
        )
        self.refuse(Mixed(what))

    def refuse(self, error: Exception) -> None:
        """Raise an error, and keep what it says."""
        self.faults.append(str(error))
        raise error


class _Functions(TorchFunctionMode):
    def __init__(self, gpu: PretendedGpu) -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return self.gpu.call(func, args, dict(kwargs or {}))


class _Operations(TorchDispatchMode):
    def __init__(self, gpu: PretendedGpu) -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return self.gpu.run(func, args, kwargs or {})


@contextmanager
def pretended_gpu(
    *, bf16: bool = False, own_random_numbers: bool = False, free: int = MEMORY
) -> Iterator[PretendedGpu]:
    """Let torch have a CUDA device meanwhile, which computes bfloat16 or does not.

    By default its random numbers are the CPU's, so that training gives the CPU's bits. With `own_random_numbers` it has
    a generator of its own, as a GPU has, which torch.manual_seed() seeds too: what is saved and restored of the wrong
    one gives other numbers.
    """
    gpu = PretendedGpu(bf16=bf16, own_random_numbers=own_random_numbers, free=free)
    settings = _settings()

    def count(*_: Any) -> None:
        gpu.steps += 1

    counting = register_optimizer_step_post_hook(count)
    try:
        with ExitStack() as stack:
            for patch in patches(gpu):
                stack.enter_context(patch)
            stack.enter_context(_Functions(gpu))
            stack.enter_context(_Operations(gpu))
            yield gpu
    finally:
        counting.remove()
        for owner, name, value in settings:
            setattr(owner, name, value)


def _settings() -> list[tuple[Any, str, Any]]:
    """Return what training may set of CUDA's libraries, as it is now."""
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    names = (
        (cudnn, "deterministic"),
        (cudnn, "benchmark"),
        (cudnn.conv, "fp32_precision"),
        (products, "fp32_precision"),
    )
    return [(owner, name, getattr(owner, name)) for owner, name in names]


def _written(func: Any, args: tuple, kwargs: dict[str, Any]) -> list[Tensor]:
    """Return what an operation writes into."""
    names = [argument.name for argument in func._schema.arguments]
    given = dict(zip(names, args, strict=False)) | kwargs
    changed = (each.name for each in func._schema.arguments if each.alias_info is not None and each.alias_info.is_write)
    return list(tensors_in([given.get(name) for name in changed]))


def _mark(marks: dict[int, StorageWeakRef], tensor: Tensor) -> None:
    if tensor.device.type != "cpu":
        return
    storage = tensor.untyped_storage()
    if storage._cdata not in marks:
        marks[storage._cdata] = StorageWeakRef(storage)
        if len(marks) % 4096 == 0:
            for number in [number for number, storage in marks.items() if storage.expired()]:
                del marks[number]


@functools.cache
def _is_ours(path: str) -> bool:
    """Tell whether a file is torch's or the pretended GPU's own."""
    beside = Path(__file__).with_name("pretended_torch.py"), Path(contextlib.__file__)
    return Path(path) in (Path(__file__), *beside) or Path(torch.__file__).parent in Path(path).parents


def _where() -> str:
    """Return the place in the project from which torch is called."""
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame.f_code.co_filename):
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
