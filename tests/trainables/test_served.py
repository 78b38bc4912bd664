import json

import numpy as np
import pytest
import torch

from tests.conftest import make_dataset, with_several_labels
from trainables.augment import as_evaluated
from trainables.checkpoint import CheckpointError, load, pack
from trainables.config import CNN, Training, Trial
from trainables.errors import UserError
from trainables.replicate import replicate
from trainables.served import _load_pyfunc, exported
from trainables.snapshot import TRIAL, WEIGHTS
from trainables.train import train


@pytest.fixture
def folder(tmp_path):
    """Return a function that trains a trial of two seeds for an epoch and writes its checkpoint into a folder."""

    def write(data, **recipe):
        spec = Trial(
            model=CNN(conv_layers=1, channels=4, fc_layers=1), training=Training(epochs=1, batch_size=16, **recipe)
        )
        members = [replicate(spec, data, seed, torch.device("cpu")) for seed in (0, 1)]
        list(train(spec, data, members, torch.device("cpu")))
        for name, content in pack(spec, data, members).items():
            if name in (TRIAL, WEIGHTS):
                (tmp_path / name.rpartition("/")[2]).write_bytes(content)
        return tmp_path

    return write


def logits(folder, images):
    loaded = load(folder)
    pixels = as_evaluated(torch.from_numpy(images), loaded.trial.training)
    with torch.no_grad():
        return loaded.models[0](pixels.permute(0, 3, 1, 2)).double().numpy()


def test_images_go_in_and_probabilities_by_class_name_come_out(folder, tiny):
    place, images = folder(tiny), tiny.test.images[:5]
    found = _load_pyfunc(str(place)).predict(images)
    powers = np.exp(logits(place, images))
    assert list(found.columns) == ["class0", "class1", "class2"]
    np.testing.assert_allclose(found.to_numpy(), powers / powers.sum(axis=1, keepdims=True), rtol=1e-5)
    assert _load_pyfunc(str(place)).predict(images[:0]).shape == (0, 3)


@pytest.mark.parametrize("recipe", [{}, {"resize": 10}, {"resize": 14, "crop": 8}])
@pytest.mark.parametrize("several", [False, True])
def test_an_exported_program_gives_the_same_for_any_number_of_images(folder, tmp_path, recipe, several):
    data = with_several_labels(make_dataset()) if several else make_dataset()
    place = folder(data, **recipe)
    (tmp_path / "model.pt2").write_bytes(exported(load(place)))
    program = torch.export.load(tmp_path / "model.pt2").module()
    for images in (data.test.images[:1], data.test.images[:5]):
        expected = _load_pyfunc(str(place)).predict(images).to_numpy()
        with torch.no_grad():
            np.testing.assert_allclose(program(torch.from_numpy(images)).numpy(), expected, rtol=1e-4)


def test_images_are_cut_out_as_in_evaluation(folder, tiny):
    place, images = folder(tiny, crop=8), tiny.test.images[:4]
    powers = np.exp(logits(place, images))
    expected = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(_load_pyfunc(str(place)).predict(images).to_numpy(), expected, rtol=1e-5)


def test_with_several_labels_each_class_has_a_probability_of_its_own(folder):
    data = with_several_labels(make_dataset())
    place, images = folder(data), data.test.images[:4]
    found = _load_pyfunc(str(place)).predict(images).to_numpy()
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits(place, images))), rtol=1e-5)


@pytest.mark.parametrize(
    ("images", "shown"),
    [
        (np.zeros((2, 12, 12, 3)), r"float64 (2, 12, 12, 3)"),
        (np.zeros((12, 12, 3), np.uint8), r"uint8 (12, 12, 3)"),
        (np.zeros((2, 3, 12, 12), np.uint8), r"uint8 (2, 3, 12, 12)"),
    ],
)
def test_what_is_no_such_image_is_refused(folder, tiny, images, shown):
    served = _load_pyfunc(str(folder(tiny)))
    with pytest.raises(UserError) as refused:
        served.predict(images)
    assert str(refused.value) == f"images are {shown}, but must be uint8 (N, 12, 12, 3)"


def test_a_damaged_checkpoint_is_one_line(folder, tiny):
    place = folder(tiny)
    form = json.loads((place / "trial.json").read_bytes())
    (place / "trial.json").write_text(json.dumps(form | {"mean": [1.0]}))
    with pytest.raises(CheckpointError, match=r"^checkpoint/trial\.json is not whole: "):
        _load_pyfunc(str(place))
