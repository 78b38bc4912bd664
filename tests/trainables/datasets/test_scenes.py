"""Scenes are four drawn objects each, and show the classes of these and no others."""

from pathlib import Path

import numpy as np

from trainables.datasets import load, scenes, shapes
from trainables.datasets.shapes import CLASS_NAMES


def test_a_scene_is_four_objects_row_by_row_with_their_labels():
    objects, split = shapes.draw(12, seed=9), scenes.draw(3, seed=9)
    assert (split.images.shape, split.images.dtype) == ((3, 64, 64, 3), np.uint8)
    assert (split.labels.shape, split.labels.dtype) == ((3, 10), np.int8)
    assert split.images.flags.c_contiguous
    for scene in range(3):
        four = objects.images[4 * scene : 4 * scene + 4]
        assert np.array_equal(split.images[scene, :32, :32], four[0])
        assert np.array_equal(split.images[scene, :32, 32:], four[1])
        assert np.array_equal(split.images[scene, 32:, :32], four[2])
        assert np.array_equal(split.images[scene, 32:, 32:], four[3])
        assert set(np.flatnonzero(split.labels[scene])) == set(objects.labels[4 * scene : 4 * scene + 4])
        assert set(split.labels[scene]) <= {0, 1}


def test_the_data_set():
    data = load("scenes", Path())
    assert [len(part) for part in (data.train, data.val, data.test)] == [
        902,
        98,
        250,
    ]  # a tenth of each class, as near as they overlap
    assert (data.multi_label, data.metric, data.class_names) == (True, "mAP", CLASS_NAMES)
    assert data.image_shape == (3, 64, 64)
