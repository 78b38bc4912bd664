"""Where there is a GPU: it says of the same calls what the pretended one says."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.test_pretended import WAITS, WHERE, made

# These wait too, but torch's switch knows nothing of them
UNSEEN = {"synchronize()", "to(device), non_blocking but pageable"}
# A GPU refuses it; the fake tensors of torch 2.11 let it pass, those of 2.14 do not
LET_PASS = {"convolution, weights on the CPU"}


@pytest.fixture(autouse=True)
def gpu():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")


def refused(call):
    try:
        call()
    except RuntimeError:
        return True
    return False


def waits(call):
    t = made()
    call(t)  # a kernel's first call may wait for its loading
    torch.cuda.synchronize()
    try:
        torch.cuda.set_sync_debug_mode("error")
        return refused(lambda: call(t))
    finally:
        torch.cuda.set_sync_debug_mode("default")


def faked(call):
    with FakeTensorMode():
        return refused(lambda: call(made()))


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype feature")
def test_what_waits_waits_on_a_gpu():
    seen = {name: entry for name, entry in WAITS.items() if name not in UNSEEN}
    assert [name for name, (call, expected) in seen.items() if waits(call) != bool(expected)] == []


@pytest.mark.gpu
def test_what_is_mixed_is_refused_by_a_gpu():
    seen = {name: call for name, call in WHERE.items() if name not in LET_PASS}
    assert [name for name, call in seen.items() if refused(lambda call=call: call(made())) != faked(call)] == []
