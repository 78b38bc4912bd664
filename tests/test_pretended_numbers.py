"""The pretended GPU's random numbers: CUDA's states and generators, and whose numbers are drawn."""

import pytest
import torch
from torch.nn import functional as F

from tests.pretended import pretended_gpu


@pytest.fixture
def gpu():
    with pretended_gpu() as gpu:
        yield gpu


def test_states_of_random_numbers_are_cudas_and_bring_back_what_was_drawn():
    for own in (False, True):
        with pretended_gpu(own_random_numbers=own) as gpu:
            state = torch.cuda.get_rng_state(gpu.device)
            assert (state.shape, state.dtype, state.device.type) == ((16,), torch.uint8, "cpu")
            first = torch.rand(3, device=gpu.device)
            assert not torch.equal(first, torch.rand(3, device=gpu.device))
            torch.cuda.set_rng_state(state.clone(), gpu.device)
            assert torch.equal(first, torch.rand(3, device=gpu.device))
            with pytest.raises(RuntimeError, match="RNG state is wrong size"):
                torch.cuda.set_rng_state(torch.get_rng_state(), gpu.device)
            with pytest.raises(TypeError, match=r"torch\.ByteTensor"):
                torch.cuda.set_rng_state(state.to(gpu.device), gpu.device)


def test_the_devices_own_random_numbers_are_apart_from_the_cpus():
    torch.manual_seed(5)
    host = torch.rand(3)
    with pretended_gpu(own_random_numbers=True) as gpu:
        for drawn_between in (0, 7):
            torch.manual_seed(5)
            torch.rand(drawn_between)
            with torch.random.fork_rng(devices=[gpu.device]):
                torch.rand(2, device=gpu.device)
            assert torch.equal(torch.rand(3, device=gpu.device).cpu(), host)
        torch.manual_seed(5)
        F.dropout(torch.ones(9, device=gpu.device))
        assert torch.equal(torch.rand(3), host)


def test_by_default_the_devices_random_numbers_are_the_cpus():
    torch.manual_seed(5)
    host = [torch.rand(3), torch.randperm(4), torch.randint(9, (2,))]
    with pretended_gpu() as gpu:
        torch.manual_seed(5)
        on = {"device": gpu.device}
        there = [torch.rand(3, **on), torch.randperm(4, **on), torch.randint(9, (2,), **on)]
        assert all(torch.equal(one.cpu(), other) for one, other in zip(there, host, strict=True))


def test_a_generator_belongs_to_its_device(gpu):
    own = torch.Generator(device="cuda")
    assert all(isinstance(each, torch.Generator) for each in (own, torch.Generator(), torch.default_generator))
    assert (own.device, own.manual_seed(3), len(own.get_state())) == (gpu.device, own, 16)
    state = own.get_state()
    first = torch.rand(3, device=gpu.device, generator=own)
    own.set_state(state)
    assert torch.equal(first, torch.rand(3, device=gpu.device, generator=own))
    assert torch.equal(first.cpu(), torch.rand(3, generator=torch.Generator().manual_seed(3)))
    with pytest.raises(RuntimeError, match="Expected a 'cpu' device type for generator but found 'cuda'"):
        torch.rand(3, generator=own)
    with pytest.raises(RuntimeError, match="Expected a 'cuda' device type for generator but found 'cpu'"):
        torch.rand(3, device=gpu.device, generator=torch.Generator())


def test_a_generator_can_lend_its_state_to_the_devices_own(gpu):
    """As torch has it for graphs: both then are at the same place of one stream."""
    [default] = torch.cuda.default_generators
    lent, reference = (torch.Generator("cuda").manual_seed(3) for _ in range(2))
    host, before = torch.get_rng_state(), default.graphsafe_get_state()
    default.graphsafe_set_state(lent)
    drawn = torch.rand(3, device=gpu.device)
    default.graphsafe_set_state(before)
    assert torch.equal(drawn, torch.rand(3, device=gpu.device, generator=reference))
    assert torch.equal(lent.get_state(), reference.get_state())
    assert torch.equal(lent.clone_state().get_state(), reference.get_state())
    assert torch.equal(torch.get_rng_state(), host)
