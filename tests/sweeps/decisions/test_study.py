"""A study's chain of stages, and the ways to change it."""

import pytest

from sweeps.decisions.stages import Recheck
from sweeps.study import Choice, Claim, Published, Search, Space, Stage, Study
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
NAME = "but must be 1 to 80 of A-Z, a-z, 0-9, '.', '_', '=' and '-', with a letter or digit at both ends"
FIND = Search("find", Space({"model.conv_layers": Choice((1, 2))}))


def test_some_stages_bring_those_whose_winners_they_need():
    assert [stage.name for stage in CHAIN.only(["pooling"]).stages] == ["depth", "pooling"]
    assert [stage.name for stage in CHAIN.only(["own"]).stages] == ["own"]
    alone = Study(
        "two", BASE, (CHAIN.stages[3], Stage("first", {"model.conv_layers": (1,)}, start=BASE), CHAIN.stages[1])
    ).only(["width"])
    assert [alone.parent(stage) for stage in alone.stages] == [None, "first"]


def test_a_chain_starts_at_the_baseline_and_goes_on_from_the_stage_before_or_the_one_named():
    assert [CHAIN.parent(stage) for stage in CHAIN.stages] == [None, "depth", "depth", None]
    assert CHAIN.base(CHAIN.stages[0]) is BASE
    assert CHAIN.base(CHAIN.stages[3]).model.fc_layers == 1


def test_a_path_leads_from_the_first_stage_and_the_lineage_is_of_those_grids_whose_path_starts_at_the_baseline():
    assert [[each.name for each in CHAIN.path(stage)] for stage in CHAIN.stages] == [
        ["depth"],
        ["depth", "width"],
        ["depth", "pooling"],
        ["own"],
    ]
    assert [stage.name for stage in CHAIN.lineage] == ["depth", "width", "pooling"]
    after_own = Stage("after_own", {"model.kernel": (3, 5)})
    again = Stage("again", {"model.kernel": (3, 5)}, start=BASE)
    study = Study("s", BASE, (*CHAIN.stages, after_own, again, FIND))
    assert [stage.name for stage in study.lineage] == ["depth", "width", "pooling", "again"]


def test_a_recheck_is_the_last_stage_and_of_the_lineage_that_varies_something():
    assert CHAIN.all_stages == CHAIN.stages
    stages = (*CHAIN.stages, Stage("curve", start="width"))
    study = Study("s", BASE, stages, recheck=True)
    assert study.all_stages == (*stages, Recheck(("depth", "width", "pooling")))
    assert study.only(["pooling"]).all_stages[-1] == Recheck(("depth", "pooling"))
    assert study.changed({"training.epochs": 2}).all_stages[-1] == Recheck(("depth", "width", "pooling"))
    for nothing in ([stages[3]], [Stage("curve")], [FIND]):
        assert Study("s", BASE, tuple(nothing), recheck=True).all_stages == tuple(nothing)


def test_a_stage_may_be_named_recheck_only_without_one():
    stages = (Stage("recheck", {"model.conv_layers": (1, 2)}),)
    assert Study("s", BASE, stages).stages == stages
    with pytest.raises(UserError, match=r"^study s has a stage named 'recheck', but its own recheck has that name$"):
        Study("s", BASE, stages, recheck=True)


def test_a_study_is_open_ended_where_a_stage_is_a_search():
    assert not CHAIN.open_ended
    assert Study("s", BASE, (CHAIN.stages[0], FIND)).open_ended


def test_what_follows_a_search_is_not_foreseeable_and_not_of_the_lineage():
    after, last = Stage("after", {"model.conv_layers": (1, 2)}), Stage("last", {"model.fc_layers": (1, 2)})
    own = Stage("own", {"model.fc_layers": (1, 2)}, start=BASE)
    study = Study("s", BASE, (FIND, after, last, own), recheck=True)
    assert study.after("find") == [after]
    assert study.after("after") == [last]
    assert study.after("last") == []
    assert [study.is_foreseeable(stage) for stage in study.stages] == [True, False, False, True]
    assert study.lineage == [own]


def test_a_studys_defaults():
    assert CHAIN.watch.filters == CHAIN.watch.images == ()
    assert CHAIN.analyses == {}
    assert CHAIN.quick == {"dataset": "shapes", "training.epochs": 6}
    assert CHAIN.quick_search == {"trials": 8, "confirm": 2, "seeds": 2}


def test_searches_change_and_grids_do_not():
    study = Study("s", BASE, (CHAIN.stages[0], FIND))
    grid, found = study.searching(trials=5, rule="median").stages
    assert grid == CHAIN.stages[0]
    assert (found.trials, found.rule, found.sampler) == (5, "median", "tpe")
    assert CHAIN.searching() == CHAIN


def test_published_numbers_hold_for_the_studys_own_data_set_alone():
    stage = Stage("depth", {"model.conv_layers": (1, 2)}, published={1: Published(None, 80.0, 3)})
    study = Study("s", BASE, (stage,))
    assert study.changed({"dataset": "shapes"}).stages[0].published == {}
    assert study.changed({"dataset": "cifar10", "training.epochs": 2}).stages[0].published == stage.published
    assert study.changed({"training.epochs": 2}).stages[0].published == stage.published
    assert study.without_published().stages[0].published == {}


def test_claims_are_of_the_studys_own_data_and_of_stages_that_it_has():
    claims = (Claim("depth", 1, (2,), source="R"), Claim("width", 4, source="R"))
    stages = (Stage("depth", {"model.conv_layers": (1, 2)}), Stage("width", {"model.channels": (4, 8)}, start=BASE))
    study = Study("s", BASE, stages, claims=claims)
    assert study.changed({"dataset": "shapes"}).claims == ()
    assert study.changed({"training.epochs": 2}).claims == claims
    assert study.only(["width"]).claims == claims[1:]


def test_other_weights_take_the_place_of_the_studys_wherever_it_has_some():
    started = BASE.with_values({"weights": "known"})
    stages = (Stage("start", {"weights": (None, "known")}), Stage("own", start=started), Stage("bare", start=BASE))
    study = Study("s", started, stages)
    given = study.starting_from("b.pth")
    assert given.baseline.weights == "b.pth"
    assert [stage.start and stage.start.weights for stage in given.stages] == [None, "b.pth", None]
    assert given.stages[0].vary == {"weights": (None, "b.pth")}
    left = study.starting_from(None)
    assert left.baseline.weights is None
    assert left.stages[1].start.weights is None
    assert left.stages[0].vary == {"weights": (None,)}
    only_one = Study("s", BASE, (Stage("own", start=started), Stage("bare", start=BASE)))
    assert only_one.starting_from("b.pth").stages[0].start.weights == "b.pth"
    assert CHAIN.starting_from(None) == CHAIN


def test_data_set_and_epochs_change_everywhere():
    changed = CHAIN.changed({"dataset": "shapes", "training.epochs": 2})
    for trial in (changed.baseline, changed.base(changed.stages[3])):
        assert (trial.dataset, trial.training.epochs) == ("shapes", 2)


@pytest.mark.parametrize("name", ["a", "7", "a" * 80, "part_a", "lr=0.1", "x.y-z", "A1"])
def test_names_that_are_safe(name):
    assert Study(name, BASE, (Stage(name),)).stages[0].name == name


@pytest.mark.parametrize("name", ["", "a" * 81, "_a", "a_", ".", "a b", "a/b", "ä", "a\n"])
def test_names_that_are_not(name):
    with pytest.raises(UserError, match="the name of a study is"):
        Study(name, BASE, (Stage("a"),))
    with pytest.raises(UserError, match="the name of a stage is"):
        Study("s", BASE, (Stage(name),))


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
            lambda: CHAIN.searching(trials=5, rule="none"),
            "study chain has no search whose trials, rule could be changed",
        ),
        (
            lambda: CHAIN.starting_from("a.pth"),
            "weights are 'a.pth', but no trial of study chain starts from pretrained weights",
        ),
        (
            lambda: Study("s", BASE, (Stage("a"),), claims=(Claim("b", 1, source="R"),)),
            "claim on stage b: there is no stage of that name whose values are known beforehand",
        ),
        (
            lambda: Study("s", BASE, (Stage("a"),), winner="cheap"),
            "winner is 'cheap', but must be one of best, cheapest that may be best",
        ),
        (lambda: Study("a/b", BASE, (Stage("a"),)), f"the name of a study is 'a/b', {NAME}"),
        (lambda: Study("s" * 100, BASE, (Stage("a"),)), f"the name of a study is '{'s' * 90}', {NAME}"),
        (lambda: Study("s", BASE, (Stage(""),)), f"the name of a stage is '', {NAME}"),
    ],
)
def test_a_study_that_cannot_be_run_is_refused_in_one_line(make, message):
    with pytest.raises(UserError) as caught:
        make()
    assert str(caught.value) == message
