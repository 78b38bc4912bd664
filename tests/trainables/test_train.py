import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import make_dataset
from trainables import train as module
from trainables.augment import as_evaluated, augmented, crop, flip, resized
from trainables.config import CNN, ResNet, Training, Trial
from trainables.errors import UserError
from trainables.scoring import loss, score
from trainables.train import Diverged, evaluate, replicate, train

CPU = torch.device("cpu")
MODEL = CNN(conv_layers=1, channels=4, fc_layers=2, fc_widths=8, fc_dropout=0.2)


def run(trial, data, seeds=(0,)):
    members = [replicate(trial, data, seed, CPU) for seed in seeds]
    return members, list(train(trial, data, members, CPU))


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
def test_a_step_is_the_reference_optimizers(tiny, optimizer, monkeypatch):
    """One epoch of one full batch in float32, against the step written out with torch's plain optimizer."""
    monkeypatch.setattr(module, "computing_dtype", lambda _: torch.float32)
    recipe = Training(epochs=1, batch_size=len(tiny.train), optimizer=optimizer, lr=0.01, weight_decay=0.1)
    trial = Trial(model=CNN(conv_layers=1, channels=2, fc_layers=1), training=recipe)
    reference = replicate(trial, tiny, 3, CPU).model
    (member,), _ = run(trial, tiny, (3,))
    plain = {
        "sgd": lambda p: torch.optim.SGD(p, 0.01, momentum=0.9, weight_decay=0.1),
        "adam": lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.1),
        "adamw": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1),
    }[optimizer](reference.parameters())
    pixels, labels = torch.from_numpy(tiny.train.images).permute(0, 3, 1, 2), torch.from_numpy(tiny.train.labels)
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
    score = evaluate(Says(), images, torch.tensor([0, 1, 0, 0]), "11-point")
    right, wrong = -math.log(math.exp(4) / (math.exp(4) + 2)), -math.log(1 / (math.exp(4) + 2))
    assert score.value == 0.75
    assert score.per_class == (2 / 3, 1.0, None)
    assert score.loss == pytest.approx((3 * right + wrong) / 4, rel=1e-2)


def test_a_loss_that_is_no_number_ends_the_trial_and_names_the_epoch(tiny):
    trial = Trial(model=MODEL, training=Training(epochs=3, lr=1e3, momentum=0.99, batch_size=4))
    with pytest.raises(Diverged, match=r"^the training loss became (nan|inf) in epoch 1 \(seed 0\)$"):
        run(trial, tiny)


def test_the_best_weights_are_those_of_the_best_validation_epoch(tiny):
    trial = Trial(model=MODEL, training=Training(epochs=6, batch_size=16, lr=0.05))
    (member,), epochs = run(trial, tiny)
    member.model.load_state_dict(member.best)
    val = tiny.val
    score = evaluate(member.model, torch.from_numpy(val.images), torch.from_numpy(val.labels), "11-point")
    assert score.value == max(epoch.records[0].val_score for epoch in epochs)


def test_a_last_batch_of_one_joins_the_one_before():
    assert [len(batch) for batch in module._batches(9, 4, CPU)] == [4, 5]
    assert [len(batch) for batch in module._batches(10, 4, CPU)] == [4, 4, 2]
    assert torch.equal(torch.cat(module._batches(9, 4, CPU)).sort().values, torch.arange(9))


def test_flips_mirror_about_half_and_nothing_else():
    torch.manual_seed(0)
    images = torch.randint(0, 256, (400, 4, 5, 3), dtype=torch.uint8)
    flipped = flip(images)
    same, mirrored = (flipped == images).flatten(1).all(1), (flipped == images.flip(2)).flatten(1).all(1)
    assert (same | mirrored).all()
    assert 150 < int(mirrored.sum()) < 250


def test_crops_are_windows_of_the_padded_image():
    torch.manual_seed(0)
    images = torch.randint(1, 256, (64, 6, 6, 3), dtype=torch.uint8)
    padded = torch.nn.functional.pad(images, (0, 0, 2, 2, 2, 2))
    offsets = set()
    for image, cropped in zip(padded, crop(images, 6, 6, 2), strict=True):
        found = [(y, x) for y in range(5) for x in range(5) if torch.equal(image[y : y + 6, x : x + 6], cropped)]
        assert len(found) == 1
        offsets.update(found)
    assert len(offsets) > 15  # of 25


def test_the_centre_is_what_evaluation_sees_and_training_images_are_parts_of_the_whole():
    images = torch.arange(2 * 8 * 8 * 3, dtype=torch.int64).remainder(251).to(torch.uint8).reshape(2, 8, 8, 3)
    assert torch.equal(as_evaluated(images, Training(crop=4)), images[:, 2:6, 2:6])
    assert augmented(images, Training(crop=4)).shape == (2, 4, 4, 3)
    assert resized(images, Training(resize=8)) is images
    flat = torch.full((3, 10, 6, 1), 77, dtype=torch.uint8)
    assert torch.equal(resized(flat, Training(resize=4)), torch.full((3, 4, 4, 1), 77, dtype=torch.uint8))
    assert Training(resize=9, crop=7).input_shape((3, 5, 6)) == (3, 7, 7)
    with pytest.raises(UserError, match=r"^crop is 9, but must be at most 5, the side of the images it is cut from$"):
        Training(crop=9).input_shape((3, 5, 6))


def multi_label(count=32):
    """Random labels, each absent, present or unknown, of images that differ in every pixel."""
    data, rng = make_dataset(count=count), np.random.default_rng(2)
    parts = [
        replace(part, labels=rng.integers(-1, 2, (len(part), 3)).astype(np.int8))
        for part in (data.train, data.val, data.test)
    ]
    return replace(data, train=parts[0], val=parts[1], test=parts[2])


def test_it_overfits_32_images_with_several_labels():
    model = CNN(conv_layers=1, channels=16, fc_layers=2, fc_widths=64)
    _, epochs = run(
        Trial(model=model, training=Training(epochs=80, batch_size=8, optimizer="adam", lr=0.01)), multi_label()
    )
    assert epochs[-1].records[0].train_score == 1.0
    assert epochs[-1].records[0].train_loss < 0.01


@pytest.mark.parametrize("several", [False, True])
def test_a_residual_network_overfits_32_images(several, monkeypatch):
    monkeypatch.setattr(module, "computing_dtype", lambda _: torch.float32)
    data = multi_label() if several else make_dataset(count=32)
    _, epochs = run(
        Trial(model=ResNet(), training=Training(epochs=20, batch_size=16, optimizer="adam", lr=0.001)), data
    )
    assert epochs[-1].records[0].train_score == 1.0


def test_unknown_labels_count_nowhere():
    logits = torch.tensor([[2.0, -1.0], [0.5, 0.0]])
    labels = torch.tensor([[1, -1], [0, 1]], dtype=torch.int8)
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(0.5)) + math.log(2)) / 3
    assert float(loss(logits, labels)) == pytest.approx(expected)
    found = score(logits, labels, "11-point")
    assert (found.value, found.per_class) == (1.0, (1.0, 1.0))
    with pytest.raises(ValueError, match="no image is known to have any of the classes"):
        score(logits, torch.zeros(2, 2, dtype=torch.int8), "11-point")


def test_pretrained_weights_are_where_training_starts(tiny):
    (learned,), _ = run(Trial(model=MODEL, training=Training(epochs=1)), tiny)
    weights = {
        f"old.{name}": tensor.half() for name, tensor in learned.model.state_dict().items() if "head" not in name
    }
    trial = Trial(model=MODEL, rename=(("^old[.]", ""),))
    started, scratch = replicate(trial, tiny, 3, CPU, weights).model, replicate(trial, tiny, 3, CPU).model
    assert torch.equal(started.hidden[0].linear.weight, learned.model.hidden[0].linear.weight.half().float())
    assert torch.equal(started.head.weight, scratch.head.weight)


def test_a_watcher_sees_the_first_replicate_before_each_step_as_the_network_does(tiny):
    seen = []
    trial = Trial(model=MODEL, training=Training(epochs=2, batch_size=48, crop=8))
    members = [replicate(trial, tiny, seed, CPU) for seed in (0, 1)]

    def watch(at, network, images):
        seen.append((at, network is members[0].model, images.shape))

    watched = list(train(trial, tiny, members, CPU, watch))
    assert seen == [(at, True, (48, 8, 8, 3)) for at in (0, 0.5, 1, 1.5)]
    assert [results(epoch) for epoch in watched] == [
        results(epoch) for epoch in run(trial, tiny, (0, 1))[1]
    ]  # and changes nothing


@pytest.mark.gpu
def test_gpu_training_is_repeatable(tiny):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    trial, device = Trial(model=MODEL, training=Training(epochs=2, batch_size=16)), torch.device("cuda")
    runs = [list(train(trial, tiny, [replicate(trial, tiny, 0, device)], device)) for _ in range(2)]
    assert [results(epoch) for epoch in runs[0]] == [results(epoch) for epoch in runs[1]]
