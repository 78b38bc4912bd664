import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import make_dataset, with_several_labels
from trainables import devices
from trainables import train as module
from trainables.checkpoint import pack, unpack
from trainables.config import CNN, ResNet, Training, Trial
from trainables.datasets.splits import held_again
from trainables.history import chosen_epoch
from trainables.marks import Right
from trainables.models import build
from trainables.replicate import learning_rate, optimizer_tensors, replicate, update
from trainables.scoring import Score
from trainables.snapshot import STATE
from trainables.train import Diverged, evaluate, evaluation_batch, predict, train

CPU = torch.device("cpu")
MODEL = CNN(conv_layers=1, channels=4, fc_layers=2, fc_widths=8, fc_dropout=0.2)


def run(trial, data, seeds=(0,)):
    members = [replicate(trial, data, seed, CPU) for seed in seeds]
    return members, list(train(trial, data, members, CPU))


class Looks:
    """An observer that is always due."""

    def __init__(self, look):
        self.look = look

    def due(self, _):
        return True


def results(epoch):
    untimed = {"seconds": 0.0, "images_per_second": 0.0}
    return [replace(record, **untimed) for record in epoch.records]


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(tiny):
    trial = Trial(model=MODEL, training=Training(epochs=2, batch_size=16, flip=True, crop_padding=2))
    (first,), one = run(trial, tiny)
    (second,), two = run(trial, tiny)
    assert [results(epoch) for epoch in one] == [results(epoch) for epoch in two]
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name])
    _, other = run(trial, tiny, (1,))
    assert results(other[-1]) != results(one[-1])


def test_replicates_side_by_side_are_the_same_as_alone(tiny):
    trial = Trial(model=MODEL, training=Training(epochs=2, batch_size=16))
    _, both = run(trial, tiny, (0, 1))
    _, zero = run(trial, tiny, (0,))
    _, one = run(trial, tiny, (1,))
    assert [results(epoch) for epoch in both] == [results(a) + results(b) for a, b in zip(zero, one, strict=True)]
    assert both[0].seeds == (0, 1)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_trial_says_how_many_threads_whatever_the_process_had(tiny, threads):
    before = torch.get_num_threads()
    try:
        trial, found = Trial(model=MODEL, training=Training(epochs=1, batch_size=16, threads=threads)), []
        for had in (1, 2, 3):
            torch.set_num_threads(had)
            members, _ = run(trial, tiny)
            found.append((torch.get_num_threads(), members[0].model.state_dict()))
    finally:
        torch.set_num_threads(before)
    assert [number for number, _ in found] == [threads] * 3
    for _, weights in found[1:]:
        assert all(torch.equal(tensor, found[0][1][name]) for name, tensor in weights.items())


def test_training_leaves_the_callers_random_numbers_alone(tiny):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    run(Trial(model=MODEL, training=Training(epochs=1)), tiny)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("optimizer", "lr"), [("sgd", 0.02), ("adam", 0.01), ("adamw", 0.01)])
def test_it_overfits_32_images(optimizer, lr):
    data = make_dataset(count=32)
    rng = np.random.default_rng(1)
    data.train.labels[:] = rng.integers(0, 3, 32)  # nothing to be learnt but by heart
    model = CNN(conv_layers=1, channels=16, fc_layers=2, fc_widths=64)
    _, epochs = run(Trial(model=model, training=Training(epochs=60, batch_size=8, optimizer=optimizer, lr=lr)), data)
    assert epochs[-1].records[0].train_score == 1.0


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_steps_are_the_reference_optimizers(tiny, optimizer, monkeypatch):
    """Three steps of one full batch each in float32, against those written out with torch's plain optimizer."""
    monkeypatch.setattr(devices, "computing_dtype", lambda _: torch.float32)
    recipe = Training(
        epochs=3, batch_size=len(tiny.train), optimizer=optimizer, lr=0.01, momentum=0.8, weight_decay=0.5
    )
    trial = Trial(model=CNN(conv_layers=1, channels=2, fc_layers=1), training=recipe)
    reference = replicate(trial, tiny, 3, CPU).model
    (member,), _ = run(trial, tiny, (3,))
    plain = {
        "sgd": lambda p: torch.optim.SGD(p, 0.01, momentum=0.8, weight_decay=0.5),
        "adam": lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.5),
        "adamw": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.5),
    }[optimizer](reference.parameters())
    pixels, labels = torch.from_numpy(tiny.train.images).permute(0, 3, 1, 2), torch.from_numpy(tiny.train.labels)
    for _ in range(3):
        plain.zero_grad()
        torch.nn.functional.cross_entropy(reference(pixels), labels).backward()
        plain.step()
    for mine, theirs in zip(member.model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=2e-5)


def test_evaluation_by_hand():
    class Says(torch.nn.Module):
        def forward(self, pixels):
            return pixels.float().mean((2, 3))  # a logit per channel

    images = torch.zeros(4, 2, 2, 3, dtype=torch.uint8)
    images[torch.arange(4), :, :, torch.tensor([0, 1, 1, 0])] = 4  # predicts 0 1 1 0
    score, _ = evaluate(Says(), images, torch.tensor([0, 1, 0, 0]), "11-point")
    right, wrong = -math.log(math.exp(4) / (math.exp(4) + 2)), -math.log(1 / (math.exp(4) + 2))
    assert score.value == 0.75
    assert score.per_class == (2 / 3, 1.0, None)
    assert score.loss == pytest.approx((3 * right + wrong) / 4, rel=1e-2)


def test_a_loss_that_is_no_number_ends_the_trial_and_names_the_epoch(tiny):
    trial = Trial(model=MODEL, training=Training(epochs=3, lr=1e3, momentum=0.99, batch_size=4))
    with pytest.raises(Diverged, match=r"^the training loss became (nan|inf) in epoch 1 \(seed 0\)$"):
        run(trial, tiny)


def test_it_overfits_32_images_with_several_labels():
    model = CNN(conv_layers=1, channels=16, fc_layers=2, fc_widths=64)
    _, epochs = run(
        Trial(model=model, training=Training(epochs=80, batch_size=8, optimizer="adam", lr=0.01)),
        with_several_labels(make_dataset(count=32)),
    )
    assert epochs[-1].records[0].train_score == 1.0
    assert epochs[-1].records[0].train_loss < 0.01


@pytest.mark.parametrize("several", [False, True])
def test_a_residual_network_overfits_32_images(several, monkeypatch):
    monkeypatch.setattr(devices, "computing_dtype", lambda _: torch.float32)
    data = with_several_labels(make_dataset(count=32)) if several else make_dataset(count=32)
    _, epochs = run(
        Trial(model=ResNet(), training=Training(epochs=20, batch_size=16, optimizer="adam", lr=0.001)), data
    )
    assert epochs[-1].records[0].train_score == 1.0


def test_an_observer_sees_the_first_replicate_before_each_step_as_the_network_does(tiny):
    seen = []
    trial = Trial(model=MODEL, training=Training(epochs=2, batch_size=48, crop=8))
    members = [replicate(trial, tiny, seed, CPU) for seed in (0, 1)]

    def look(at, network, images):
        seen.append((at, network is members[0].model, images.shape))

    observed = list(train(trial, tiny, members, CPU, Looks(look)))
    assert seen == [(at, True, (48, 8, 8, 3)) for at in (0, 0.5, 1, 1.5)]
    _, alone = run(trial, tiny, (0, 1))
    assert [results(epoch) for epoch in observed] == [results(epoch) for epoch in alone]  # and changes nothing


@pytest.mark.parametrize(
    ("schedule", "factor"),
    [
        ("constant", lambda _: 1.0),
        ("linear", lambda at: 1 - at / 3),
        ("cosine", lambda at: (1 + math.cos(math.pi * at / 3)) / 2),
        ("exponential", lambda at: 0.7 ** math.floor(at)),
    ],
)
def test_the_learning_rate_follows_its_schedule_at_every_step(monkeypatch, tiny, schedule, factor):
    """96 images in batches of 24: four steps an epoch, at epochs 0, 1/4, 1/2, …"""
    recipe = Training(epochs=3, batch_size=24, lr=0.02, schedule=schedule, gamma=0.7)
    trial = Trial(model=MODEL, training=recipe)
    member = replicate(trial, tiny, 0, CPU)
    used = []
    monkeypatch.setattr(
        "trainables.lane.update", lambda optimizer: used.append(float(learning_rate(optimizer))) or update(optimizer)
    )
    epochs = list(train(trial, tiny, [member], CPU))
    assert used == pytest.approx([0.02 * factor(at / 4) for at in range(12)], rel=1e-12)
    assert [epoch.records[0].lr for epoch in epochs] == used[::4]


def test_the_best_weights_are_those_at_the_first_best_validation_score(tiny, monkeypatch):
    """Not at the best test score, nor at a later equal one."""
    scores = iter([0.5, 0.9, 0.8, 0.1, 0.8, 0.7, 0.6, 1.0])  # validation, test, validation, …
    seen = Right.of(np.array([True]))
    monkeypatch.setattr(module, "evaluate", lambda *_: (Score(1.0, next(scores), (0.0,) * 3), seen))
    trial = Trial(model=MODEL, training=Training(epochs=4, batch_size=32))
    member = replicate(trial, tiny, 0, CPU)
    after = []
    for epoch in train(trial, tiny, [member], CPU):
        after.append({name: tensor.clone() for name, tensor in member.model.state_dict().items()})
        assert epoch.number == member.epoch
    assert [(record.val_score, record.test_score) for record in member.records] == [
        (0.5, 0.9),
        (0.8, 0.1),
        (0.8, 0.7),
        (0.6, 1.0),
    ]
    # the centred means of three are 0.6, 0.7, 0.73, 0.67
    assert member.chosen.epoch == 3
    for name, tensor in member.chosen.weights.items():
        assert torch.equal(tensor, after[2][name])
    assert not torch.equal(member.chosen.weights["head.weight"], after[1]["head.weight"])


@pytest.mark.parametrize("several", [False, True])
def test_what_is_held_of_the_chosen_epoch_is_the_network_that_its_record_is_of(several):
    data = with_several_labels(make_dataset()) if several else make_dataset()
    trial = Trial(model=MODEL, training=Training(epochs=6, batch_size=16, lr=0.05))
    (member,), epochs = run(trial, data)
    held, record = member.chosen, member.records[member.chosen.epoch - 1]
    assert held.epoch == chosen_epoch([epoch.records[0].val_score for epoch in epochs])
    member.model.load_state_dict(held.weights)
    for part, value, marks in (
        (data.val, record.val_score, held.marks.val),
        (data.test, record.test_score, held.marks.test),
    ):
        images, labels = torch.from_numpy(part.images), torch.from_numpy(part.labels)
        assert evaluate(member.model, images, labels, "11-point")[0].value == value
        logits = predict(member.model, images).numpy()
        if several:
            np.testing.assert_array_equal(marks.unpacked(), logits.astype(np.float16))
        else:
            np.testing.assert_array_equal(marks.unpacked(), logits.argmax(1) == part.labels)
    train_images, train_labels = torch.from_numpy(data.train.images), torch.from_numpy(data.train.labels)
    assert held.marks.fit == evaluate(member.model, train_images, train_labels, "11-point")[0].value


def test_the_fit_is_that_of_the_chosen_weights_and_leaves_the_newest_in_the_network(tiny, monkeypatch):
    """Cut out as in evaluation, and with the rest of the last batch of images."""
    monkeypatch.setattr(module, "FITTED", 37)
    trial = Trial(model=MODEL, training=Training(epochs=4, batch_size=16, lr=0.05, crop=8, flip=True))
    scores = iter([0.5, 0.5, 0.9, 0.5, 0.2, 0.5, 0.1, 0.5])
    real = module.evaluate
    falling = lambda *given: (replace(real(*given)[0], value=next(scores)), real(*given)[1])  # noqa: E731
    monkeypatch.setattr(module, "evaluate", falling)
    member = replicate(trial, tiny, 0, CPU)
    for epoch in train(trial, tiny, [member], CPU):
        assert (member.chosen.marks.fit is None) == (epoch.number < 4)
    after = {name: tensor.clone() for name, tensor in member.model.state_dict().items()}
    assert member.chosen is member.settled
    assert all(torch.equal(after[name], tensor) for name, tensor in member.newest.weights.items())
    member.model.load_state_dict(member.chosen.weights)
    centre = torch.from_numpy(tiny.train.images)[:, 2:10, 2:10].contiguous()
    right = predict(member.model, centre).argmax(1) == torch.from_numpy(tiny.train.labels)
    assert member.chosen.marks.fit == int(right.sum()) / 96


def test_random_numbers_that_others_draw_between_epochs_change_nothing(tiny):
    trial = Trial(model=MODEL, training=Training(epochs=3, batch_size=16, flip=True))
    _, alone = run(trial, tiny)
    disturbed = []
    for epoch in train(trial, tiny, [replicate(trial, tiny, 0, CPU)], CPU):
        disturbed.append(results(epoch))
        torch.rand(7)
        torch.manual_seed(99)
    assert disturbed == [results(epoch) for epoch in alone]


def test_the_seed_gives_one_stream_of_random_numbers(tiny):
    """First for the weights, then for the order of each epoch; nothing else draws where nothing else is random."""
    trial = Trial(model=replace(MODEL, fc_dropout=0.0), training=Training(epochs=3, batch_size=24))
    seen = []
    member = replicate(trial, tiny, 3, CPU)
    list(train(trial, tiny, [member], CPU, Looks(lambda _, __, images: seen.append(images))))
    torch.manual_seed(3)
    build(trial.model, tiny.image_shape, tiny.classes)
    orders = torch.cat([torch.randperm(96) for _ in range(3)])
    assert torch.equal(torch.cat(seen), torch.from_numpy(tiny.train.images)[orders])


def test_replicates_that_are_behind_catch_up_alone(tiny):
    trial = Trial(model=MODEL, training=Training(epochs=2, batch_size=16))
    (ahead,), _ = run(Trial(model=MODEL, training=Training(epochs=1, batch_size=16)), tiny)
    before = list(ahead.records)
    epochs = list(train(trial, tiny, [ahead, replicate(trial, tiny, 1, CPU)], CPU))
    assert [(epoch.number, epoch.seeds) for epoch in epochs] == [(1, (0, 1)), (2, (0, 1))]
    assert ahead.records[:1] == before
    assert ahead.epoch == 2
    assert epochs[0].records[0] is before[0]
    assert list(train(trial, tiny, [ahead], CPU)) == []


def test_training_sees_random_crops_and_evaluation_the_centre_of_validation_then_test(tiny):
    trial = Trial(model=MODEL, training=Training(epochs=1, batch_size=96, crop=8))
    member = replicate(trial, tiny, 0, CPU)
    seen = []
    member.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].permute(0, 2, 3, 1)))
    looks = Looks(lambda _, __, images: seen.insert(0, images.clone()))
    (epoch,) = train(trial, tiny, [member], CPU, looks)
    training, val, test, fitted = seen
    for images, part in ((val, tiny.val), (test, tiny.test), (fitted, tiny.train)):
        assert torch.equal(images, torch.from_numpy(part.images)[:, 2:10, 2:10])
    windows = torch.from_numpy(tiny.train.images).unfold(1, 8, 1).unfold(2, 8, 1)  # (96, 5, 5, 3, 8, 8)
    windows = windows.permute(0, 1, 2, 4, 5, 3).flatten(0, 2).flatten(1)
    places = [int((windows == image.flatten()).all(1).nonzero()) % 25 for image in training]
    assert len(set(places)) > 15
    labels = torch.from_numpy(tiny.test.labels)
    scored, _ = evaluate(member.model, test, labels, "11-point")
    assert (epoch.records[0].test_loss, epoch.records[0].class_score) == (scored.loss, scored.per_class)


@pytest.mark.parametrize(
    ("side", "cpu", "cuda"), [(8, 128, 2048), (64, 128, 2048), (128, 32, 1024), (224, 10, 334), (1024, 1, 16)]
)
def test_so_many_images_are_evaluated_at_once(side, cpu, cuda):
    """At most 2¹⁹ pixels on the CPU, 2²⁴ on a GPU."""
    assert evaluation_batch((side, side), CPU) == cpu
    assert evaluation_batch((side, side), torch.device("cuda")) == cuda
    assert evaluation_batch((side, side // 2), CPU) == min(128, 2**19 // (side * side // 2))


def test_predicting_leaves_the_network_as_it_is_and_goes_in_batches():
    sizes = []
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.BatchNorm1d(12), torch.nn.Dropout(0.5)).train()
    network.register_forward_pre_hook(
        lambda _, inputs: sizes.append((len(inputs[0]), torch.is_inference_mode_enabled()))
    )
    images = torch.randint(0, 256, (300, 2, 2, 3), dtype=torch.uint8)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network[0].forward = lambda pixels: pixels.flatten(1).float()
    logits = predict(network, images)
    assert sizes == [(128, True), (128, True), (44, True)]
    expected = images.permute(0, 3, 1, 2).flatten(1).float() / (1 + 1e-5) ** 0.5
    torch.testing.assert_close(logits, expected)
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_evaluation_is_in_float32_even_where_training_is_not(tiny, monkeypatch):
    kinds = []
    monkeypatch.setattr(devices, "computing_dtype", lambda _: torch.bfloat16)
    monkeypatch.setattr(devices, "CAST_FLOPS", {"cpu": 0})
    trial = Trial(model=MODEL, training=Training(epochs=1, batch_size=96))
    member = replicate(trial, tiny, 0, CPU)
    member.model.head.register_forward_hook(lambda net, _, logits: kinds.append((net.training, logits.dtype)))
    list(train(trial, tiny, [member], CPU))
    assert kinds == [(False, torch.float32)] * 3  # validation, test, training images


@pytest.mark.gpu
def test_gpu_training_is_repeatable(tiny):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    trial, device = Trial(model=MODEL, training=Training(epochs=2, batch_size=16)), torch.device("cuda")
    runs = [list(train(trial, tiny, [replicate(trial, tiny, 0, device)], device)) for _ in range(2)]
    assert [results(epoch) for epoch in runs[0]] == [results(epoch) for epoch in runs[1]]


def split_by_hand(data, seed):
    """Return the data set that a seed's split makes."""
    held = held_again(data.pool_labels, len(data.val), seed)
    train, val = (data.pool.take(np.flatnonzero(which)) for which in (~held, held))
    return replace(data, train=train, val=val)


def state(member):
    """Return all tensors of a replicate, by name, and what it holds."""
    tensors = {**member.model.state_dict(), **optimizer_tensors(member.optimizer), "rng": member.rng}
    held = [each for each in (member.settled, member.newest) if each]
    tensors |= {f"{at} {name}": tensor for at, each in enumerate(held) for name, tensor in each.weights.items()}
    return tensors, [(each.epoch, each.marks) for each in held]


def same_state(one, other):
    (tensors, held), (others, expected) = state(one), state(other)
    return (
        held == expected
        and tensors.keys() == others.keys()
        and all(map(torch.equal, tensors.values(), others.values()))
    )


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("how", [{}, {"resize": 16, "crop": 14, "optimizer": "adam", "lr": 0.01}])
def test_with_a_split_of_its_own_a_seed_trains_as_on_a_data_set_of_that_split(several, how, monkeypatch):
    monkeypatch.setattr(module, "FITTED", 40)
    data = with_several_labels(make_dataset()) if several else make_dataset()
    recipe = Training(epochs=3, batch_size=16, flip=True, **how)
    members, epochs = run(Trial(model=MODEL, training=replace(recipe, vary_split=True)), data, (0, 4))
    for at, member in enumerate(members):
        [alone], expected = run(Trial(model=MODEL, training=recipe), split_by_hand(data, member.seed), (member.seed,))
        assert [results(epoch)[at] for epoch in epochs] == [results(epoch)[0] for epoch in expected]
        assert same_state(member, alone)
    [without], _ = run(Trial(model=MODEL, training=recipe), data, (0,))
    assert not same_state(members[0], without)


def test_a_seed_s_split_is_the_same_whichever_other_seeds_run_and_however_often_it_is_interrupted(tiny):
    trial = Trial(model=MODEL, training=Training(epochs=4, batch_size=16, vary_split=True))
    (_, whole), _ = run(trial, tiny, (0, 1))
    first = replicate(trial, tiny, 1, CPU)
    list(train(trial.with_values({"training.epochs": 2}), tiny, [first], CPU))
    files = pack(trial, tiny, [first])
    later = unpack(files[STATE], trial, tiny, (1, 2), CPU)
    list(train(trial, tiny, later, CPU))
    assert state(later[0])[1] == state(whole)[1]
    assert all(torch.equal(tensor, state(later[0])[0][name]) for name, tensor in state(whole)[0].items())
