"""Replicates trained by several workers at a time, joined after each epoch: bit by bit the same as in turn."""

from dataclasses import replace

import pytest
import torch

from sweeps.execution.helping import Assistant
from sweeps.execution.team import Team
from trainables.checkpoint import pack, unpack
from trainables.config import CNN, Training, Trial
from trainables.files import unzipped
from trainables.history import History
from trainables.marks import Marks
from trainables.snapshot import STATE
from trainables.train import Diverged, train

TRIAL = Trial(
    model=CNN(conv_layers=1, channels=4, fc_layers=1, fc_dropout=0.2),
    training=Training(epochs=4, batch_size=16, lr=0.05, flip=True, schedule="cosine"),
)
CPU = torch.device("cpu")
SEEDS = (0, 1, 2)


class Near:
    """Stands for a helper: another worker's end, without Ray between them. Notes which epochs it trained."""

    def __init__(self, data, trial=TRIAL, failing=None):
        self.own = Assistant(trial, data, *ways(data, trial))
        self.trained, self.failing = [], failing

    def train(self, share):
        self.trained.append(share.seeds)
        self.asked = (share.state, share.seeds) if share.fresh else None

    def records(self):
        if self.failing:
            raise self.failing
        if self.asked:
            self.own.take_over(*self.asked)
        return self.own.train()

    def state(self):
        return self.own.state()


def ways(data, trial):
    """Return how replicates are trained, and made of a state."""

    def here(members):
        return train(trial, data, members, CPU)

    def restore(state, seeds):
        return unpack(state, trial, data, seeds, CPU)

    return here, restore


def team(data, state=b"", trial=TRIAL, seeds=SEEDS):
    here, restore = ways(data, trial)
    return Team(trial, data, restore(state, seeds), here, restore)


def epochs(team, upto=None):
    found = []
    while (upto is None or len(found) < upto) and (epoch := team.next()):
        found.append(epoch)
    return found


def timeless(records):
    """Return records without what clocks say."""
    return [replace(each, seconds=0.0, images_per_second=0.0) for each in records]


def seen(epochs):
    return [(each.number, each.seeds, timeless(each.records)) for each in epochs]


def content(team, data):
    """Return all that a snapshot has of a team, without what clocks say."""
    files = pack(TRIAL, data, team.gathered())
    tensors = {name: found for name, found in unzipped(files[STATE]).items() if name.endswith(".safetensors")}
    members = {member.seed: (timeless(member.records), member.chosen.marks) for member in team.replicates}
    return tensors, members


def in_turn(data, **chosen):
    alone = team(data, **chosen)
    return seen(epochs(alone)), content(alone, data)


@pytest.mark.parametrize("helpers", [1, 2, 4])
@pytest.mark.parametrize("first", [0, 1, 3])
def test_with_helpers_from_any_epoch_on_all_is_as_in_turn(tiny, helpers, first):
    shared = team(tiny)
    begun = epochs(shared, upto=first)
    colleagues = [Near(tiny) for _ in range(helpers)]
    for each in colleagues:
        shared.join(each)
    found = seen(begun + epochs(shared))
    assert (found, content(shared, tiny)) == in_turn(tiny)
    given = {1: [(2,)], 2: [(1,), (2,)], 4: [(1,), (2,), (), ()]}[helpers]
    assert [set(each.trained) for each in colleagues] == [{seeds} if seeds else set() for seeds in given]
    assert [len(each.trained) for each in colleagues] == [4 - first if seeds else 0 for seeds in given]


def test_a_second_helper_gets_its_share_of_what_the_first_had(tiny):
    seeds = (0, 1, 2, 3, 4)
    shared, first, second = team(tiny, seeds=seeds), Near(tiny), Near(tiny)
    shared.join(first)
    begun = epochs(shared, upto=2)
    shared.join(second)
    found = seen(begun + epochs(shared))
    assert first.trained == [(3, 4)] * 2 + [(2, 3)] * 2
    assert second.trained == [(4,)] * 2
    assert (found, content(shared, tiny)) == in_turn(tiny, seeds=seeds)


def test_a_snapshot_along_the_way_is_as_in_turn_and_changes_nothing(tiny):
    shared, alone = team(tiny), team(tiny)
    shared.join(Near(tiny))
    epochs(shared, upto=2), epochs(alone, upto=2)
    halfway = content(shared, tiny)
    assert halfway == content(alone, tiny)
    epochs(shared), epochs(alone)
    assert content(shared, tiny) == content(alone, tiny)


@pytest.mark.parametrize(
    ("ahead", "helpers", "trained"),
    [
        ((0,), 1, [[(2, 3)] * 4]),
        ((0,), 3, [[(1,)] * 4, [(2,)] * 4, [(3,)] * 4]),  # who has the trial waits for the others
        ((2,), 1, [[(2, 3)] * 4]),  # of a share some are ahead
        ((2,), 3, [[(1,)] * 4, [(2,)], [(3,)] * 4]),
    ],
)
def test_replicates_that_are_behind_catch_up_with_helpers_as_alone(tiny, ahead, helpers, trained):
    seeds = (0, 1, 2, 3)
    begun = team(tiny, seeds=ahead)
    epochs(begun, upto=3)
    state = pack(TRIAL, tiny, begun.gathered())[STATE]
    shared, colleagues = team(tiny, state=state, seeds=seeds), [Near(tiny) for _ in range(helpers)]
    for each in colleagues:
        shared.join(each)
    found = seen(epochs(shared))
    assert [number for number, _, _ in found] == [1, 2, 3, 4]
    assert [each.trained for each in colleagues] == trained
    assert (found, content(shared, tiny)) == in_turn(tiny, state=state, seeds=seeds)


def test_what_has_run_all_its_epochs_is_not_given_away(tiny):
    done = team(tiny, seeds=(0, 1))
    epochs(done)
    state = pack(TRIAL, tiny, done.gathered())[STATE]
    shared, helper = team(tiny, state=state, seeds=(0, 1, 2, 3)), Near(tiny)
    shared.join(helper)
    epochs(shared)
    assert helper.trained == [(3,)] * 4
    assert shared.next() is None


def test_an_error_of_the_first_replicate_counts_wherever_others_fail(tiny):
    wild = replace(TRIAL, training=replace(TRIAL.training, lr=1000.0))
    shared = team(tiny, trial=wild)
    shared.join(Near(tiny, trial=wild, failing=Diverged("of another seed")))
    with pytest.raises(Diverged, match=r"\(seed 0\)"):
        epochs(shared)
    shared = team(tiny)
    shared.join(Near(tiny, failing=Diverged("of another seed")))
    with pytest.raises(Diverged, match="of another seed"):
        shared.next()


def test_the_size_counts_what_helpers_train(tiny):
    shared, alone = team(tiny), team(tiny)
    shared.join(Near(tiny))
    shared.next(), alone.next()
    assert shared.size == alone.size


def test_the_fit_is_known_of_every_replicate(tiny):
    shared = team(tiny)
    shared.join(Near(tiny))
    epochs(shared)
    marks = [member.chosen.marks for member in shared.gathered()]
    assert all(isinstance(each, Marks) and each.fit is not None for each in marks)
    assert History({member.seed: tuple(member.records) for member in shared.replicates}).epochs == 4
