import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from tests.pretended import pretended_gpu
from trainables import devices
from trainables.devices import (
    RandomNumbers,
    Staged,
    computing_dtype,
    fast_products,
    fits,
    keep_within,
    new_random_numbers,
    on_gpu,
    pinned,
    prepare,
    random_numbers_after,
    sent,
    training_dtype,
)

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def precisions():
    return torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision


def breaks_off(take, make):
    take(make())
    raise ValueError("in training")


@pytest.fixture
def settings():
    """Whatever a test makes of torch's settings of GPUs is taken back."""
    before, deterministic = precisions(), torch.backends.cudnn.deterministic
    yield
    torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision = before
    torch.backends.cudnn.deterministic = deterministic


@pytest.mark.usefixtures("settings")
def test_a_gpu_computes_in_full_precision_but_where_training_multiplies():
    prepare(CPU)
    assert precisions() == ("tf32", "none")  # torch's own defaults
    prepare(GPU)
    assert torch.backends.cudnn.deterministic
    assert precisions() == ("ieee", "ieee")
    with fast_products(CPU):
        assert precisions() == ("ieee", "ieee")
    seen = []
    with pytest.raises(ValueError, match="in training"), fast_products(GPU):
        breaks_off(seen.append, precisions)
    assert seen == [("tf32", "tf32")]
    assert precisions() == ("ieee", "ieee")


@pytest.mark.parametrize("able", ["avx512_bf16", "amx_bf16", "bf16", None])
def test_bfloat16_is_used_where_the_processor_computes_it(monkeypatch, able):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, able: True, "x": False})
    assert computing_dtype(CPU) == (torch.bfloat16 if able else torch.float32)


@pytest.mark.parametrize("able", [True, False])
def test_bfloat16_is_used_where_a_gpu_computes_it_itself(monkeypatch, able):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: able and not including_emulation)
    assert computing_dtype(GPU) == (torch.bfloat16 if able else torch.float32)


@pytest.mark.parametrize(
    ("device", "flops", "dtype"),
    [
        (CPU, 49_999_999, torch.float32),
        (CPU, 50_000_000, torch.bfloat16),
        (GPU, 1, torch.bfloat16),
    ],
)
def test_small_steps_stay_in_float32(monkeypatch, device, flops, dtype):
    monkeypatch.setattr(devices, "computing_dtype", lambda _: torch.bfloat16)
    assert training_dtype(device, flops) == dtype


FAULTS = """
import platform, resource, sys, torch
from trainables import devices

assert platform.libc_ver()[0] == "glibc"
if sys.argv[1] == "kept":
    devices.keep_memory()
for _ in range(10):
    torch.ones(10 * 2**20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(10 * 2**20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
devices.give_memory_back()
print(int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_memory_that_is_kept_is_not_mapped_anew_and_can_be_given_back():
    """Ten tensors of 40 MB, one after another: 10,240 pages each."""
    found = {}
    for how in ("kept", "not"):
        done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
        found[how] = [int(line) for line in done.stdout.split()]
    assert found["kept"][0] < 1000 < 10_000 < found["not"][0]
    assert found["kept"][1] < found["not"][1] + 20 * 2**20


def test_a_stream_of_random_numbers_is_one_s_own():
    torch.manual_seed(3)
    expected = [torch.rand(4) for _ in range(3)]
    torch.manual_seed(3)
    stream = RandomNumbers(CPU)
    stream.state = new_random_numbers(CPU)
    torch.manual_seed(7)
    others = torch.rand(2)
    torch.manual_seed(7)
    with stream.in_use():
        drawn = [torch.rand(4)]
    assert torch.equal(torch.rand(2), others)
    kept = stream.state
    with pytest.raises(ValueError, match="in training"), stream.in_use():
        breaks_off(drawn.append, lambda: torch.rand(4))
    with stream.in_use():
        drawn.append(torch.rand(4))
    assert torch.equal(torch.stack(drawn), torch.stack(expected))
    stream.state = kept
    with stream.in_use():
        assert torch.equal(torch.rand(4), expected[1])


def test_random_numbers_begin_anew_by_seed_and_epoch():
    states = [random_numbers_after(seed, epoch, CPU) for seed, epoch in ((0, 1), (0, 2), (1, 1), (0, 1))]
    assert torch.equal(states[0], states[3])
    assert not torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
    assert states[0].shape == new_random_numbers(CPU).shape


@pytest.mark.parametrize(("share", "fraction"), [(0.5, 0.4), (0.05, 0.0)])
def test_a_share_of_a_gpu_is_what_torch_takes_and_what_is_beside_it(share, fraction, monkeypatch):
    told = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (7, 100))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", told.append)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    keep_within(share, 10)
    assert told == []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    keep_within(share, 10)
    assert told == [pytest.approx(fraction)]


def test_half_of_a_gpu_s_free_memory_is_for_images(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 4000) if device == GPU else None)
    assert fits(GPU, 500)
    assert not fits(GPU, 501)
    assert fits(CPU, 10**15)
    assert (on_gpu(GPU), on_gpu(CPU)) == (True, False)


def test_what_is_sent_is_pinned_first_and_nobody_waits_for_it():
    with pretended_gpu() as gpu:
        tensor = torch.arange(5)
        with gpu.no_waits():
            there = sent(tensor, gpu.device)
            staged = Staged(there)
            staged.buffer().fill_(7)
            staged.send(there)
        assert there.is_cuda
        assert there.tolist() == [7] * 5
        assert staged.buffer().is_pinned()
        assert pinned(tensor, gpu.device).is_pinned()
        assert not pinned(tensor, CPU).is_pinned()
        assert not sent(tensor, CPU).is_cuda


def test_a_gpu_s_random_numbers_are_its_own():
    with pretended_gpu(own_random_numbers=True) as gpu:
        assert random_numbers_after(0, 1, gpu.device).shape == (16,)
        streams = {}
        for device in (gpu.device, torch.device("cuda")):
            streams[device] = RandomNumbers(device)
            streams[device].state = random_numbers_after(0, 1, gpu.device)
        torch.manual_seed(5)
        others = torch.rand(2, device="cuda").tolist()
        torch.manual_seed(5)
        drawn = []
        for stream in streams.values():
            with stream.in_use():
                drawn.append(torch.rand(3, device="cuda").tolist())
        assert drawn[0] == drawn[1]
        assert torch.rand(2, device="cuda").tolist() == others
        renewed, spoilt = streams[gpu.device], streams[gpu.device].generator
        renewed.renew()
        assert renewed.generator is not spoilt
        assert renewed.generator.device == gpu.device


def test_what_is_staged_is_fetched_before_its_place_is_filled_again(monkeypatch):
    """A GPU's copies run behind the host: its event says when one is through."""
    calls = []
    event = SimpleNamespace(record=lambda: calls.append("record"), synchronize=lambda: calls.append("wait"))
    monkeypatch.setattr(torch.cuda, "Event", lambda: event)
    monkeypatch.setattr(devices, "on_gpu", lambda _: True)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: calls.append("pin") or self)
    target = torch.zeros(3, dtype=torch.uint8)
    staged = Staged(target)
    for value in (5, 6):
        staged.buffer().fill_(value)
        staged.send(target)
        assert target.tolist() == [value] * 3
    assert calls == ["pin", "wait", "record", "wait", "record"]
