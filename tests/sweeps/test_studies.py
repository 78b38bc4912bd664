"""The shipped studies: what they run, the published sizes of their networks, and that each can be run."""

from importlib import import_module
from pathlib import Path

import pytest

from sweeps import blocks, part_a, search, simple_cnn, voc, wide_cnn
from sweeps.decisions.planning import distinct, plan_study
from trainables.datasets import image_shape

STUDY = part_a.STUDY
FILES = sorted(Path(part_a.__file__).parent.glob("*.py"))
STUDIES = [import_module(f"sweeps.{file.stem}").STUDY for file in FILES if "\nSTUDY = Study(" in file.read_text()]


def test_part_a_is_what_the_report_ran():
    rows = {stage.name: [cell.label for cell in stage.cells(STUDY.baseline)] for stage in STUDY.stages}
    assert rows == {
        "conv_layers": ["0", "1", "2", "3", "4"],
        "fc_layers": ["1", "2", "3", "4"],
        "channels": ["6-12-20", "16-32-64", "32-64-256"],
        "pooling": ["max", "none"],
        "epochs": ["as it starts"],
        "stride": ["1", "2", "4", "6"],
    }
    parents = {stage.name: STUDY.parent(stage) for stage in STUDY.stages}
    assert parents == {
        "conv_layers": None,
        "fc_layers": "conv_layers",
        "channels": "fc_layers",
        "pooling": "conv_layers",
        "epochs": "channels",
        "stride": None,
    }
    assert all(cell.published for stage in STUDY.stages for cell in stage.cells(STUDY.base(stage)))


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_every_study_can_be_run_on_its_own_data_and_quickly_on_the_embedded(study, tmp_path):
    for version in (study, study.changed(study.quick).starting_from(None)):
        planned = plan_study(version, *image_shape(version.baseline.dataset, tmp_path))
        assert [entry.stage.name for entry in planned] == [stage.name for stage in study.stages]
    assert image_shape(study.quick["dataset"], tmp_path)  # needs no data folder
    assert version.without_published() == version


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_every_study_and_every_stage_asks_a_question(study):
    assert all(each.question.endswith("?") for each in (study, *study.stages))


def layers(study, stage=0, cell=0):
    """The layers of a planned trial, without batch norm."""
    planned = plan_study(study, *image_shape(study.baseline.dataset, Path()))
    return {layer.name: layer for layer in planned[stage].cells[cell][1] if "norm" not in layer.name}


def test_simple_cnn_has_the_published_parameters():
    found = {name: layer.parameters for name, layer in layers(simple_cnn.STUDY).items() if layer.parameters}
    assert found == {"conv1": 832, "conv2": 51_264, "fc1": 401_536, "fc2": 1_290}
    assert sum(found.values()) == 454_922


def test_the_wide_cnn_has_the_published_maps():
    found = layers(wide_cnn.STUDY)
    assert [found[f"pool{n}"].shape for n in (1, 2, 3, 4)] == [(256, 14, 14), (1024, 6, 6), (2048, 2, 2), (2048, 1, 1)]


def test_three_blocks_end_in_the_published_flat_size():
    assert layers(blocks.STUDY, cell=2)["flat"].shape == (1024,)


def test_caffenet_has_the_published_layers():
    found = layers(voc.STUDY, stage=1)
    assert [found[name].shape for name in ("conv1", "conv2", "conv5", "pool5")] == [
        (96, 55, 55),
        (256, 27, 27),
        (256, 13, 13),
        (256, 6, 6),
    ]
    assert [found[name].parameters for name in ("conv1", "conv2", "conv3", "conv4", "conv5")] == [
        34_944,
        614_656,
        885_120,
        1_327_488,
        884_992,
    ]
    assert [found[name].shape for name in ("flat", "fc1", "fc2", "fc3")] == [(9216,), (4096,), (4096,), (20,)]


def test_every_trial_that_any_winner_of_part_a_leads_to_can_be_built():
    planned = plan_study(STUDY, (3, 32, 32), 10)
    channels = next(entry for entry in planned if entry.stage.name == "channels")
    assert {trial.model.conv_layers for trial in channels.reachable} == {0, 1, 2, 3, 4}
    # as shown, 3 conv layers twice, 3 FC layers twice, its channels twice, its pooling again, and the epochs stage are
    # one trial
    assert len(list(distinct(planned))) == 5 + 3 + 2 + 1 + 4


def test_the_search_tries_part_as_baseline_first_and_then_a_wider_one():
    [stage] = search.STUDY.stages
    first, second = (search.STUDY.baseline.with_values(point) for point in stage.first)
    assert first.key({}) == STUDY.baseline.key({})
    assert second == first.with_values({"model.channels": (32, 64, 128)})
