from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from trainables import graphs
from trainables.graphs import WARM_UP, can_capture, capture

GPU = torch.device("cuda")


class Branch:
    def __init__(self, name, calls):
        self.name, self.calls = name, calls
        self.random = SimpleNamespace(generator=f"numbers of {name}", in_use=self.in_use)

    @contextmanager
    def in_use(self):
        self.calls.append(f"draw from {self.name}")
        yield
        self.calls.append("draw as before")

    def step(self):
        self.calls.append(f"step of {self.name}")


@pytest.fixture
def calls(monkeypatch):
    """What is asked of torch.cuda, in order."""
    calls, names = [], iter("ABCDEF")

    class Stream:
        def __init__(self, device):
            assert device == GPU
            self.name = next(names)

        def wait_event(self, event):
            calls.append(f"{self.name} waits for {event}")

    def on(stream):
        @contextmanager
        def scope():
            calls.append(f"on {stream.name}")
            yield
            calls.append(f"off {stream.name}")

        return scope()

    @contextmanager
    def graph(captured, stream):
        assert captured is replayed
        calls.append(f"capture on {stream.name}")
        yield
        calls.append("captured")

    graphs._stream.cache_clear()
    current = SimpleNamespace(
        name="the current one", record_event=lambda: "event", wait_stream=lambda each: calls.append(f"join {each.name}")
    )
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: current)
    replayed = SimpleNamespace(
        register_generator_state=lambda generator: calls.append(f"register {generator}"),
        replay=lambda: calls.append("replay"),
    )
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: replayed)
    yield calls
    graphs._stream.cache_clear()


def test_each_branch_is_captured_on_a_stream_and_with_random_numbers_of_its_own(calls):
    replay = capture([Branch("one", calls), Branch("two", calls)], GPU)

    def branch(name, stream):
        step = [f"draw from {name}", f"step of {name}", "draw as before"]
        return [f"{stream} waits for event", f"on {stream}", *step, f"off {stream}"]

    fork = [*branch("one", "A"), *branch("two", "B"), "join A", "join B"]
    registered = ["register numbers of one", "register numbers of two"]
    captured = ["on the current one", "capture on C", *fork, "captured", "off the current one"]
    assert calls == [*fork * WARM_UP, *registered, *captured]
    calls.clear()
    replay()
    assert calls == ["replay"]
    calls.clear()
    capture([Branch("one", calls)], GPU)
    assert calls[: len(branch("one", "A"))] == branch("one", "A")  # the same streams again


def test_only_a_gpu_s_steps_can_be_captured():
    assert can_capture(GPU)
    assert not can_capture(torch.device("cpu"))
