from pathlib import Path

import pytest

from sweeps import blocks, part_a, resnet, simple_cnn, voc, wide_cnn
from sweeps.decisions.planning import distinct, plan_study
from sweeps.study import Published, Stage, Study
from trainables.config import CNN, Trial
from trainables.datasets import image_shape
from trainables.errors import UserError

STUDY = part_a.STUDY
STUDIES = [module.STUDY for module in (part_a, wide_cnn, blocks, resnet, simple_cnn, voc)]
BASE = Trial(model=CNN(conv_layers=2, channels=(4, 8)))
CHAIN = Study(
    "chain",
    BASE,
    (
        Stage("depth", {"model.conv_layers": (1, 2)}),
        Stage("width", {"model.channels": ((4, 8), (8, 16))}),
        Stage("pooling", {"model.pooling": ("max", "none")}, start="depth"),
        Stage("own", {"model.stride": (1, 2)}, start=BASE.with_values({"model.fc_layers": 1})),
    ),
)


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
    assert not any(stage.published for stage in version.stages)


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


def test_other_weights_take_the_place_of_the_studys_and_none_leave_them_out():
    numbers = Published(None, 80.0, 3)
    study = Study(
        "s", BASE, (Stage("start", {"weights": (None, "known")}, published={None: numbers, "known": numbers}),)
    )
    [given] = study.starting_from("a/b.pth").stages
    assert [cell.label for cell in given.cells(BASE)] == ["none", "b.pth"]
    assert given.cells(BASE)[1].published is numbers
    [left] = study.starting_from(None).stages
    assert [cell.trial.weights for cell in left.cells(BASE)] == [None]


def test_every_trial_that_any_winner_of_part_a_leads_to_can_be_built():
    planned = plan_study(STUDY, (3, 32, 32), 10)
    channels = next(entry for entry in planned if entry.stage.name == "channels")
    assert {trial.model.conv_layers for trial in channels.reachable} == {0, 1, 2, 3, 4}
    # as shown, 3 conv layers twice, 3 FC layers twice, its channels twice, its pooling again, and the epochs stage are
    # one trial
    assert len(list(distinct(planned))) == 5 + 3 + 2 + 1 + 4


def test_a_factor_grid_is_a_product_with_readable_labels():
    cells = Stage("both", {"training.lr": (0.1, 0.2), "model.batch_norm": (False, True)}).cells(BASE)
    assert [cell.label for cell in cells] == [
        "lr=0.1, batch_norm=no",
        "lr=0.1, batch_norm=yes",
        "lr=0.2, batch_norm=no",
        "lr=0.2, batch_norm=yes",
    ]
    assert [(cell.trial.training.lr, cell.trial.model.batch_norm) for cell in cells][2] == (0.2, False)


def test_some_stages_bring_those_whose_winners_they_need():
    assert [stage.name for stage in CHAIN.only(["pooling"]).stages] == ["depth", "pooling"]
    assert [stage.name for stage in CHAIN.only(["own"]).stages] == ["own"]
    alone = Study(
        "two", BASE, (CHAIN.stages[3], Stage("first", {"model.conv_layers": (1,)}, start=BASE), CHAIN.stages[1])
    ).only(["width"])
    assert [alone.parent(stage) for stage in alone.stages] == [None, "first"]


def test_data_set_and_epochs_change_everywhere():
    assert STUDY.changed({"dataset": "shapes"}).stages[0].published == {}
    assert STUDY.changed({"dataset": "cifar10", "training.epochs": 2}).stages[0].published
    changed = CHAIN.changed({"dataset": "shapes", "training.epochs": 2})
    for trial in (changed.baseline, changed.base(changed.stages[3])):
        assert (trial.dataset, trial.training.epochs) == ("shapes", 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Study("s", BASE, ()), "study s has no stages"),
        (lambda: Study("s", BASE, (Stage("a"), Stage("a"))), "study s has two stages named 'a'"),
        (
            lambda: Study("s", BASE, (Stage("a", {"training.lr": ()}),)),
            "stage a varies training.lr, but gives it no values",
        ),
        (
            lambda: Study("s", BASE, (Stage("a", {"model.strid": (1,)}),)),
            "a trial has no field 'model.strid'; did you mean 'model.stride'?",
        ),
        (
            lambda: Study("s", BASE, (Stage("first"), Stage("b", start="frist"))),
            "stage b starts from 'frist', which is not an earlier stage; did you mean 'first'?",
        ),
        (lambda: CHAIN.only(["widht"]), "study chain has no stage 'widht'; did you mean 'width'?"),
        (
            lambda: plan_study(Study("s", BASE, (Stage("a", {"model.kernel": (3, 40)}),)), (3, 32, 32), 10),
            "stage a, 40: conv1 cannot be built: its 40×40 window does not fit the 32×32 map padded by 0",
        ),
    ],
)
def test_a_study_that_cannot_be_run_is_refused_in_one_line(make, message):
    with pytest.raises(UserError) as caught:
        make()
    assert str(caught.value) == message


def test_a_trial_that_only_an_unlikely_winner_leads_to_is_checked_too():
    stages = (Stage("depth", {"model.conv_layers": (2, 3)}), Stage("kernel", {"model.kernel": (3, 5)}))
    with pytest.raises(UserError, match=r"^stage kernel, 5: conv3 cannot be built"):
        plan_study(Study("s", BASE, stages), (3, 28, 28), 10)
