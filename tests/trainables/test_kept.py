from dataclasses import replace

import torch

from tests.conftest import make_dataset
from trainables.config import Training
from trainables.kept import Kept

CPU = torch.device("cpu")


def test_images_stay_on_the_device_until_others_are_wanted(tiny):
    kept, recipe = Kept(), Training(crop=8)
    first = kept.parts(tiny, recipe, CPU)
    assert kept.parts(tiny, replace(recipe, lr=0.1, flip=True), CPU) is first
    assert kept.parts(tiny, replace(recipe, crop=10), CPU).val.images.shape[1:] == (10, 10, 3)
    again = kept.parts(tiny, recipe, CPU)
    assert again is not first
    other = make_dataset(count=24)
    assert len(kept.parts(other, recipe, CPU).train.labels) == 24
    kept.clear()
    assert kept.parts(other, recipe, CPU).train.images.shape == (24, 12, 12, 3)
