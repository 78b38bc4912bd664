"""The door: names, shapes, splits, and labelled images to score a model on."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.trainables.datasets.builders import refusal, same, scoring_refusal, write_classes
from trainables import datasets
from trainables.datasets import Split, image_shape, load
from trainables.datasets.catalogue import CATALOGUE
from trainables.errors import UserError

GOLDEN = {
    "shapes": "8faeb2b09550b9b1119dd7e018528ad85aa670098237a1fe5245831eb7fe182a",
    "scenes": "6fa486eb49a245ae67a48c3d48a077c587722c57e372605792fa3cc687de9186",
    "fashion_mnist": "04e72f5157cb67a21548c4ef9e0a40e7f00029bea5121234406780daf7a76fd4",
    "cifar10": "bebfdc4eb0042f1a97ab7cc538e1aca2bea3b3f69bc25757c91034ebf031cf08",
}


def test_the_embedded_data_set_has_masks_in_every_part(drawn):
    assert [len(part) for part in (drawn.train, drawn.val, drawn.test)] == [4500, 500, 1000]
    assert all(part.masks.shape == part.images.shape[:3] for part in (drawn.train, drawn.val, drawn.test))


def test_the_validation_split_is_by_class_and_always_the_same(drawn):
    assert np.bincount(drawn.val.labels).tolist() == [50] * 10
    assert same(drawn, load("shapes", Path()))
    assert np.bincount(load("shapes", Path(), validation=0.2).val.labels).tolist() == [100] * 10


@pytest.mark.parametrize("name", ["cifar10", "fashion_mnist", "shapes"])
def test_the_shape_is_known_without_the_data(name, tmp_path):
    shape, classes = image_shape(name, tmp_path / "nowhere")
    assert (shape, classes) == (((1, 28, 28) if name == "fashion_mnist" else (3, 32, 32)), 10)


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path):
    assert "did you mean 'cifar10'?" in refusal("cifar-10", tmp_path)
    with pytest.raises(UserError, match="did you mean 'shapes'"):
        image_shape("shape", tmp_path)
    named = datasets.names()
    assert named[:5] == ["cifar10", "fashion_mnist", "shapes", "scenes", "voc2007"]
    assert named[5:] == [*CATALOGUE, "folder:PATH"]


@pytest.mark.parametrize("validation", [0, 1, -0.1])
def test_a_share_that_is_none_is_refused(tmp_path, validation):
    assert f"validation={validation}" in refusal("shapes", tmp_path, validation=validation)


def test_importing_loads_neither_torch_nor_torchvision():
    code = "import sys, trainables.datasets; sys.exit('torch' in sys.modules or 'torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[3]).returncode == 0


def test_folders_have_one_class_an_image(tmp_path):
    message = scoring_refusal(write_classes(tmp_path, 1), multi_label=True)
    assert "has one class per image, but the model was trained on data with any number of classes per image" in message


def test_a_named_data_set_is_scored_on_its_test_part(drawn):
    classes = tuple(reversed(drawn.class_names))
    split = datasets.labelled("shapes", Path(), classes, (3, 32, 32), False)
    assert np.array_equal(split.images, drawn.test.images)
    assert np.array_equal(split.masks, drawn.test.masks)
    assert np.array_equal(split.labels, 9 - drawn.test.labels)


def test_a_named_data_set_must_have_the_model_s_shape_and_classes():
    assert "shapes: its images are 3×32×32, but the model takes 1×28×28" in scoring_refusal("shapes", shape=(1, 28, 28))
    assert "shapes: the model knows no class 'disc'; known: bird, cat, dog" in scoring_refusal(
        "shapes", shape=(3, 32, 32)
    )
    assert "did you mean 'shapes'" in scoring_refusal("shape")


def test_a_part_of_a_known_data_set_says_so(monkeypatch):
    whole = datasets.SOURCES["shapes"]
    monkeypatch.setitem(datasets.SOURCES, "shapes", replace(whole, counts=(5000, 1000)))
    assert load("shapes", Path()).name == "shapes"
    monkeypatch.setitem(datasets.SOURCES, "shapes", replace(whole, counts=(5001, 1000)))
    assert load("shapes", Path()).name == "shapes (a part: 5,000 + 1,000 images)"


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_the_digest_stays(name, request):
    """Stored trials are found by it."""
    folder = Path() if name in ("shapes", "scenes") else request.getfixturevalue("real_data")
    assert load(name, folder).digest == GOLDEN[name]


@pytest.mark.parametrize("name", ["shapes", "scenes"])
def test_how_many_images_there_are_is_known_before_they_are_read(name, tmp_path):
    found = datasets.find(name, tmp_path / "nowhere", validation=0.2)
    data = found.load()
    assert found.counts == pytest.approx(tuple(map(len, (data.train, data.val, data.test))), abs=5)  # each class rounds


def test_of_a_folder_too(tmp_path):
    found = datasets.find(write_classes(tmp_path, 13), tmp_path)
    data = found.load()
    assert found.counts == tuple(map(len, (data.train, data.val, data.test))) == (18, 2, 6)


def test_images_that_lie_in_a_row_are_joined_without_a_copy():
    images = np.arange(10 * 12, dtype=np.uint8).reshape(10, 2, 2, 3)
    labels = np.arange(10)

    def pooled(first, second):
        parts = [Split(images[first], labels[first]), Split(images[second], labels[second])]
        return replace(load("shapes", Path()), train=parts[0], val=parts[1]).pool

    whole = pooled(slice(2, 5), slice(5, 9))
    assert np.array_equal(whole.images, images[2:9])
    assert np.shares_memory(whole.images, images)
    assert not whole.images.flags.writeable
    assert whole.labels.tolist() == [*range(2, 9)]
    for first, second in ((slice(2, 5), slice(6, 9)), (slice(5, 9), slice(2, 5)), ([2, 3], [4])):
        apart = pooled(first, second)
        assert np.array_equal(apart.images, np.concatenate((images[first], images[second])))
        assert not np.shares_memory(apart.images, images)
