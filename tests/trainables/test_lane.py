from dataclasses import replace

import pytest
import torch

from tests.conftest import make_dataset
from trainables.config import CNN, Training, Trial
from trainables.lane import Lane, whole_batches
from trainables.replicate import learning_rate, optimizer_tensors, replicate, update
from trainables.resident import parts

CPU = torch.device("cpu")
MODEL = CNN(conv_layers=1, channels=4, fc_layers=2, fc_widths=8, fc_dropout=0.2, batch_norm=True)
RECIPE = Training(epochs=4, batch_size=16, flip=True, schedule="linear", lr=0.1)


def lane(seed=0, recipe=RECIPE, count=40):
    data = make_dataset(count=count)
    member = replicate(Trial(model=MODEL, training=recipe), data, seed, CPU)
    return Lane(member, parts(data, recipe, CPU).train, recipe, torch.float32, 3)


def run(each):
    each.begin()
    with each.random.in_use():
        for step in range(each.whole):
            each.load(step)
            each.step()
        each.rest()
    return each.score()


def tensors(each):
    member = each.member
    own = {**dict(member.model.named_parameters()), **dict(member.model.named_buffers())}
    named = {name: tensor.detach() for name, tensor in own.items()}
    return {**named, **optimizer_tensors(member.optimizer), "rng": each.random.state, "at": each.at}


def breaks_off(each):
    each.at.zero_()
    each.step()
    raise RuntimeError("not captured")


def same(some, others):
    return some.keys() == others.keys() and all(torch.equal(tensor, others[name]) for name, tensor in some.items())


@pytest.mark.parametrize(
    ("count", "size", "whole"),
    [(10, 4, 2), (9, 4, 1), (8, 4, 2), (5, 4, 0), (1, 4, 0), (3, 4, 0), (4, 1, 4), (4, 4, 1)],
)
def test_whole_batches_come_first_and_one_image_alone_joins_the_batch_before(count, size, whole):
    assert whole_batches(count, size) == whole


@pytest.mark.parametrize(("count", "sizes"), [(40, [16, 16, 8]), (33, [16, 17]), (32, [16, 16]), (5, [5])])
def test_an_epoch_trains_on_each_image_once_in_an_order_of_its_own(count, sizes):
    each, data = lane(count=count), make_dataset(count=count)
    seen, orders = [], []
    for _ in range(2):
        each.begin()
        orders.append(each.order.clone())
        for step in range(each.whole):
            each.load(step)
            each.step(seen.append)
        each.rest(seen.append)
        each.score()
    assert [len(batch) for batch in seen] == sizes * 2
    assert each.steps == len(sizes)
    assert torch.equal(orders[0].sort().values, torch.arange(count))
    assert not torch.equal(orders[0], orders[1])
    flipped = torch.cat(seen[: len(sizes)])  # at random: so images are compared by what flipping leaves
    pixels = torch.from_numpy(data.train.images)[orders[0]]
    assert torch.equal(flipped.sum(2), pixels.sum(2))


def test_logits_lie_in_the_order_of_the_epoch_and_the_rate_follows_its_table(monkeypatch):
    each = lane()
    each.member.model.dropout = torch.nn.Identity()
    rates, logits = [], []
    forward = each.forward
    each.forward = lambda images: logits.append(out := forward(images)) or out
    monkeypatch.setattr(
        "trainables.lane.update", lambda optimizer: rates.append(float(learning_rate(optimizer))) or update(optimizer)
    )
    run(each)
    assert rates == [0.1 * (1 - at / 3 / 4) for at in range(3)]
    assert torch.equal(each.logits, torch.cat(logits).detach())


def test_what_is_undone_leaves_no_trace():
    disturbed, plain = lane(), lane()
    disturbed.begin()
    before = {name: tensor.clone() for name, tensor in tensors(disturbed).items()}
    with disturbed.undone(), disturbed.random.in_use():
        disturbed.step()
        disturbed.step()
    after = tensors(disturbed)
    assert same(before, {name: tensor for name, tensor in after.items() if name in before})
    assert all(not tensor.any() for name, tensor in after.items() if name not in before)  # momentum begins at zero
    assert run(disturbed) == run(plain)
    assert same(tensors(disturbed), tensors(plain))
    with pytest.raises(RuntimeError, match="captured"), disturbed.undone():  # nor does one that breaks off
        breaks_off(disturbed)
    assert same(tensors(disturbed), tensors(plain))


@pytest.mark.parametrize("count", [40, 33])
def test_images_beside_the_device_are_loaded_batch_by_batch(monkeypatch, count):
    here = lane(count=count)
    expected = run(here)
    monkeypatch.setattr("trainables.resident.Part.on_device", False)
    beside = lane(count=count)
    assert beside.feed.batch.shape == (16, 12, 12, 3)
    assert run(beside) == expected
    assert same(tensors(beside), tensors(here))


def test_all_of_a_step_s_forward_pass_is_in_the_dtype_of_training():
    each, seen = lane(), []
    each.dtype = torch.bfloat16
    forward = each.forward
    each.forward = lambda images: seen.append((out := forward(images)).dtype) or out
    run(each)
    assert seen == [torch.bfloat16] * 3
    assert each.logits.dtype == torch.float32


@pytest.mark.parametrize("trained", [False, True])
def test_another_replicate_is_taken_over_into_the_same_tensors(trained):
    recipe = replace(RECIPE, lr=0.02, schedule="constant")
    used, plain, source = lane(), lane(5, recipe), lane(5, recipe)
    run(used)
    if trained:
        run(plain)
        run(source)
    places = {name: tensor.data_ptr() for name, tensor in tensors(used).items() if name != "rng"}
    used.take_over(source.member, used.part, recipe)
    assert source.member.model is used.member.model
    assert run(used) == run(plain)
    assert same(tensors(used), tensors(plain))
    assert places == {name: tensor.data_ptr() for name, tensor in tensors(used).items() if name != "rng"}
