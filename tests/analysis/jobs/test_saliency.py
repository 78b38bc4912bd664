"""Input × gradient against captum, and on a linear network, where it is known by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient

from analysis.jobs.saliency import Saliency, input_times_gradient
from tests.analysis.jobs.test_grad_cam import network, pictures, subject
from trainables.config import CNN, ResNet
from trainables.errors import UserError

TARGETS = torch.tensor([0, 1, 2, 0, 1])
LINEAR = CNN(conv_layers=0, fc_layers=1)


@pytest.mark.parametrize("config", [CNN(conv_layers=2, channels=(4, 6), activation="gelu", fc_widths=8), ResNet(18)])
def test_it_is_captum_s(config):
    model, images = network(config), torch.from_numpy(pictures(5))
    x = images.permute(0, 3, 1, 2).float() / 255
    expected = InputXGradient(model).attribute(x.requires_grad_(), target=TARGETS).sum(1)
    np.testing.assert_allclose(
        input_times_gradient(model, images, TARGETS).numpy(), expected.detach().numpy(), rtol=1e-4, atol=1e-6
    )
    assert all(parameter.grad is None for parameter in model.parameters())


def test_of_a_linear_network_it_is_weight_times_pixel():
    of = subject(np.array([0, 1, 2]), LINEAR)
    maps = input_times_gradient(of.model, torch.from_numpy(of.images), torch.tensor([2, 0, 1])).numpy()
    weights = (of.model.state_dict()["head.weight"] / of.model.normalize.sd.expand(3, 20, 20).reshape(-1)).numpy()
    for values, image, label in zip(maps, of.images, (2, 0, 1), strict=True):
        expected = (weights[label].reshape(3, 20, 20) * (image.transpose(2, 0, 1) / 255)).sum(0)
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-6)


def right_twice():
    """Return a subject that classifies four images right, two of them of one class, and the last two wrongly."""
    of = subject(np.zeros(6, int))
    predicted = of.predicted
    return replace(of, labels=np.where(np.arange(6) < 4, predicted, (predicted + 1) % 3)), predicted


def test_the_first_right_ones_of_each_class_are_taken():
    of, predicted = right_twice()
    arrays = Saliency(per_class=1).compute(of, 0)
    first = [int(np.flatnonzero(predicted[:4] == label)[0]) for label in sorted(set(predicted[:4].tolist()))]
    assert arrays["images"].tolist() == first
    assert arrays["targets"].tolist() == predicted[first].tolist()
    assert len(Saliency(per_class=9).compute(of, 0)["images"]) == 4


def test_the_object_s_share_is_that_of_absolute_values():
    of, _ = right_twice()
    masks = np.zeros((6, 20, 20), bool)
    masks[:, :10] = True
    of = replace(of, masks=masks)
    arrays = Saliency(per_class=9).compute(of, 0)
    finding = Saliency(per_class=9).finding([of], [arrays])
    sizes = np.abs(arrays["maps"].astype(float))
    share = 100 * (sizes[:, :10].sum((1, 2)) / sizes.sum((1, 2))).mean()
    assert f"{share:.1f} % are on the object, which covers 50.0 % of the image" in finding.text[1]
    positive = arrays["maps"][0][arrays["maps"][0] > 0].sum(dtype=float)
    assert finding.tables["saliency"].rows[0][2] == pytest.approx(positive)
    assert finding.files() == Saliency(per_class=9).finding([of], [arrays]).files()


def test_what_cannot_be_done_is_said():
    of = subject(np.zeros(6, int))
    wrong = replace(of, labels=(of.predicted + 1) % 3)
    with pytest.raises(UserError, match=r"^net classifies no image correctly \(noise\): there is nothing to draw$"):
        Saliency().parts(wrong)
    with pytest.raises(UserError, match=r"^per_class is 0, but must be a whole number of at least 1$"):
        Saliency(per_class=0)


def test_the_heading_counts_the_images_that_speak_for_their_class():
    of, _ = right_twice()
    job = Saliency(per_class=9)
    arrays = job.compute(of, 0)
    arrays["maps"] = np.stack([np.full((20, 20), value, np.float32) for value in (1, -1, 0.5, -0.1)])
    found = job.finding([of], [arrays])
    assert found.title == "Saliency: in 2 of 4 images the pixels speak more for their class than against it"
    assert found.tables["saliency"].folded
