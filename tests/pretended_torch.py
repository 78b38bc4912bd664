"""What torch is told differently while there is a pretended GPU: by whom C++ or the driver would be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from torch import Tensor

from tests.pretended_numbers import Generator

if TYPE_CHECKING:
    from tests.pretended import PretendedGpu

MEMORY = 80 * 2**30  # bytes of the pretended device


def tensors_in(values: Iterable[Any]) -> Iterator[Tensor]:
    """Go through the tensors among values, and in their lists and tuples."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from tensors_in(value)


def patches(gpu: PretendedGpu) -> list[Any]:
    """Return what torch is told differently, because it asks the driver or C++."""
    precision = [torch.get_float32_matmul_precision()]  # of the GPU; the CPU's stays as it is
    products: dict[str, Callable[..., Any]] = {
        "set_float32_matmul_precision": lambda wanted: precision.__setitem__(0, wanted),
        "get_float32_matmul_precision": lambda: precision[0],
    }

    def set_sync_debug_mode(mode: int | str) -> None:
        gpu.refuses = mode in ("error", 2)

    about = SimpleNamespace(name="pretended GPU", total_memory=MEMORY, major=9, minor=0, multi_processor_count=132)
    cuda: dict[str, Callable[..., Any]] = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "set_device": lambda _: None,
        "get_device_name": lambda _=None: about.name,
        "get_device_capability": lambda _=None: (about.major, about.minor),
        "get_device_properties": lambda _=None: about,
        "mem_get_info": lambda _=None: (gpu.free, MEMORY),
        "is_bf16_supported": lambda including_emulation=True: gpu.bf16,  # noqa: ARG005
        "is_current_stream_capturing": lambda: False,
        "reset_peak_memory_stats": lambda _=None: None,
        "synchronize": lambda _=None: gpu.wait("read", "torch.cuda.synchronize"),
        "set_sync_debug_mode": set_sync_debug_mode,
        "get_sync_debug_mode": lambda: 2 if gpu.refuses else 0,
        "get_rng_state": lambda device="cuda": gpu.numbers.get_state(),  # noqa: ARG005
        "set_rng_state": lambda state, device="cuda": gpu.numbers.set_state(state),  # noqa: ARG005
        "manual_seed": gpu.numbers.manual_seed,
        "manual_seed_all": gpu.numbers.manual_seed,
        "default_generators": (gpu.numbers,),
        "current_stream": lambda _=None: _Stream(gpu),
        "Event": lambda *_, **__: _Event(gpu),
        "Stream": _no("streams of one's own"),
        "CUDAGraph": _no("graphs"),
    }
    return [
        mock.patch.multiple(torch.cuda, **cuda),
        mock.patch.object(torch.accelerator, "current_stream", return_value=_Stream(gpu)),
        mock.patch.multiple(torch, **products, Generator=Generator),
        mock.patch.object(torch.autocast, "__init__", _autocast(gpu, torch.autocast.__init__)),
        mock.patch.object(torch._C, "_group_tensors_by_device_and_dtype", _grouped(gpu)),
    ]


def _no(what: str) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise RuntimeError(f"the pretended GPU has no {what}")

    return refuse


class _Event:
    """What the host can wait for, instead of for all that the device has to do."""

    def __init__(self, gpu: PretendedGpu) -> None:
        self.gpu = gpu
        self.copies: dict[int, Any] = {}

    def record(self, stream: Any = None) -> None:  # noqa: ARG002
        self.copies = dict(self.gpu.flying)

    def wait(self, stream: Any = None) -> None: ...

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        self.gpu.event_waits += 1
        self.gpu.landed(self.copies)

    def elapsed_time(self, other: Any) -> float:  # noqa: ARG002
        return 1.0  # milliseconds


class _Stream:
    """The one stream, in whose order everything is done."""

    def __init__(self, gpu: PretendedGpu) -> None:
        self.gpu = gpu

    def record_event(self, event: _Event | None = None) -> _Event:
        event = event or _Event(self.gpu)
        event.record()
        return event

    def synchronize(self) -> None:
        self.gpu.wait("read", "torch.cuda.Stream.synchronize")

    def is_capturing(self) -> bool:
        return False


def _autocast(gpu: PretendedGpu, real: Callable[..., None]) -> Callable[..., None]:
    """Return autocast.__init__ by which "cuda" casts what lies on the CPU."""

    def init(self: Any, device_type: str, dtype: Any = None, enabled: bool = True, cache_enabled: Any = None) -> None:
        if device_type == "cuda":
            device_type, dtype = "cpu", dtype or torch.get_autocast_dtype("cuda")
            if enabled and dtype == torch.bfloat16 and not gpu.bf16:
                gpu.refuse(
                    RuntimeError("Current CUDA Device does not support bfloat16. Please switch dtype to float16.")
                )
        real(self, device_type, dtype, enabled, cache_enabled)

    return init


def _grouped(gpu: PretendedGpu) -> Callable[..., Any]:
    """Return what optimizers sort their tensors with, by which those of the device are on it."""
    real = torch._C._group_tensors_by_device_and_dtype

    def grouped(lists: list, with_indices: bool = False) -> Any:
        found = real(lists, with_indices)
        on = {key: gpu.holds(next(tensors_in(group[0]))) for key, group in found.items()}
        return {(gpu.device if on[key] else key[0], key[1]): group for key, group in found.items()}

    return grouped


def _to(gpu: PretendedGpu, tensor: Tensor, *args: Any, copy: bool = False, **kwargs: Any) -> Tensor:
    if args and isinstance(args[0], Tensor):
        there: bool | None = gpu.holds(args[0])
        dtype, non_blocking, form = args[0].dtype, kwargs.get("non_blocking", False), kwargs.get("memory_format")
    else:
        device, dtype, non_blocking, form = torch._C._nn._parse_to(*args, **kwargs)
        if device is not None and device.type not in ("cpu", "cuda"):
            return tensor.to(*args, copy=copy, **kwargs)
        there = gpu.holds(tensor) if device is None else device.type == "cuda"
    return gpu.move(tensor, there, non_blocking=non_blocking, copy=copy, dtype=dtype, memory_format=form)


def _read(func: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that is written in C++ for the CPU, where no operation shows that it reads."""

    def read(gpu: PretendedGpu, tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        if gpu.holds(tensor):
            gpu.wait("read", func.__name__)
        gpu.check_landed(func.__name__, [tensor], written=[])
        with gpu.unwatched():
            return func(tensor, *args, **kwargs)

    return read


def _of_the_cpu_alone(func: Callable[..., Any]) -> Callable[..., Any]:
    def convert(gpu: PretendedGpu, tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        if gpu.holds(tensor):
            what = "can't convert cuda:0 device type tensor to numpy."
            gpu.refuse(TypeError(f"{what} Use Tensor.cpu() to copy the tensor to host memory first."))
        gpu.check_landed(func.__name__, [tensor], written=[])
        return func(tensor, *args, **kwargs)

    return convert


def _built(func: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that makes a tensor of what Python or NumPy has: pageable memory."""

    def build(gpu: PretendedGpu, *args: Any, device: Any = None, pin_memory: bool = False, **kwargs: Any) -> Tensor:
        if device is not None and torch.device(device).type not in ("cpu", "cuda"):
            return func(*args, device=device, **kwargs)
        first = args[0] if args else kwargs.get("data")
        there = torch.device(device).type == "cuda" if device is not None else any(map(gpu.holds, tensors_in((first,))))
        if isinstance(first, Tensor) and func is not Tensor.new_tensor:
            return gpu.move(first, there, copy=func is torch.tensor, dtype=kwargs.get("dtype"))
        made = func(*args, **kwargs)
        if there:
            gpu.wait("upload", func.__name__)
            return gpu.take(made.clone())
        return gpu.pin(made) if pin_memory else made

    return build


def _pin(gpu: PretendedGpu, tensor: Tensor) -> Tensor:
    if gpu.holds(tensor):
        gpu.refuse(RuntimeError("cannot pin a tensor of cuda:0: only dense CPU tensors can be pinned"))
    return tensor if gpu.pinned(tensor) else gpu.pin(tensor.clone())


def _deepcopied(gpu: PretendedGpu, tensor: Tensor, memo: dict) -> Tensor:
    with gpu.unwatched():
        copied = tensor.__deepcopy__(memo)
    return gpu.take(copied) if gpu.holds(tensor) else copied


HANDLERS: dict[Any, Callable[..., Any]] = {
    Tensor.device.__get__: lambda gpu, tensor: gpu.device if gpu.holds(tensor) else tensor.device,
    Tensor.is_cuda.__get__: lambda gpu, tensor: gpu.holds(tensor),
    Tensor.is_cpu.__get__: lambda gpu, tensor: tensor.is_cpu and not gpu.holds(tensor),
    Tensor.get_device: lambda gpu, tensor: 0 if gpu.holds(tensor) else tensor.get_device(),
    Tensor.to: _to,
    Tensor.cpu: lambda gpu, tensor, memory_format=None: gpu.move(tensor, False, memory_format=memory_format),
    Tensor.cuda: lambda gpu, tensor, device=None, non_blocking=False, memory_format=None: gpu.move(  # noqa: ARG005
        tensor, True, non_blocking=non_blocking, memory_format=memory_format
    ),
    Tensor.pin_memory: _pin,
    Tensor.is_pinned: lambda gpu, tensor: gpu.pinned(tensor),
    Tensor.__deepcopy__: _deepcopied,
    **{func: _read(func) for func in (Tensor.tolist, Tensor.__repr__)},
    **{func: _of_the_cpu_alone(func) for func in (Tensor.numpy, Tensor.__array__)},
    **{func: _built(func) for func in (torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor)},
}
