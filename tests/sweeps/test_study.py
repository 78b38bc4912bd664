import pytest

from sweeps.part_a import STUDY
from sweeps.simple_cnn import STUDY as SIMPLE_CNN
from sweeps.study import Stage, Study, distinct, plan_study
from trainables.config import CNN, Trial
from trainables.errors import UserError

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
    assert all(stage.published_for(cell) for stage in STUDY.stages for cell in stage.cells(STUDY.base(stage)))


@pytest.mark.parametrize(("study", "image_shape"), [(STUDY, (3, 32, 32)), (SIMPLE_CNN, (1, 28, 28))])
def test_every_study_can_be_run_on_its_own_data_and_on_the_embedded_one(study, image_shape):
    for planned in (plan_study(study, image_shape, 10), plan_study(study.changed("shapes"), (3, 32, 32), 10)):
        assert [entry.stage.name for entry in planned] == [stage.name for stage in study.stages]


def test_every_trial_that_any_winner_of_part_a_leads_to_can_be_built():
    planned = plan_study(STUDY, (3, 32, 32), 10)
    channels = next(entry for entry in planned if entry.stage.name == "channels")
    assert {trial.model.conv_layers for trial in channels.reachable} == {0, 1, 2, 3, 4}
    # as shown, 3 conv layers twice, 3 FC layers twice, its channels twice, its pooling again, and the epochs stage are one trial
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
    alone = Study("two", BASE, (CHAIN.stages[3], Stage("first", {"model.conv_layers": (1,)}, start=BASE), CHAIN.stages[1])).only(["width"])
    assert [alone.parent(stage) for stage in alone.stages] == [None, "first"]


def test_data_set_and_epochs_change_everywhere():
    assert STUDY.changed("shapes").stages[0].published == {}
    assert STUDY.changed("cifar10", 2).stages[0].published
    changed = CHAIN.changed("shapes", 2)
    for trial in (changed.baseline, changed.base(changed.stages[3])):
        assert (trial.dataset, trial.training.epochs) == ("shapes", 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Study("s", BASE, ()), "study s has no stages"),
        (lambda: Study("s", BASE, (Stage("a"), Stage("a"))), "study s has two stages named 'a'"),
        (lambda: Study("s", BASE, (Stage("a", {"training.lr": ()}),)), "stage a varies training.lr, but gives it no values"),
        (
            lambda: Study("s", BASE, (Stage("a", {"model.strid": (1,)}),)),
            "a trial has no field 'model.strid'; did you mean 'model.stride'?",
        ),
        (
            lambda: Study("s", BASE, (Stage("first"), Stage("b", start="frist"))),
            "stage b starts from 'frist', which is no earlier stage; did you mean 'first'?",
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
