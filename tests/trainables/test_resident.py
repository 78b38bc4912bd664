from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import make_dataset
from tests.pretended import pretended_gpu
from tests.trainables.datasets.builders import write_classes
from trainables import devices
from trainables.augment import resized
from trainables.config import Training
from trainables.datasets import decoded, load
from trainables.datasets.splits import held_again
from trainables.errors import UserError
from trainables.resident import Feed, parts, split_by

CPU = torch.device("cpu")


@pytest.mark.parametrize("recipe", [Training(), Training(resize=20, crop=10), Training(resize=12)])
def test_images_are_the_same_on_the_device_and_beside_it(monkeypatch, recipe):
    data = make_dataset(count=70)
    here = parts(data, recipe, CPU)
    sizes = []
    monkeypatch.setattr(devices, "fits", lambda _, size: sizes.append(size))
    beside = parts(data, recipe, CPU)
    for mine, other in ((here.train, beside.train), (here.val, beside.val), (here.test, beside.test)):
        assert torch.equal(mine.images, other.images)
        assert torch.equal(mine.labels, other.labels)
        assert mine.on_device
    side = recipe.resize or 12
    cut = recipe.crop or side
    assert sizes == [(70 * side * side + (24 + 30) * cut * cut) * 3]
    assert here.train.images.shape == (70, side, side, 3)
    assert here.val.images.shape == (24, cut, cut, 3)


def test_images_of_the_host_are_not_on_a_device_where_the_labels_are(tiny):
    part = parts(tiny, Training(), CPU).train
    assert not replace(part, labels=part.labels.to("meta")).on_device


@pytest.mark.parametrize(("free", "there"), [(None, True), (0, False)])
def test_images_lie_on_a_gpu_or_pinned_beside_it_and_labels_always_on_it(tiny, free, there):
    how = {} if free is None else {"free": free}
    with pretended_gpu(**how) as gpu:
        for part in vars(parts(tiny, Training(), gpu.device)).values():
            assert (part.images.is_cuda, part.labels.is_cuda) == (there, True)
            assert part.images.is_pinned() == (not there)
            assert part.on_device == there


def test_batches_come_to_the_same_place_in_turn():
    images = torch.arange(6, dtype=torch.uint8)[:, None, None, None].expand(6, 2, 2, 3)
    feed = Feed(images, 2, CPU)
    place, staged = feed.batch.data_ptr(), list(feed.staged)
    assert len(staged) == 2
    for pair in ((4, 1), (0, 5), (2, 2)):
        feed.load(torch.tensor(pair))
        assert feed.batch.data_ptr() == place
        assert feed.batch[:, 1, 1, 2].tolist() == list(pair)
        staged.reverse()
        assert all(mine is other for mine, other in zip(feed.staged, staged, strict=True))


@pytest.mark.parametrize("recipe", [Training(vary_split=True), Training(resize=20, crop=10, vary_split=True)])
def test_a_pool_lies_there_once_and_each_seed_has_its_places_in_it(recipe):
    data = make_dataset(count=70)
    pool = parts(data, recipe, CPU)
    assert pool.train is pool.val
    assert torch.equal(pool.train.images, resized(torch.from_numpy(data.pool.images), recipe))
    assert torch.equal(pool.test.images, parts(data, Training(resize=recipe.resize, crop=recipe.crop), CPU).test.images)
    for seed in (0, 3):
        own = split_by(seed, pool, data)
        held = held_again(data.pool_labels, 24, seed)
        assert own.test is pool.test
        for part, which in ((own.train, ~held), (own.val, held)):
            assert part.images is pool.train.images
            assert part.labels is pool.train.labels
            assert part.index.tolist() == np.flatnonzero(which).tolist()
            assert len(part) == which.sum()
            assert part.own_labels.tolist() == data.pool_labels[which].tolist()
            chunks = list(part.chunks(20))
            assert [len(chunk) for chunk in chunks[:-1]] == [20] * (len(part) // 20)
            assert torch.equal(torch.cat(chunks), pool.train.images[torch.from_numpy(which)])


def test_what_is_no_pool_is_all_its_own():
    part = parts(make_dataset(count=70), Training(), CPU).train
    assert (len(part), part.index, part.own_labels is part.labels) == (70, None, True)
    assert [len(chunk) for chunk in part.chunks(40)] == [40, 30]


def test_a_validation_part_that_came_with_the_data_is_not_drawn_anew():
    data, recipe = replace(make_dataset(), own_val=True), Training(vary_split=True)
    with pytest.raises(UserError, match="vary_split is on, but tiny comes with a validation part"):
        split_by(0, parts(data, recipe, CPU), data)


@pytest.fixture
def mapped(tmp_path):
    """A data set mapped from its decoded images, as a worker gets it."""
    read = load(write_classes(tmp_path / "own", 20), tmp_path)
    return decoded.mapped(read.mapped, read.name)


@pytest.mark.parametrize("vary_split", [False, True])
def test_mapped_images_are_trained_on_without_a_copy(mapped, vary_split):
    found = parts(mapped, Training(vary_split=vary_split), CPU)
    lies_at = mapped.train.images.__array_interface__["data"][0]
    assert found.train.images.data_ptr() == lies_at
    assert found.val.images.data_ptr() == (lies_at if vary_split else lies_at + mapped.train.images.nbytes)
    assert len(found.train) == len(mapped.train) + vary_split * len(mapped.val)
    learned_from = (mapped.train.images, mapped.val.images) if vary_split else (mapped.train.images,)
    assert np.array_equal(found.train.images.numpy(), np.concatenate(learned_from))


def test_mapped_images_that_are_too_many_for_a_gpu_stay_on_the_disk(mapped):
    with pretended_gpu(free=0) as gpu:
        found = parts(mapped, Training(), gpu.device).train
        assert not found.images.is_cuda
        assert not found.images.is_pinned()
        assert found.images.data_ptr() == mapped.train.images.__array_interface__["data"][0]
