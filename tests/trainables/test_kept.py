from dataclasses import replace

import pytest
import torch

from tests.conftest import make_dataset
from trainables import graphs
from trainables import kept as kept_module
from trainables.config import CNN, Training, Trial
from trainables.kept import Kept
from trainables.replicate import replicate

CPU = torch.device("cpu")
MODEL = CNN(conv_layers=1, channels=4, fc_layers=2, fc_widths=8)
WORK = 2 * 6 * 6 * 4 * 27 + 2 * 36 * 8 + 2 * 8 * 3  # FLOPs on 3×8×8: a convolution, and two FC layers
TRIAL = Trial(model=MODEL, training=Training(batch_size=4, crop=8))


def test_images_stay_on_the_device_until_others_are_wanted(tiny):
    kept, recipe = Kept(), Training(crop=8)
    first = kept.parts(tiny, recipe, CPU)
    assert kept.parts(tiny, replace(recipe, lr=0.1, flip=True), CPU) is first
    assert kept.parts(tiny, replace(recipe, crop=10), CPU).val.images.shape[1:] == (10, 10, 3)
    again = kept.parts(tiny, recipe, CPU)
    assert again is not first
    other = make_dataset(count=24)
    assert len(kept.parts(other, recipe, CPU).train.labels) == 24
    kept.clear()
    assert kept.parts(other, recipe, CPU).train.images.shape == (24, 12, 12, 3)


def fresh(data, seeds=(0, 1), trial=TRIAL):
    return [replicate(trial, data, seed, CPU) for seed in seeds]


def test_where_nothing_is_captured_each_replicate_goes_alone(tiny):
    kept, members, said = Kept(), fresh(tiny), []
    kept.say = said.append
    groups = kept.groups(members, TRIAL, tiny, CPU)
    assert [[lane.member for lane in group.lanes] for group in groups] == [[members[0]], [members[1]]]
    for group in groups:
        [lane] = group.lanes
        assert lane.part is kept.parts(tiny, TRIAL.training, CPU).train
        assert (lane.recipe, lane.dtype, lane.logits.shape) == (TRIAL.training, torch.float32, (96, 3))
        assert (group.device, group.say) == (CPU, said.append)


def test_what_is_computed_in_goes_by_the_work_of_a_batch(tiny, monkeypatch):
    asked = []
    monkeypatch.setattr(kept_module, "training_dtype", lambda *work: asked.append(work) or torch.bfloat16)
    [group] = Kept().groups(fresh(tiny, (0,)), TRIAL, tiny, CPU)
    assert asked == [(CPU, 4 * WORK)]  # a batch of four
    assert group.lanes[0].dtype == torch.bfloat16


class Captured:
    """Stands for a captured step."""


def captured(monkeypatch):
    monkeypatch.setattr(graphs, "can_capture", lambda _: True)


def test_trials_with_the_same_steps_share_a_group_and_its_tensors(tiny, monkeypatch):
    """What a captured step reads from tensors may differ: the schedule, and the number of epochs."""
    captured(monkeypatch)
    kept, members = Kept(), fresh(tiny)
    [group] = kept.groups(members, TRIAL, tiny, CPU)
    assert [lane.member for lane in group.lanes] == members
    model = members[1].model
    group.replay = Captured
    later = replace(
        TRIAL, training=replace(TRIAL.training, lr=0.5, schedule="linear", gamma=0.5, epochs=2, ap_rule="all-point")
    )
    others = fresh(tiny, (5, 6), later)
    assert kept.groups(others, later, tiny, CPU) == [group]
    assert [lane.member for lane in group.lanes] == others
    assert others[1].model is model
    assert {lane.recipe for lane in group.lanes} == {later.training}


@pytest.mark.parametrize(
    "trial",
    [
        replace(TRIAL, training=replace(TRIAL.training, momentum=0.5)),
        replace(TRIAL, training=replace(TRIAL.training, batch_size=8)),
        replace(TRIAL, model=replace(MODEL, fc_widths=6)),
        replace(TRIAL, training=replace(TRIAL.training, crop=9)),
    ],
)
def test_other_steps_get_a_group_of_their_own(tiny, monkeypatch, trial):
    captured(monkeypatch)
    kept = Kept()
    kept.parts(tiny, TRIAL.training, CPU)
    [group] = kept.groups(fresh(tiny), TRIAL, tiny, CPU)
    group.replay = Captured
    kept.parts(tiny, trial.training, CPU)
    members = fresh(tiny, (0, 1), trial)
    [other] = kept.groups(members, trial, tiny, CPU)
    assert other is not group
    assert [lane.member for lane in other.lanes] == members
    assert {lane.recipe for lane in other.lanes} == {trial.training}
    assert other.replay is None


def test_so_does_another_number_of_replicates_and_a_group_without_a_capture(tiny, monkeypatch):
    captured(monkeypatch)
    kept = Kept()
    [group] = kept.groups(fresh(tiny), TRIAL, tiny, CPU)
    [other] = kept.groups(fresh(tiny), TRIAL, tiny, CPU)
    assert other is not group
    other.replay = Captured
    [alone] = kept.groups(fresh(tiny, (0,)), TRIAL, tiny, CPU)
    assert (alone is not other, len(alone.lanes)) == (True, 1)
    alone.replay = Captured
    kept.clear()
    assert kept.groups(fresh(tiny, (0,)), TRIAL, tiny, CPU) != [alone]


def test_seeds_that_split_the_data_themselves_share_the_images(tiny):
    kept, recipe = Kept(), Training(crop=8, vary_split=True)
    member, other = fresh(tiny, (0, 1))
    own, others = (kept.parts_of(each, tiny, recipe, CPU) for each in (member, other))
    assert kept.parts_of(member, tiny, replace(recipe, lr=0.1), CPU) is own
    assert own.train.images is others.val.images is kept.parts(tiny, recipe, CPU).train.images
    assert own.train.index.tolist() != others.train.index.tolist()
    shared = kept.parts_of(member, tiny, replace(recipe, vary_split=False), CPU)
    assert shared is kept.parts(tiny, Training(crop=8), CPU)
    assert kept.parts_of(member, tiny, recipe, CPU) is not own


def test_a_lane_that_is_taken_over_trains_on_the_new_seed_s_images(tiny, monkeypatch):
    captured(monkeypatch)
    kept, trial = Kept(), replace(TRIAL, training=replace(TRIAL.training, vary_split=True))
    [group] = kept.groups(fresh(tiny, trial=trial), trial, tiny, CPU)
    group.replay = Captured
    others = fresh(tiny, (5, 6), trial)
    assert kept.groups(others, trial, tiny, CPU) == [group]
    assert [lane.part for lane in group.lanes] == [
        kept.parts_of(each, tiny, trial.training, CPU).train for each in others
    ]
    for lane in group.lanes:
        lane.begin()
        assert sorted(lane.order.tolist()) == lane.part.index.tolist()
