from dataclasses import replace

import numpy as np
import pytest

from sweeps.decisions.agenda import Agenda
from sweeps.reporting.material import SAMPLES, DataSummary, percent, seconds
from sweeps.study import Choice, Search, Space, Stage
from tests.conftest import with_several_labels
from tests.sweeps.outcomes import outcome
from tests.sweeps.reporting.materials import SCORES, STUDY, TERMS, material, over, seen
from trainables.datasets import Split
from trainables.history import History


def test_a_summary_counts_the_images(tiny):
    assert DataSummary.of(tiny) == DataSummary("tiny", ("class0", "class1", "class2"), 96, 24, 30, multi_label=False)
    named = replace(tiny, name="folder:/home/me/cats")
    assert DataSummary.of(named).name == "folder:cats"


def test_a_summary_has_the_first_training_images_of_each_class(tiny):
    samples = DataSummary.of(tiny).samples
    assert [name for name, _ in samples] == [name for name in tiny.class_names for _ in range(SAMPLES)]
    for label in range(3):
        first = tiny.train.images[tiny.train.labels == label][:SAMPLES]
        assert np.array_equal(np.stack([image for _, image in samples[SAMPLES * label :][:SAMPLES]]), first)
    several = with_several_labels(tiny)
    name, image = DataSummary.of(several).samples[0]
    assert name == "class0"
    assert np.array_equal(image, several.train.images[np.flatnonzero(several.train.labels[:, 0] == 1)[0]])


def test_a_sample_of_a_large_image_is_its_blocks_means(tiny):
    image = np.arange(2 * 201 * 150 * 3).reshape(2, 201, 150, 3).astype(np.uint8)
    labels = tiny.train.labels[:2]
    [_, sample], *_ = DataSummary.of(replace(tiny, train=Split(image, labels))).samples
    first = image[np.flatnonzero(labels == labels.min())[0]]
    assert sample.shape == (67, 50, 3)  # three by three pixels in one
    assert np.array_equal(sample[1, 2], np.round(first[3:6, 6:9].mean(axis=(0, 1))))


def test_the_best_is_the_best_winner_and_the_way_to_it_is_in_words():
    found = material()
    assert found.best.cell.named == "channels = 6"
    assert found.way(found.best) == "conv_layers = 3 and channels = 6"
    first = found.results[0].winner.outcome
    assert found.way(first) == "conv_layers = 3"
    assert material(over(())).best is None


def test_the_way_through_a_search_tells_what_it_drew():
    space = Space({"model.conv_layers": Choice((1, 2)), "model.channels": Choice((4,))})
    find = Search("find", space, trials=2, sampler="grid", rule="none", confirm=1, seeds=3)
    study = replace(STUDY, stages=(find, Stage("fc", {"model.fc_layers": (1, 2)})))
    agenda = Agenda(study, replace(TERMS, seeds=(0,)), lambda _: None)
    for number, score in enumerate((0.5, 0.7, 0.8)):
        records = seen(score, number).records
        whole = History({seed: records[seed % 3] for seed in range(4)})  # the seeds that confirm are there at once
        agenda.finish(agenda.next().key, whole)
        agenda.advance()
    found = material(agenda)
    assert found.way(found.best) == "trial #1 (conv_layers = 2, channels = 4) and fc_layers = 2"


def test_a_trial_of_two_stages_has_ended_once():
    assert material().ended == 4
    assert sum(len(result.outcomes) for result in material().results) == 5


def test_open_stages_come_after_those_decided_and_trials_keep_their_looks():
    agenda = over(SCORES[:3])
    found = material(agenda)
    assert [(each.stage.name, found.decided(each)) for each in found.results] == [("depth", True), ("width", False)]
    assert found.looks.items() <= material().looks.items()
    assert len(set(material().looks.values())) == 4


@pytest.mark.parametrize(("replicates", "words"), [(1, "50.0 % (1 seed)"), (2, "50.0 ± 0.0 % (2 seeds)")])
def test_a_score_is_in_percent_with_its_spread_and_its_seeds(replicates, words):
    assert percent(outcome("a", *[[0.7]] * replicates), "test_score") == words


def test_seconds_are_of_a_seed():
    assert seconds(outcome("a", [0.5, 0.6], [0.5, 0.6])) == 2.0
    assert seconds(outcome("a", status="failed")) is None
    assert seen(0.5, 0).epochs == 1
