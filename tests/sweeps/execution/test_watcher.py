import io

import numpy as np
import torch
from PIL import Image

from sweeps.execution.watcher import IMAGES, Watcher
from sweeps.study import Watch
from trainables.config import CNN
from trainables.models import build

NETWORK = build(CNN(conv_layers=1, channels=4, fc_layers=1), (3, 12, 12), 3, (0.5,) * 3, (0.25,) * 3)
BATCH = torch.zeros(IMAGES + 4, 12, 12, 3, dtype=torch.uint8)


def seen(watcher, *progress):
    """What is taken where training looks at the moments at which something is due."""
    for at in progress:
        if watcher.due(at):
            watcher.look(at, NETWORK, BATCH)
    return [(kind, at) for kind, at, _ in watcher.taken]


def test_each_moment_is_taken_at_the_first_step_that_reaches_it():
    watcher = Watcher(Watch(filters=(0.5, 1), images=(0,)), done=0)
    assert [watcher.due(at) for at in (0, 0.25)] == [True, True]
    assert seen(watcher, 0, 0.25, 0.6, 0.75, 1.25) == [("images", 0), ("filters", 0.6), ("filters", 1.25)]
    assert not watcher.due(9)


def test_moments_between_two_steps_are_one():
    assert seen(Watcher(Watch(filters=(0.1, 0.2, 0.3)), done=0), 0, 0.25, 0.5) == [("filters", 0.25), ("filters", 0.5)]


def test_what_an_earlier_run_has_drawn_is_not_due_again():
    assert seen(Watcher(Watch(filters=(0.5, 1, 2.5)), done=2), 2, 2.5) == [("filters", 2.5)]
    assert seen(Watcher(Watch(images=(2,)), done=2), 2) == [("images", 2)]  # the moment that training goes on at


def test_what_is_taken_is_a_copy():
    watcher = Watcher(Watch(filters=(0,), images=(0,)), done=0)
    seen(watcher, 0)
    before = {kind: array.copy() for kind, _, array in watcher.taken}
    assert before["images"].shape == (IMAGES, 12, 12, 3)
    assert np.array_equal(before["filters"], NETWORK.first_convolution.weight.detach().numpy())
    with torch.no_grad():
        NETWORK.first_convolution.weight.add_(1)
        BATCH.add_(1)
    try:
        for kind, _, array in watcher.taken:
            assert np.array_equal(array, before[kind])
    finally:
        with torch.no_grad():
            NETWORK.first_convolution.weight.sub_(1)
            BATCH.sub_(1)


def test_figures_are_drawn_once_and_named_after_kind_and_moment():
    watcher = Watcher(Watch(filters=(0.5,), images=(0,)), done=0)
    seen(watcher, 0, 0.5)
    files = watcher.drawn("lr: 0.1", "shapes")
    assert sorted(files) == ["training/filters-epoch-000.50.png", "training/images-epoch-000.00.png"]
    for png in files.values():
        assert Image.open(io.BytesIO(png)).format == "PNG"
    assert watcher.drawn("lr: 0.1", "shapes") == {}


def test_a_network_without_convolutions_has_no_filters_to_draw():
    flat = build(CNN(conv_layers=0, fc_layers=1), (3, 12, 12), 3, (0.5,) * 3, (0.25,) * 3)
    watcher = Watcher(Watch(filters=(0,)), done=0)
    watcher.look(0, flat, BATCH)
    assert watcher.taken == []
    assert watcher.moments["filters"] == []
