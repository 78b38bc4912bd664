"""What differs from device to device: random numbers, precision, memory. Training asks torch.cuda here alone."""

from __future__ import annotations

import ctypes
import hashlib
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

# Forward FLOPs of a batch from which bfloat16 is the faster. On the CPU: measured 2026-11-21 on one AVX512-BF16 core
# with R0's networks at batch 4 to 64: below it gains of 0.75 to 0.96, above it of 1.03 to 1.99. On a GPU: measured
# 2026-11-26 on an H100 with captured steps against TF32 (tests/gpu/verify.py), gains of 0.97 to 1.81 with R0's network
# at batch 4 to 4096, R1's at 4 to 256 and ResNet-18 at 4 to 64, and no size below which it loses more than 3 %.
CAST_FLOPS = {"cpu": 50e6, "cuda": 0}

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # of glibc's malloc.h

DATA_SHARE = 0.5  # of a GPU's free memory that the images of a trial may take; else they stay in the host's memory


def on_gpu(device: torch.device) -> bool:
    """Tell whether this is a GPU."""
    return device.type == "cuda"


def keep_memory() -> None:
    """Have this process keep the memory that it frees, for its next step.

    By default glibc maps every large tensor anew and gives it back, and the system clears each page again: of the
    time of a step with an FC layer of 11 M parameters a third. Nothing happens with another C library.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    for parameter, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 64 * 2**20)):
        libc.mallopt(parameter, value)


def give_memory_back() -> None:
    """Give the system what keep_memory() has kept."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def prepare(device: torch.device, threads: int | None = None) -> None:
    """Have this process compute the same bits again: on the CPU with so many threads, by default as many as it has; on
    a GPU in full float32 wherever training does not say TF32.

    Torch itself would take TF32 in convolutions, whose products have ten bits of mantissa. On the CPU sums over a batch
    are split among the threads, so that their number, though not that of the cores, changes the last bits.
    """
    if threads and device.type == "cpu":
        torch.set_num_threads(threads)
    if on_gpu(device):
        torch.backends.cudnn.deterministic = True
        for products in _products():
            products.fp32_precision = "ieee"


@contextmanager
def fast_products(device: torch.device) -> Iterator[None]:
    """Multiply and convolve in TF32 on a GPU, while training only: evaluation and analyses do not."""
    if not on_gpu(device):
        yield
        return
    before = [products.fp32_precision for products in _products()]
    for products in _products():
        products.fp32_precision = "tf32"
    try:
        yield
    finally:
        for products, precision in zip(_products(), before, strict=True):
            products.fp32_precision = precision


def _products() -> tuple[Any, Any]:
    """Return torch's settings of convolutions and of matrix products on a GPU. Torch declares no types for them."""
    cudnn: Any = torch.backends.cudnn
    return cudnn.conv, torch.backends.cuda.matmul


def computing_dtype(device: torch.device) -> torch.dtype:
    """Return bfloat16 where the hardware computes it, else float32. Emulated bfloat16 would be slower than float32."""
    if on_gpu(device):
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    able = torch.cpu.get_capabilities()
    return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") or able.get("bf16") else torch.float32


def training_dtype(device: torch.device, batch_flops: float) -> torch.dtype:
    """Return what to train in where a batch takes so many FLOPs forward: small steps do not earn their casts."""
    return torch.float32 if batch_flops < CAST_FLOPS[device.type] else computing_dtype(device)


def new_random_numbers(device: torch.device) -> Tensor:
    """Return the state of the device's random numbers as they follow from the last torch.manual_seed()."""
    return torch.cuda.get_rng_state(device) if on_gpu(device) else torch.get_rng_state()


def random_numbers_after(seed: int, epoch: int, device: torch.device) -> Tensor:
    """Return the state of random numbers that follow from a seed and a number of epochs alone."""
    digest = hashlib.sha256(f"{seed} {epoch}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8]) >> 1).get_state()


def keep_within(share: float, beside: int) -> None:
    """Have this process take no more than a share of its GPU, of which so many bytes are `beside` torch's own memory.

    What would be faster with more, such as a convolution that is transformed for it, then takes less; what cannot do
    with less runs out of memory, and not its neighbours. Nothing happens where torch sees no GPU.
    """
    if not torch.cuda.is_available():
        return
    whole = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction(max(0.0, share - beside / whole))


def fits(device: torch.device, size: int) -> bool:
    """Tell whether so many bytes of images may lie on the device, beside all that a trial needs."""
    return not on_gpu(device) or size <= DATA_SHARE * torch.cuda.mem_get_info(device)[0]


class RandomNumbers:
    """A stream of random numbers of its own on a device: whatever is drawn while it is in use comes from it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        # a GPU's stays the same object, as a captured step draws from it
        self.generator = torch.Generator(device)

    @property
    def state(self) -> Tensor:
        """Where the stream stands."""
        return self.generator.get_state()

    @state.setter
    def state(self, state: Tensor) -> None:
        self.generator.set_state(state)

    def renew(self) -> None:
        """Take another generator in the place of one that is spoilt; its state is to be set."""
        self.generator = torch.Generator(self.device)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Draw from this stream meanwhile; the process's own goes on where it was."""
        if on_gpu(self.device):
            index = torch.cuda.current_device() if self.device.index is None else self.device.index
            default = torch.cuda.default_generators[index]
            before = default.graphsafe_get_state()
            default.graphsafe_set_state(self.generator)
            try:
                yield
            finally:
                default.graphsafe_set_state(before)
            return
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self.state)
            try:
                yield
            finally:
                self.state = torch.get_rng_state()


def pinned(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the host where a GPU can fetch it while the host goes on."""
    return tensor.pin_memory() if on_gpu(device) else tensor


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the host on the device, without waiting until it is there."""
    return pinned(tensor, device).to(device, non_blocking=True)


class Staged:
    """A place in the host's memory from which the device fetches, again and again."""

    def __init__(self, like: Tensor) -> None:
        self._buffer = pinned(torch.empty_like(like, device="cpu"), like.device)
        self._fetched = torch.cuda.Event() if on_gpu(like.device) else None

    def buffer(self) -> Tensor:
        """Return the place, once what was sent from it last has been fetched."""
        if self._fetched:
            self._fetched.synchronize()
        return self._buffer

    def send(self, target: Tensor) -> None:
        """Have the device fetch what the place holds, behind all that it was given to do before."""
        target.copy_(self._buffer, non_blocking=True)
        if self._fetched:
            self._fetched.record()
