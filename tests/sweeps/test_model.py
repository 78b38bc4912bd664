"""A model that predicts on images of one's own, and is asked about them; against the network itself."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from sweeps.model import Model, Prediction
from tests.conftest import make_dataset, with_several_labels
from tests.sweeps.finished import TRIAL, trained
from trainables.checkpoint import load
from trainables.errors import UserError
from trainables.train import predict


@pytest.fixture(scope="module")
def kept(tiny):
    files, networks = trained(tiny)
    return load(files), networks


@pytest.fixture(scope="module")
def model(kept):
    return Model.of("net", "0" * 32, kept[0])


@pytest.fixture(scope="module")
def several():
    return Model.of("net", "0" * 32, load(trained(with_several_labels(make_dataset()), (0,))[0]))


def test_what_it_predicts_is_what_the_network_says(model, kept, tiny):
    images = tiny.test.images
    expected = predict(kept[1][0], torch.from_numpy(images)).softmax(1).numpy()
    found = model.predict(images)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)
    assert found.names == [tiny.class_names[label] for label in expected.argmax(1)]
    assert (len(found), found.class_names, found.probabilities.dtype) == (30, tiny.class_names, np.float32)
    assert (expected.argmax(1) == tiny.test.labels).mean() > 0.6


def test_a_file_a_picture_and_a_tensor_are_the_same_image(model, tiny, tmp_path):
    image = tiny.test.images[0]
    Image.fromarray(image).save(tmp_path / "one.png")
    expected = model.predict(image).probabilities
    for what in (tmp_path / "one.png", Image.fromarray(image), torch.from_numpy(image), image / 255):
        np.testing.assert_array_equal(model.predict(what).probabilities, expected)
    with pytest.raises(UserError, match=r"^3 is a int, but wanted is an image file"):
        model.predict(3)


def test_images_are_cut_out_as_in_evaluation(tiny):
    trial = replace(TRIAL, training=replace(TRIAL.training, crop=6))
    files, [network] = trained(tiny, (0,), trial)
    found = Model.of("net", "", load(files)).predict(tiny.test.images)
    expected = predict(network, torch.from_numpy(tiny.test.images[:, 3:9, 3:9].copy())).softmax(1).numpy()
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)


def test_any_seed_can_be_asked(kept, tiny):
    second = Model.of("net", "", kept[0], seed=3)
    expected = predict(kept[1][1], torch.from_numpy(tiny.test.images)).softmax(1).numpy()
    np.testing.assert_allclose(second.predict(tiny.test.images).probabilities, expected, atol=1e-6)
    assert (second.seed, Model.of("net", "", kept[0]).seed) == (3, 0)
    assert repr(second) == "net: 3 classes, images of 12×12, seed 3"
    with pytest.raises(UserError, match=r"^net was not trained with seed 1, but with 0, 3$"):
        Model.of("net", "", kept[0], seed=1)


def test_with_several_labels_each_class_has_a_probability_of_its_own(several, tiny):
    logits = predict(several.network, torch.from_numpy(tiny.test.images))
    np.testing.assert_allclose(several.predict(tiny.test.images).probabilities, logits.sigmoid().numpy(), atol=1e-6)


def test_a_prediction_is_written_as_the_first_classes_of_each_image():
    found = Prediction(("a", "b", "c", "d"), np.array([[0.1, 0.2, 0.05, 0.65], [1, 0, 0, 0]], np.float32))
    assert repr(found) == "d 65.0 %, b 20.0 %, a 10.0 %\na 100.0 %, b 0.0 %, c 0.0 %"
    assert found.names == ["d", "a"]


def test_an_analysis_is_of_the_images_given(model, tiny):
    names = [tiny.class_names[label] for label in tiny.test.labels]
    by_name = model.analyse("mistakes", tiny.test.images, names)
    by_number = model.analyse("mistakes", list(tiny.test.images), tiny.test.labels)
    assert by_name.files() == by_number.files()
    assert by_name.figures
    assert "your own images" in " ".join(by_name.text)


def test_an_analysis_in_parts_is_put_together(model, tiny):
    found = model.analyse("occlusion", tiny.test.images, tiny.test.labels, windows=(3,), per_class=1)
    assert found.job == "occlusion"
    assert found.tables
    assert found.figures


def test_labels_are_read_per_image(model, several):
    assert model._labels("class1", 1).tolist() == [1]
    assert model._labels(np.array([2, 0]), 2).tolist() == [2, 0]
    assert several._labels([["class0", 2], [], "class1"], 3).tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize(
    ("job", "labels", "options", "message"),
    [
        ("occlusoin", [0], {}, "there is no analysis 'occlusoin'; did you mean 'occlusion'?"),
        ("occlusion", [0], {"window": 3}, "analysis occlusion has no option 'window'; did you mean 'windows'?"),
        ("mistakes", [0, 1], {}, "there are 2 labels, but 1 images"),
        ("mistakes", ["class9"], {}, "net knows no class 'class9'; did you mean 'class2'?"),
        ("mistakes", [3], {}, "a label is 3, but must be a class's name, or its number from 0 to 2"),
        ("mistakes", [-1], {}, "a label is -1, but must be a class's name, or its number from 0 to 2"),
        ("mistakes", [0.5], {}, "a label is 0.5, but must be a class's name, or its number from 0 to 2"),
        ("mistakes", [None], {}, "a label is None, but must be a class's name, or its number from 0 to 2"),
    ],
)
def test_a_wrong_question_is_answered_in_one_line(model, tiny, job, labels, options, message):
    with pytest.raises(UserError) as caught:
        model.analyse(job, tiny.test.images[0], labels, **options)
    assert str(caught.value).partition("; did")[0] == message.partition("; did")[0]
