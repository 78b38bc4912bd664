"""Which images all networks recognise."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.maps.recognised import SCAN, first_right, of_class, recognised, right_images
from tests.analysis.jobs.test_occlusion import make_subject, with_seeds


def test_probability_and_prediction_by_softmax_or_by_sigmoid():
    logits = torch.tensor([[0.0, 0.0, -9.0], [2.0, 1.0, 0.0], [-1.0, 3.0, 0.0]])
    probability, kept = recognised(make_subject(), logits, 1)
    np.testing.assert_allclose(probability, logits.softmax(1)[:, 1], rtol=1e-6)
    assert kept.tolist() == [False, False, True]
    several = make_subject(labels=np.zeros((30, 3), np.int8))
    probability, kept = recognised(several, logits, 1)
    np.testing.assert_allclose(probability, logits.sigmoid()[:, 1], rtol=1e-6)
    assert kept.tolist() == [True, True, True]


@pytest.mark.parametrize("count", [1, 2, 5, 400])
def test_the_first_images_that_every_network_has_right(count):
    subject = with_seeds(make_subject(count=400), 2)
    all_right = np.all([network.predicted == 1 for network in subject.replicates], axis=0)
    expected = np.flatnonzero(all_right & (subject.labels == 1))
    assert SCAN < len(expected) < (subject.labels == 1).sum()
    found = first_right(subject.replicates, of_class(subject, 1), 1, count)
    assert found.tolist() == expected[:count].tolist()
    assert first_right((), of_class(subject, 1), 1, 3).tolist() == np.flatnonzero(subject.labels == 1)[:3].tolist()


def test_no_more_is_classified_than_is_needed(monkeypatch):
    subject = make_subject(count=400)
    asked = []
    monkeypatch.setattr(type(subject), "pixels", lambda self, index: asked.append(len(index)) or _pixels(self, index))
    _pixels = lambda self, index: torch.from_numpy(self.images[index])  # noqa: E731
    first_right((subject,), of_class(subject, 0), 0, 2)
    assert asked == [2 * SCAN]


def test_multi_label_images_of_a_class_are_those_that_have_it_for_certain():
    labels = np.array([[1, 0, -1], [0, 1, 1], [1, -1, 0]] * 10, np.int8)
    several = make_subject(labels=labels)
    assert of_class(several, 0).tolist() == [at for at in range(30) if at % 3 != 1]
    assert right_images(several) == "that have it with a probability of at least 0.5"
    subject = with_seeds(make_subject(), 3)
    assert right_images(subject) == "that are classified right, by the networks of all 3 seeds"
    assert right_images(replace(subject, others=())) == "that are classified right"
