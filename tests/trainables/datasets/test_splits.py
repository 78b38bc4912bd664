"""What is held back: so much of each class, at random, and always the same."""

import numpy as np
import pytest

from trainables.datasets import Split
from trainables.datasets.splits import held_again, hold_back
from trainables.errors import UserError


def held_back(labels: np.ndarray, share: float = 0.1) -> tuple[Split, Split]:
    images = np.arange(len(labels), dtype=np.uint32).view(np.uint8).reshape(-1, 1, 1, 4)  # each image its own number
    names = tuple(f"class{n}" for n in range(labels.shape[1]))
    return hold_back(Split(images, labels), share, names, "here")


def many_labels(count: int = 5000, seed: int = 0) -> np.ndarray:
    """20 classes as unevenly frequent as VOC's: 2 % to 40 % of the images, 5 % of the others unknown."""
    rng = np.random.default_rng(seed)
    chance = rng.random((count, 20))
    frequency = np.geomspace(0.02, 0.4, 20)
    return np.where(chance < frequency, 1, np.where(chance > 0.95, -1, 0)).astype(np.int8)


def test_multi_label_data_holds_back_the_share_of_every_class_and_of_none():
    labels = many_labels()
    labels[:300] = 0
    kept, held = held_back(labels)
    present, all_ = held.labels == 1, labels == 1
    assert present.sum(axis=0) == pytest.approx(0.1 * all_.sum(axis=0), rel=0.1, abs=1)
    assert (~present.any(axis=1)).sum() == pytest.approx(0.1 * (~all_.any(axis=1)).sum(), abs=1)
    assert len(held) == pytest.approx(500, rel=0.05)
    numbers = np.concatenate([part.images.reshape(-1, 4).view(np.uint32).ravel() for part in (kept, held)])
    assert np.array_equal(np.sort(numbers), np.arange(5000))  # each image in one part
    assert np.array_equal(held_back(labels)[1].images, held.images)  # always the same


def test_a_class_s_only_image_is_kept_and_of_two_one_is_held_back():
    for seed in range(20):
        labels = np.zeros((100, 4), np.int8)
        rng = np.random.default_rng(seed)
        labels[:, 0] = rng.random(100) < 0.9
        labels[rng.integers(100), 1] = 1
        labels[rng.permutation(100)[:2], 2] = 1  # and none at all in class 3
        kept, held = held_back(labels, 0.5)
        assert (held.labels == 1).sum(axis=0)[1:].tolist() == [0, 1, 0]
        assert (kept.labels == 1).sum(axis=0)[1:].tolist() == [1, 1, 0]


def test_multi_label_data_too_small_to_share_out_is_refused():
    with pytest.raises(UserError, match="here: no class has two images"):
        held_back(np.eye(3, dtype=np.int8))


def test_each_class_gives_its_share_rounded_half_up_and_at_least_one():
    labels = np.repeat([0, 1, 2], [25, 24, 2])  # a tenth: 2.5, 2.4 and 0.2
    split = Split(np.arange(51, dtype=np.uint8).reshape(51, 1, 1, 1), labels)
    kept, held = hold_back(split, 0.1, ("a", "b", "c"), "here")
    assert np.bincount(held.labels).tolist() == [3, 2, 1]
    assert np.bincount(kept.labels).tolist() == [22, 22, 1]
    numbers = [part.images.ravel() for part in (kept, held)]
    assert np.array_equal(np.sort(np.concatenate(numbers)), np.arange(51))
    assert all(np.array_equal(part, np.sort(part)) for part in numbers)  # in their old order
    assert all(np.array_equal(part.labels, labels[number]) for part, number in zip((kept, held), numbers, strict=True))


def test_these_very_images_are_held_back():
    """Every stored score was measured on them: another split is another data set."""
    labels = np.tile(np.arange(10), 50)
    split = Split(np.arange(500, dtype=np.uint16).view(np.uint8).reshape(500, 1, 1, 2), labels)
    held = hold_back(split, 0.1, tuple("abcdefghij"), "here")[1].images.ravel().view(np.uint16)
    assert held.tolist()[:5] == [2, 6, 12, 16, 17]
    several = held_back(many_labels(200))[1].images.reshape(-1, 4).view(np.uint32).ravel()
    assert several.tolist()[:5] == [6, 21, 26, 27, 28]


def test_a_class_too_small_to_split_is_named():
    split = Split(np.zeros((3, 1, 1, 1), np.uint8), np.array([0, 0, 1]))
    with pytest.raises(UserError, match=r"^here: class 'b' has 1 image, too few to hold back 1 and keep one"):
        hold_back(split, 0.5, ("a", "b"), "here")


def test_masks_and_boxes_go_with_their_images():
    number = np.arange(20)
    boxes = tuple(((n,),) for n in number)
    split = Split(number.astype(np.uint8).reshape(20, 1, 1, 1), number % 2, (number % 3 == 0).reshape(20, 1, 1), boxes)
    for part in hold_back(split, 0.3, ("a", "b"), "here"):
        images = part.images.ravel()
        assert np.array_equal(part.masks.ravel(), images % 3 == 0)
        assert [each[0][0] for each in part.boxes] == images.tolist()


def parts_again(labels: np.ndarray, size: int, seeds: range) -> list[np.ndarray]:
    """Return which images each seed holds back, checked: as many as `size`, and always the same."""
    held = [held_again(labels, size, seed) for seed in seeds]
    assert all(each.dtype == bool and each.shape == (len(labels),) and each.sum() == size for each in held)
    assert all(np.array_equal(each, held_again(labels, size, seed)) for each, seed in zip(held, seeds, strict=True))
    return held


def test_each_seed_holds_back_as_many_of_each_class_as_the_data_set_does():
    labels = np.concatenate((np.repeat([0, 1, 2], [90, 50, 4]), np.repeat([0, 1, 2], [10, 5, 1])))
    held = parts_again(labels, 16, range(20))
    assert all(np.bincount(labels[each]).tolist() == [10, 5, 1] for each in held)
    assert len({each.tobytes() for each in held}) == 20
    assert not any(each[-16:].all() for each in held)  # the data set's own is none of them
    often = np.mean([held_again(labels, 16, seed) for seed in range(400)], axis=0)
    assert often[labels == 1] == pytest.approx(5 / 55, abs=0.06)  # each image has the same chance: sd 0.014


def test_each_seed_holds_back_many_labels_as_near_as_their_overlap_allows():
    kept, own = held_back(many_labels())
    labels = np.concatenate((kept.labels, own.labels))
    wanted = (own.labels == 1).sum(axis=0)
    held = parts_again(labels, len(own), range(5))
    for each in held:
        assert (labels[each] == 1).sum(axis=0) == pytest.approx(wanted, rel=0.1, abs=2)
        assert ((labels[~each] == 1).sum(axis=0) > 0).all()
        assert (labels[each] == 1).sum(axis=0)[:4].tolist() == wanted[:4].tolist()  # the rarest exactly
    assert len({each.tobytes() for each in held}) == 5


@pytest.mark.parametrize("size", [1, 20, 60])
def test_whatever_the_overlap_the_size_is_the_data_set_s(size):
    for seed in range(20):
        labels = (np.random.default_rng(seed).random((100, 5)) < [0.9, 0.8, 0.5, 0.1, 0.02]).astype(np.int8)
        parts_again(labels, size, range(3))


def test_these_very_images_are_held_back_by_a_seed():
    """Stored trials were trained without them, and are gone on with."""
    assert np.flatnonzero(held_again(np.tile(np.arange(10), 50), 50, 0))[:5].tolist() == [0, 10, 29, 51, 58]
    assert np.flatnonzero(held_again(many_labels(200), 20, 7))[:5].tolist() == [11, 24, 30, 53, 54]
