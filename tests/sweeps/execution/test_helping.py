"""What passes between the worker that has a trial and one that helps, without Ray: test_team.py has what they train."""

from collections import defaultdict, deque
from dataclasses import dataclass, field

import pytest
import torch

from sweeps.execution import helping
from sweeps.execution.desk import Closed
from sweeps.execution.helping import Assistant, Away
from sweeps.execution.messages import FailedThere, Failure, Help
from sweeps.execution.team import Share
from trainables.checkpoint import unpack
from trainables.config import CNN, Training, Trial
from trainables.train import Diverged, train

TRIAL = Trial(model=CNN(conv_layers=1, channels=4, fc_layers=1), training=Training(epochs=2, batch_size=16))
CPU = torch.device("cpu")


@dataclass
class Table:
    """Stands for the desk, whose boxes are closed once they are empty."""

    boxes: dict = field(default_factory=lambda: defaultdict(deque))

    def put(self, box, item):
        self.boxes[box].append(item)

    def take(self, box):
        if not self.boxes[box]:
            raise Closed(box)
        return self.boxes[box].popleft()


@pytest.fixture(autouse=True)
def no_ray(monkeypatch):
    monkeypatch.setattr(helping, "by_reference", lambda content: ("reference", content))
    monkeypatch.setattr(helping, "dereferenced", lambda wrapped: wrapped[1])


def assistant(data, here=None):
    return Assistant(
        TRIAL,
        data,
        here or (lambda members: train(TRIAL, data, members, CPU)),
        lambda state, seeds: unpack(state, TRIAL, data, seeds, CPU),
    )


def serve(data, job, here=None):
    with pytest.raises(Closed):
        assistant(data, here).serve(job)


def test_a_share_is_taken_over_once_and_its_records_and_state_come_back(tiny):
    job = Help("n", "k", TRIAL, "cpu", Table())
    away, share = Away(job), Share(None, (1, 2), b"")
    away.train(share)
    share.fresh = False
    away.train(share)
    with pytest.raises(Closed):  # whoever helped has gone
        away.records()
    serve(tiny, job)
    first, second = away.records(), away.records()
    alone = assistant(tiny)
    alone.take_over(b"", (1, 2))
    for found in (first, second):
        assert {seed: each.val_loss for seed, each in found.items()} == {
            seed: each.val_loss for seed, each in alone.train().items()
        }


def test_the_state_goes_there_and_comes_back(tiny):
    begun = assistant(tiny)
    begun.take_over(b"", (1,))
    begun.train()
    job = Help("n", "k", TRIAL, "cpu", Table())
    away = Away(job)
    away.train(Share(None, (1,), begun.state()))
    with pytest.raises(Closed):
        away.state()  # is asked for; the answer comes later
    serve(tiny, job)
    begun.train()
    [record] = away.records().values()
    assert record.val_loss == begun.replicates[0].records[-1].val_loss
    [member] = unpack(away.state(), TRIAL, tiny, (1,), CPU)
    assert member.epoch == 2
    for name, tensor in member.model.state_dict().items():
        assert torch.equal(tensor, begun.replicates[0].model.state_dict()[name])


def test_what_fails_there_is_the_trial_s_failure_with_its_own_reason(tiny):
    def diverges(_):
        raise Diverged("the training loss became nan in epoch 1 (seed 1)")
        yield

    job = Help("n", "k", TRIAL, "cpu", Table())
    Away(job).train(Share(None, (1,), b""))
    serve(tiny, job, diverges)
    with pytest.raises(FailedThere) as raised:
        Away(job).records()
    failure = Failure.of(raised.value)
    assert failure.reason == "Diverged: the training loss became nan in epoch 1 (seed 1)"
    assert "diverges" in failure.traceback
