"""The pretended GPU against torch's own model of devices, and against what CUDA's documentation says waits."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from tests.pretended import Mixed, Raced, Waited, pretended_gpu


@pytest.fixture
def gpu():
    with pretended_gpu() as gpu:
        yield gpu


def made():
    """Return tensors of either kind: x, wanted, picked, one on the GPU; the same of the CPU with a `c` before."""
    kinds = {"": "cuda", "c": "cpu"}
    return SimpleNamespace(
        **{f"{mark}x": torch.ones(4, 3, device=device) for mark, device in kinds.items()},
        **{f"{mark}wanted": torch.zeros(4, dtype=torch.long, device=device) for mark, device in kinds.items()},
        **{f"{mark}picked": torch.zeros(2, dtype=torch.long, device=device) for mark, device in kinds.items()},
        **{f"{mark}one": torch.ones((), device=device) for mark, device in kinds.items()},
    )


WHERE = {
    "the same kind": lambda t: t.x + t.x,
    "both kinds": lambda t: t.x + t.cx,
    "both kinds, the other first": lambda t: t.cx - t.x,
    "a Python number": lambda t: t.x * 2.0,
    "a number of the CPU": lambda t: t.x * t.cone,
    "a number of the CPU first": lambda t: t.cone / t.x,
    "a number of the GPU, values of the CPU": lambda t: t.cx * t.one,
    "in place": lambda t: t.x.add_(t.cone),
    "in place, the CPU's": lambda t: t.cx.add_(t.x),
    "product": lambda t: t.x @ t.cx.T,
    "linear": lambda t: F.linear(t.x, t.cx),
    "chosen": lambda t: torch.where(t.x > 0, t.x, t.cone),
    "chosen, both kinds": lambda t: torch.where(t.cx > 0, t.x, t.x),
    "maximum": lambda t: torch.maximum(t.x, t.cone),
    "masked_fill": lambda t: t.x.masked_fill(t.x > 0, t.cone),
    "fill_": lambda t: t.x.fill_(t.cone),
    "CPU indices": lambda t: t.x[t.cpicked],
    "CPU indices, written": lambda t: t.x.index_put((t.cpicked,), t.cone),
    "index_select": lambda t: t.x.index_select(0, t.cpicked),
    "gather": lambda t: t.x.gather(1, t.cwanted[:, None]),
    "cat": lambda t: torch.cat([t.x, t.cx]),
    "stack": lambda t: torch.stack([t.x, t.x]),
    "loss": lambda t: F.cross_entropy(t.x, t.wanted),
    "loss, labels on the CPU": lambda t: F.cross_entropy(t.x, t.cwanted),
    "one_hot": lambda t: F.one_hot(t.wanted, 3),
    "convolution": lambda t: F.conv2d(t.x[None, None], t.x[None, None, :2, :2]),
    "convolution, weights on the CPU": lambda t: F.conv2d(t.x[None, None], t.cx[None, None, :2, :2]),
    "a view": lambda t: t.x.T[1:],
    "cpu()": lambda t: t.x.cpu(),
    "cuda()": lambda t: t.cx.cuda(),
    "to(device)": lambda t: t.cx.to("cuda"),
    "to(other)": lambda t: t.x.to(t.cx),
    "to(dtype)": lambda t: t.x.to(torch.float64),
    "copy_ to the CPU": lambda t: t.cx.copy_(t.x),
    "copy_ to the GPU": lambda t: t.x.copy_(t.cx),
    "empty_like": lambda t: torch.empty_like(t.x),
    "empty_like, on the CPU": lambda t: torch.empty_like(t.x, device="cpu"),
    "zeros_like, on the GPU": lambda t: torch.zeros_like(t.cx, device="cuda:0"),
    "new_zeros": lambda t: t.x.new_zeros(2),
    "new_tensor": lambda t: t.x.new_tensor([1]),
    "arange": lambda _: torch.arange(3, device="cuda"),
    "arange, on the CPU": lambda t: torch.arange(3) + t.x[0],
    "tensor()": lambda _: torch.tensor([1.0], device=torch.device("cuda", 0)),
    "randperm": lambda _: torch.randperm(4, device="cuda"),
    "rand, on the CPU": lambda t: torch.rand(3) < t.x,
    "dropout": lambda t: F.dropout(t.x, 0.5),
    "batch norm": lambda t: F.batch_norm(t.x, t.x[0], t.x[1], training=True),
    "batch norm, statistics on the CPU": lambda t: F.batch_norm(t.x, t.cx[0], t.cx[1]),
}


def place(call):
    """Return the device of what a call returns, or that it is refused for its devices."""
    try:
        return str(call(made()).device)
    except RuntimeError as error:  # torch's own kind has no public name
        if "Expected all tensors to be on the same device" not in str(error):
            raise
        return "refused"


@pytest.mark.parametrize("name", WHERE)
def test_what_is_on_which_device_is_as_torchs_fake_tensors_have_it(name):
    with FakeTensorMode():
        expected = place(WHERE[name])
    with pretended_gpu() as gpu:
        assert place(WHERE[name]) == expected
    assert len(gpu.faults) == (expected == "refused")


def test_gpu_indices_of_a_cpu_tensor_are_refused(gpu):
    with pytest.raises(Mixed):
        torch.ones(4)[torch.zeros(2, dtype=torch.long, device=gpu.device)]


def test_an_error_says_what_and_where_and_is_kept_where_it_is_caught(gpu):
    t = made()
    with pytest.raises(Mixed) as caught:
        t.x @ t.cx.T
    assert "aten::mm(cuda:0 (4, 3), cpu (3, 4)) at test_pretended.py:" in str(caught.value)
    assert gpu.faults == [str(caught.value)]


READ, UPLOAD = ["read"], ["upload"]
WAITS = {
    "item()": (lambda t: t.one.item(), READ),
    "float()": (lambda t: float(t.one), READ),
    "int()": (lambda t: int(t.one), READ),
    "bool()": (lambda t: 1 if t.one else 0, READ),
    "and": (lambda t: t.one and t.one, READ),
    "as a bound": (lambda t: t.x[: t.picked[0]], READ),
    "as an index": (lambda t: t.x[t.picked[0]], READ),
    "as a number": (lambda t: torch.arange(t.one.long()), READ),
    "tolist()": (lambda t: t.x.tolist(), READ),
    "format()": (lambda t: f"{t.one:.3f}", READ),
    "repr()": (lambda t: repr(t.x), READ),
    "cpu()": (lambda t: t.x.cpu(), READ),
    "to(cpu)": (lambda t: t.x.to("cpu"), READ),
    "copy_ to the CPU": (lambda t: t.cx.copy_(t.x), READ),
    "nonzero()": (lambda t: t.x.nonzero(), READ),
    "where(condition)": (lambda t: torch.where(t.x > 0), READ),
    "argwhere()": (lambda t: torch.argwhere(t.x), READ),
    "a boolean mask": (lambda t: t.x[t.x > 0], READ),
    "a boolean mask, written from a tensor": (lambda t: t.x.__setitem__(t.x > 0, t.x.flatten() + 1), READ),
    "a boolean mask, written from a number": (lambda t: t.x.__setitem__(t.x > 0, 0.0), []),
    "masked_select()": (lambda t: t.x.masked_select(t.x > 0), READ),
    "masked_fill()": (lambda t: t.x.masked_fill(t.x > 0, 0.0), []),
    "unique()": (lambda t: t.x.unique(), READ),
    "unique_consecutive()": (lambda t: t.x.unique_consecutive(), READ),
    "bincount()": (lambda t: torch.bincount(t.wanted), READ),
    "repeat_interleave()": (lambda t: torch.repeat_interleave(t.wanted), READ),
    "repeat_interleave() of known size": (lambda t: torch.repeat_interleave(t.wanted, output_size=0), []),
    "equal()": (lambda t: torch.equal(t.x, t.x + 1), READ),  # of one tensor it is known without a look
    "allclose()": (lambda t: torch.allclose(t.x, t.x), READ),
    "in": (lambda t: 1 in t.x, READ),
    "synchronize()": (lambda _: torch.cuda.synchronize(), READ),
    "to(device)": (lambda t: t.cx.to("cuda"), UPLOAD),
    "to(device), non_blocking but pageable": (lambda t: t.cx.to("cuda", non_blocking=True), UPLOAD),
    "to(device), pinned but blocking": (lambda t: t.cx.pin_memory().to("cuda"), UPLOAD),
    "to(device), pinned and non_blocking": (lambda t: t.cx.pin_memory().to("cuda", non_blocking=True), []),
    "pinned as it is made": (lambda _: torch.ones(3, pin_memory=True).cuda(non_blocking=True), []),
    "copy_ to the GPU": (lambda t: t.x.copy_(t.cx), UPLOAD),
    "copy_ to the GPU, pinned and non_blocking": (lambda t: t.x.copy_(t.cx.pin_memory(), non_blocking=True), []),
    "copy_ to pinned memory, non_blocking": (lambda t: t.cx.pin_memory().copy_(t.x, non_blocking=True), []),
    "copy_ within the GPU": (lambda t: t.x.copy_(t.x + 1), []),
    "to(cpu), non_blocking, which pins": (lambda t: t.x.to("cpu", non_blocking=True), []),
    "tensor()": (lambda _: torch.tensor([1.0], device="cuda"), UPLOAD),
    "as_tensor()": (lambda _: torch.as_tensor(np.ones(3), device="cuda"), UPLOAD),
    "new_tensor()": (lambda t: t.x.new_tensor([1.0]), UPLOAD),
    "full()": (lambda _: torch.full((3,), 2.0, device="cuda"), []),
    "fill_()": (lambda t: t.one.fill_(0.5), []),
    "a row written from a number": (lambda t: t.x.__setitem__(0, 0.5), []),
    "a row written from the CPU": (lambda t: t.x.__setitem__(0, t.cx[0]), UPLOAD),
    "CPU indices": (lambda t: t.x[t.cpicked], UPLOAD),
    "a list of indices": (lambda t: t.x[[0, 1]], UPLOAD),
    "GPU indices": (lambda t: t.x[t.picked], []),
    "index_select()": (lambda t: t.x.index_select(0, t.picked), []),
    "a number of the CPU": (lambda t: t.x * t.cone, []),
    "a Python number": (lambda t: t.x * 2, []),
    "one and the other": (lambda t: t.one.item() + t.x.copy_(t.cx).sum().item(), ["read", "upload", "read"]),
    "the CPU's own": (lambda t: (t.cx[t.cx > 0], t.cx.tolist(), t.cone.item(), str(t.cx), t.cx.nonzero()), []),
    "sizes": (lambda t: (len(t.x), t.x.shape, t.x.numel(), t.x.dtype, t.x.device, t.x.is_contiguous()), []),
}


@pytest.mark.parametrize("name", WAITS)
def test_what_waits_is_counted_and_refused_where_nothing_may_wait(name):
    call, expected = WAITS[name]
    with pretended_gpu() as gpu:
        t = made()
        call(t)
        assert [wait.kind for wait in gpu.waits] == expected
        assert (len(gpu.reads), len(gpu.uploads)) == (expected.count("read"), expected.count("upload"))
        assert gpu.faults == []
        with gpu.no_waits():
            if expected:
                with pytest.raises(Waited, match="called a synchronizing CUDA operation"):
                    call(t)
                assert len(gpu.faults) == 1
            else:
                call(t)


def test_waits_know_the_place_and_the_step(gpu):
    network = nn.Linear(3, 1).to(gpu.device)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    before = len(gpu.waits)
    for _ in range(2):
        network(torch.ones(2, 3, device=gpu.device)).sum().backward()
        optimizer.step()
        network.bias.sum().item()
    assert [(wait.step, wait.where.partition(":")[0]) for wait in gpu.waits[before:]] == [
        (1, "test_pretended.py"),
        (2, "test_pretended.py"),
    ]
    assert gpu.steps == 2
    assert gpu.waits_inside(2) == [gpu.waits[before]]


def test_torchs_own_switch_refuses_waits_too(gpu):
    torch.cuda.set_sync_debug_mode("error")
    assert torch.cuda.get_sync_debug_mode() == 2
    with pytest.raises(Waited):
        made().one.item()
    torch.cuda.set_sync_debug_mode("default")
    assert made().one.item() == 1
    assert len(gpu.waits) == 2


def test_a_gpu_tensor_does_not_become_an_array(gpu):
    for convert in (lambda t: t.x.numpy(), lambda t: np.asarray(t.x)):
        with pytest.raises(TypeError, match=r"^can't convert cuda:0 device type tensor to numpy"):
            convert(made())
    np.testing.assert_array_equal(made().cx.numpy(), made().x.cpu().numpy())
    assert len(gpu.faults) == 2


def test_a_network_and_all_that_it_makes_are_on_the_device(gpu):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Flatten())
    assert network.to(gpu.device).to(memory_format=torch.channels_last) is network
    network(torch.rand(2, 3, 8, 8, device=gpu.device)).square().mean().backward()
    twin = copy.deepcopy(network)
    twin.load_state_dict({name: tensor.cpu() for name, tensor in network.state_dict().items()})
    for each in (network, twin):
        tensors = [*each.parameters(), *each.buffers(), *each.state_dict().values()]
        assert {(str(tensor.device), tensor.is_cuda, tensor.is_cpu, tensor.get_device()) for tensor in tensors} == {
            ("cuda:0", True, False, 0)
        }
    assert {parameter.grad.device for parameter in network.parameters()} == {gpu.device}
    assert not any(tensor.is_cuda for tensor in network.cpu().state_dict().values())
    assert gpu.faults == []


@pytest.mark.parametrize("capturable", [False, True])
@pytest.mark.parametrize("tensor_lr", [False, True])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_fused_optimizers_step_without_a_wait_and_as_on_the_cpu(kind, tensor_lr, capturable):
    more = {"capturable": capturable} if kind is not torch.optim.SGD else {"momentum": 0.9}

    def trained(device):
        weight = nn.Parameter(torch.arange(4.0).to(device))
        lr = torch.tensor(0.1, device=device) if tensor_lr else 0.1
        optimizer = kind([weight], lr, weight_decay=0.1, fused=True, **more)
        with torch.no_grad():
            weight.grad = weight + 1
        for _ in range(3):
            optimizer.step()
            if tensor_lr:
                lr.mul_(0.5)
        return weight.detach(), optimizer.state_dict()["state"][0]

    expected = None if capturable else trained("cpu")[0]  # the CPU has nothing to capture
    with pretended_gpu() as gpu:
        weight, state = trained(gpu.device)
        assert {value.device for value in state.values()} == {gpu.device}
        assert [wait.step for wait in gpu.waits] == [0] * (
            3 if tensor_lr else 1
        )  # torch checks that it is not negative
        assert expected is None or torch.equal(weight.cpu(), expected)
    assert gpu.faults == []


def test_a_learning_rate_on_the_cpu_is_a_number_and_a_gradient_there_is_refused(gpu):
    weight = nn.Parameter(torch.ones(3, device=gpu.device))
    weight.grad = torch.ones(3, device=gpu.device)
    torch.optim.SGD([weight], torch.tensor(0.1), fused=True).step()
    assert weight.tolist() == pytest.approx([0.9] * 3)
    weight.grad = torch.ones(3)
    with pytest.raises(Mixed, match="_fused_sgd_"):
        torch.optim.SGD([weight], 0.1, fused=True).step()


def test_pinned_memory_is_not_used_before_its_copy_is_done(gpu):
    def sent():
        """Return pinned memory that is on its way to the device, and what it goes to."""
        buffer, target = torch.zeros(3).pin_memory(), torch.ones(3, device=gpu.device)
        target.copy_(buffer, non_blocking=True)
        return buffer, target

    buffer, _ = sent()
    assert buffer.sum() == 0  # to read it is no harm
    with pytest.raises(Raced, match=r"^aten::fill_ at test_pretended.py:\d+: a copy from this memory"):
        buffer.fill_(1)
    with pytest.raises(Raced):
        torch.index_select(torch.ones(3), 0, torch.arange(3), out=buffer)
    event = torch.cuda.Event()
    event.synchronize()  # of nothing yet
    with pytest.raises(Raced):
        buffer.fill_(1)
    event.record()
    later, target = sent()
    event.synchronize()
    buffer.fill_(1)
    with pytest.raises(Raced):  # it was sent after the event
        later.fill_(1)
    event.record()
    target.copy_(later, non_blocking=True)
    event.synchronize()
    with pytest.raises(Raced):  # it was sent again
        later.fill_(1)
    torch.cuda.synchronize()
    later.fill_(1)
    buffer, target = sent()
    target.sum().item()  # which waits for all before it
    buffer.fill_(1)
    assert gpu.event_waits == 3
    assert len(gpu.faults) == 5


def test_what_comes_from_the_device_is_not_read_before_it_is_there(gpu):
    def fetched():
        buffer = torch.zeros(3).pin_memory()
        return buffer.copy_(torch.ones(3, device=gpu.device), non_blocking=True)

    uses = (lambda t: t.sum(), lambda t: t.numpy(), lambda t: t.tolist(), lambda t: t.zero_(), lambda t: t[0].item())
    for use in uses:
        with pytest.raises(Raced, match="a copy to this memory may still be under way"):
            use(fetched())
    with pytest.raises(Raced):
        torch.ones(3, device=gpu.device).to("cpu", non_blocking=True).sum()
    arrived = fetched()
    torch.cuda.current_stream().record_event().synchronize()
    assert arrived.tolist() == [1, 1, 1]
    assert (gpu.reads, gpu.event_waits) == ([], 1)


def test_only_memory_of_the_cpu_can_be_pinned(gpu):
    assert made().cx.pin_memory().is_pinned()
    assert not made().cx.is_pinned()
    with pytest.raises(RuntimeError, match="only dense CPU tensors can be pinned"):
        made().x.pin_memory()
    assert len(gpu.faults) == 1


def test_there_are_no_graphs_and_no_second_stream(gpu):
    for make in (torch.cuda.CUDAGraph, lambda: torch.cuda.Stream(gpu.device)):
        with pytest.raises(RuntimeError, match=r"^the pretended GPU has no "):
            make()


def test_autocast_casts_what_is_on_the_device_where_it_can():
    def product(enabled=True, dtype=torch.bfloat16):
        with torch.autocast("cuda", dtype, enabled=enabled):
            result = made().x @ made().x.T
        return result.dtype, result.is_cuda

    with pretended_gpu(bf16=True):
        assert torch.cuda.is_bf16_supported(including_emulation=False)
        assert product() == (torch.bfloat16, True)
        assert product(dtype=torch.float16) == (torch.float16, True)
        assert product(enabled=False) == (torch.float32, True)
    with pretended_gpu():
        assert not torch.cuda.is_bf16_supported(including_emulation=False)
        assert product(enabled=False) == (torch.float32, True)
        with pytest.raises(RuntimeError, match="does not support bfloat16"):
            product()


def test_torch_says_that_there_is_one_device_and_afterwards_what_it_said_before():
    def said():
        cudnn = torch.backends.cudnn
        return torch.cuda.is_available(), torch.cuda.device_count(), cudnn.deterministic, cudnn.conv.fp32_precision

    before, state, precision = said(), torch.get_rng_state(), torch.get_float32_matmul_precision()
    with pretended_gpu() as gpu:
        assert said()[:2] == (True, 1)
        torch.backends.cudnn.deterministic = not before[2]
        torch.backends.cudnn.conv.fp32_precision = "ieee"
        torch.set_float32_matmul_precision("medium")
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.cuda.mem_get_info(gpu.device) == (torch.cuda.get_device_properties(0).total_memory,) * 2
        torch.cuda.empty_cache()
        left = made().x
    assert said() == before
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_float32_matmul_precision() == precision
    assert left.device.type == "cpu"
    assert (left.sum().item(), gpu.waits) == (12, [])


def test_numbers_of_storages_are_not_mixed_up_when_they_are_freed(gpu):
    for _ in range(5000):
        torch.empty(1, device=gpu.device)
        assert not torch.empty(1).is_cuda
    assert len(gpu._held) < 5000
