"""Every analysis walked on a pretended GPU: nothing is mixed, and what it computes is the CPU's to the bit."""

import copy

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from analysis.evaluation import evaluation
from analysis.jobs import JOBS, make
from analysis.subject import Subject, subject
from tests.conftest import make_dataset, with_several_labels
from tests.pretended import Mixed, pretended_gpu
from trainables.checkpoint import load, pack
from trainables.config import CNN, ResNet, Training, Trial
from trainables.replicate import replicate
from trainables.train import train

CPU = torch.device("cpu")
CONVOLUTIONAL = CNN(conv_layers=2, channels=4, padding=1, batch_norm=True, fc_layers=2, fc_widths=8, fc_dropout=0.5)
SUBJECTS = {"cnn": (CONVOLUTIONAL, False), "several labels": (CONVOLUTIONAL, True), "resnet": (ResNet(), False)}
# As little as each job lets be asked of it; of all others the defaults
OPTIONS = {
    "ablation": {"fill": "mean", "each_of": "conv1", "sets": 3},
    "filters": {"top": 3, "patches": 1, "maps": 2, "untrained": 1},
    "grad_cam": {"wrong": 2},
    "neighbours": {"count": 2, "metric": "euclidean"},
    "occlusion": {"windows": (3, 5), "per_class": 1, "stride": 5},
    "saliency": {"per_class": 1},
    "tsne": {"images": 20, "perplexity": 3, "repeats": 1},
}


@pytest.fixture(scope="module")
def trained():
    """Return for each subject its checkpoint, after one epoch on the CPU, and its data."""
    made = {}
    for name, (model, several) in SUBJECTS.items():
        data = make_dataset(count=24)
        if several:
            data = with_several_labels(data)
        trial = Trial(model=model, training=Training(epochs=1, batch_size=24 if name == "resnet" else 8, crop=11))
        members = [replicate(trial, data, 0, CPU)]
        list(train(trial, data, members, CPU))
        made[name] = load(pack(trial, data, members)), data
    return made


@pytest.fixture(autouse=True)
def without_pixels(monkeypatch):
    """Let figures be composed, but not painted."""
    monkeypatch.setattr(FigureCanvasAgg, "print_png", lambda *_, **__: None)


def conducted(name, checkpoint, data, device):
    """Return the arrays that a job computes, part by part, and those of its finding."""
    options = dict(OPTIONS.get(name, {}))
    if data.multi_label or isinstance(checkpoint.trial.model, ResNet):  # not to be asked of the one, much for the other
        options.pop("each_of", None)
    [job] = make({name: options})
    subjects = [subject(checkpoint, data, title, device) for title in ("one", "other")[: 1 + job.together]]
    computed = [job.compute(each, part) for each in subjects for part in range(job.parts(each))]
    return [*computed, job.finding(subjects, computed).arrays]


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, values in found.items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


# t-SNE is slow, and sees no more of a network than the neighbours do
WALKS = [(name, of) for of in SUBJECTS for name in JOBS if (name, of) != ("tsne", "resnet")]


@pytest.mark.parametrize(("name", "of"), WALKS)
def test_an_analysis_mixes_nothing_and_computes_what_the_cpu_does(name, of, trained):
    checkpoint, data = trained[of]
    there = copy.deepcopy(checkpoint)
    expected = conducted(name, checkpoint, data, CPU)
    with pretended_gpu() as gpu:
        found = conducted(name, there, data, gpu.device)
        assert all(tensor.is_cuda for tensor in there.models[0].state_dict().values())
    assert gpu.faults == []
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("of", SUBJECTS)
def test_an_evaluation_mixes_nothing_and_computes_what_the_cpu_does(of, trained):
    checkpoint, data = trained[of]
    there = copy.deepcopy(checkpoint)
    expected = evaluation(checkpoint, data.val, "tiny", "net", CPU)
    with pretended_gpu() as gpu:
        found = evaluation(there, data.val, "tiny", "net", gpu.device)
    assert gpu.faults == []
    assert (found.text, found.tables) == (expected.text, expected.tables)


@pytest.mark.parametrize("name", ["ablation", "feature_maps", "grad_cam", "neighbours", "occlusion", "saliency"])
def test_images_that_were_left_on_the_cpu_are_found(name, trained, monkeypatch):
    checkpoint, data = copy.deepcopy(trained["cnn"])
    monkeypatch.setattr(Subject, "pixels", lambda of, index: torch.from_numpy(np.ascontiguousarray(of.images[index])))
    with pretended_gpu() as gpu, pytest.raises(Mixed):
        conducted(name, checkpoint, data, gpu.device)
