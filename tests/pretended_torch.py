"""What torch is told differently while there is a pretended GPU: by whom C++ or the driver would be asked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from torch import Tensor

if TYPE_CHECKING:
    from tests.pretended import PretendedGpu

DEVICE = torch.device("cuda", 0)
MEMORY = 80 * 2**30  # bytes of the pretended device
STATE_BYTES = 16  # of a CUDA generator's state: seed and offset
_STATES: dict[bytes, Tensor] = {}  # what the states of pretended generators stand for


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

    def get_rng_state(device: Any = "cuda") -> Tensor:  # noqa: ARG001
        return _as_cuda_has_it(torch.default_generator.get_state() if gpu.rng is None else gpu.rng)

    def set_rng_state(state: Tensor, device: Any = "cuda") -> None:  # noqa: ARG001
        found = _as_the_cpu_has_it(state)
        if gpu.rng is None:
            torch.default_generator.set_state(found)
        else:
            gpu.rng = found

    def manual_seed(seed: int) -> None:
        if gpu.rng is not None:
            gpu.rng = torch._C.Generator().manual_seed(seed).get_state()

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
        "mem_get_info": lambda _=None: (MEMORY, MEMORY),
        "is_bf16_supported": lambda including_emulation=True: gpu.bf16,  # noqa: ARG005
        "is_current_stream_capturing": lambda: False,
        "reset_peak_memory_stats": lambda _=None: None,
        "synchronize": lambda _=None: gpu.wait("read", "torch.cuda.synchronize"),
        "set_sync_debug_mode": set_sync_debug_mode,
        "get_sync_debug_mode": lambda: 2 if gpu.refuses else 0,
        "get_rng_state": get_rng_state,
        "set_rng_state": set_rng_state,
        "manual_seed": manual_seed,
        "manual_seed_all": manual_seed,
    }
    return [
        mock.patch.multiple(torch.cuda, **cuda),
        mock.patch.object(torch.accelerator, "current_stream", return_value=SimpleNamespace(is_capturing=bool)),
        mock.patch.multiple(torch, **products, Generator=_generator),
        mock.patch.object(torch.autocast, "__init__", _autocast(gpu, torch.autocast.__init__)),
        mock.patch.object(torch._C, "_group_tensors_by_device_and_dtype", _grouped(gpu)),
    ]


def _generator(device: Any = "cpu") -> torch._C.Generator:
    return _Generator() if torch.device(device).type == "cuda" else torch._C.Generator(device)


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


def _as_cuda_has_it(state: Tensor) -> Tensor:
    """Return a generator's state as CUDA would: 16 bytes, which stand for it."""
    name = hashlib.sha256(bytes(state.tolist())).digest()[:STATE_BYTES]
    _STATES[name] = state
    return torch.tensor(list(name), dtype=torch.uint8)


def _as_the_cpu_has_it(state: Tensor) -> Tensor:
    if state.device.type != "cpu" or state.dtype != torch.uint8:
        raise TypeError("RNG state must be a torch.ByteTensor")
    if len(state) != STATE_BYTES:
        raise RuntimeError("RNG state is wrong size")
    return _STATES[bytes(state.tolist())]


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
        with gpu.unwatched():
            return func(tensor, *args, **kwargs)

    return read


def _of_the_cpu_alone(func: Callable[..., Any]) -> Callable[..., Any]:
    def convert(gpu: PretendedGpu, tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        if gpu.holds(tensor):
            what = "can't convert cuda:0 device type tensor to numpy."
            gpu.refuse(TypeError(f"{what} Use Tensor.cpu() to copy the tensor to host memory first."))
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
    Tensor.pin_memory: lambda gpu, tensor: tensor if gpu.pinned(tensor) else gpu.pin(tensor.clone()),
    Tensor.is_pinned: lambda gpu, tensor: gpu.pinned(tensor),
    Tensor.__deepcopy__: _deepcopied,
    **{func: _read(func) for func in (Tensor.tolist, Tensor.__repr__)},
    **{func: _of_the_cpu_alone(func) for func in (Tensor.numpy, Tensor.__array__)},
    **{func: _built(func) for func in (torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor)},
}


class _Generator(torch._C.Generator):
    """The CPU's generator by another name."""

    device = DEVICE

    def get_state(self) -> Tensor:
        return _as_cuda_has_it(super().get_state())

    def set_state(self, state: Tensor) -> None:
        super().set_state(_as_the_cpu_has_it(state))
