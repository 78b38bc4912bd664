"""Grids and searches as data: their trials, labels and published numbers."""

import pytest

from sweeps.decisions.stages import FINAL, Cell, Recheck, Swap, named_all
from sweeps.study import Choice, Published, Search, Space, Stage, Whole
from trainables.config import CNN, Trial
from trainables.errors import UserError

BASE = Trial(model=CNN(conv_layers=2, channels=(4, 8)))
NUMBERS, OTHERS = Published(None, 80.0, 3), Published(0.1, 70.0, None)
SPACE = Space({"model.conv_layers": Whole(1, 4)})


def test_a_factor_grid_is_a_product_with_readable_labels():
    cells = Stage("both", {"training.lr": (0.1, 0.2), "model.batch_norm": (False, True)}).cells(BASE)
    assert [cell.label for cell in cells] == [
        "lr=0.1, batch_norm=no",
        "lr=0.1, batch_norm=yes",
        "lr=0.2, batch_norm=no",
        "lr=0.2, batch_norm=yes",
    ]
    assert [cell.values for cell in cells] == [(0.1, False), (0.1, True), (0.2, False), (0.2, True)]
    assert [(cell.trial.training.lr, cell.trial.model.batch_norm) for cell in cells] == [cell.values for cell in cells]


def test_the_cells_of_one_factor_are_labelled_by_its_values_alone():
    stage = Stage("width", {"model.channels": ((4, 8), (8, 16))})
    assert [cell.label for cell in stage.cells(BASE)] == ["4-8", "8-16"]
    assert stage.foreseen(BASE) == [BASE.with_values({"model.channels": values}) for values in ((4, 8), (8, 16))]


def test_a_stage_that_varies_nothing_is_its_start_alone():
    assert Stage("epochs").cells(BASE) == [Cell("as it starts", (), BASE)]


def test_published_numbers_are_by_value_or_by_values():
    one = Stage("lr", {"training.lr": (0.1, 0.2)}, published={0.2: NUMBERS})
    assert [cell.published for cell in one.cells(BASE)] == [None, NUMBERS]
    two = Stage("both", {"training.lr": (0.1,), "model.stride": (1, 2)}, published={(0.1, 2): NUMBERS})
    assert [cell.published for cell in two.cells(BASE)] == [None, NUMBERS]
    none = Stage("epochs", published={(): NUMBERS})
    assert [cell.published for cell in none.cells(BASE)] == [NUMBERS]
    assert one.without_published().published == {}
    assert one.without_published().vary == one.vary
    assert (NUMBERS.classes, NUMBERS.part, one.note) == ((), "test", "")


@pytest.mark.parametrize(
    ("stage", "title"),
    [
        (Stage("epochs"), "epochs"),
        (Stage("lr", {"training.lr": (0.1,)}), "lr"),
        (Stage("rates", {"training.lr": (0.1,)}), "rates (lr)"),
        (Stage("both", {"training.lr": (0.1,), "model.stride": (1,)}), "both (lr, stride)"),
        (Search("find", SPACE), "find"),
    ],
)
def test_titles(stage, title):
    assert stage.title == title


def test_other_weights_take_the_place_of_a_stages_and_none_leave_them_out():
    stage = Stage(
        "start",
        {"weights": (None, "known", "more"), "training.lr": (0.1,)},
        published={None: NUMBERS, "known": OTHERS, (None, 0.1): NUMBERS},
    )
    given = stage.with_weights(lambda value: value and "a/b.pth")
    assert given.vary == {"weights": (None, "a/b.pth", "a/b.pth"), "training.lr": (0.1,)}
    assert given.published == {None: NUMBERS, "a/b.pth": OTHERS, (None, 0.1): NUMBERS}
    left = stage.with_weights(lambda _: None)
    assert left.vary == {"weights": (None,), "training.lr": (0.1,)}
    bare = Stage("lr", {"training.lr": (0.1,)}, published={0.1: NUMBERS})
    assert bare.with_weights(lambda _: "other") is bare


def test_a_grid_is_known_beforehand_and_a_search_is_not():
    grid, found = Stage("lr", {"training.lr": (0.1,)}), Search("find", SPACE)
    assert (grid.open_ended, found.open_ended) == (False, True)
    assert found.foreseen(BASE) is None
    assert grid.changed(trials=3) is grid
    assert found.changed(trials=3) == Search("find", SPACE, trials=3)
    assert found.without_published() is found
    assert found.with_weights(lambda _: "other") is found


def test_what_a_search_does_unless_told_otherwise():
    assert Search("find", SPACE) == Search(
        "find",
        SPACE,
        trials=64,
        sampler="tpe",
        rule="asha",
        objectives=("score",),
        first=(),
        confirm=3,
        seeds=3,
        start=None,
        note="",
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Stage("a", {"training.lr": (0.1,), "model.stride": ()}).check(BASE),
            "stage a varies model.stride, but gives it no values",
        ),
        (
            lambda: Stage("a", {"model.strid": (1,)}).check(BASE),
            "a trial has no field 'model.strid'; did you mean 'model.stride'?",
        ),
        (lambda: Search("find", SPACE, trials=0), "search find: trials is 0, but must be at least 1"),
        (lambda: Search("find", SPACE, confirm=0), "search find: confirm is 0, but must be at least 1"),
        (lambda: Search("find", SPACE, seeds=0), "search find: seeds is 0, but must be at least 1"),
        *(
            (
                lambda path=path: Search("find", Space({path: Choice(("a", "b"))})),
                f"search find draws {path}, but that is the same for all trials of a search",
            )
            for path in ("dataset", "weights", "training.epochs", "training.vary_split")
        ),
        (lambda: Search("find", SPACE, rule="asah"), "early stopping 'asah' is not known; did you mean 'asha'?"),
        (lambda: Search("find", SPACE, sampler="tpee"), "there is no sampler 'tpee'; did you mean 'tpe'?"),
        (
            lambda: Search("find", SPACE, objectives=("scores",)),
            "there is no objective 'scores'; did you mean 'score'?",
        ),
        (
            lambda: Search("find", SPACE, first=({"model.conv_layers": 5},)),
            "model.conv_layers is 5, but must be 1..4",
        ),
        (
            lambda: Search("find", SPACE, sampler="nsga2", rule="median"),
            (
                "search find: sampler nsga2 learns only from trials run in full, which are few under rule 'median'; "
                "use rule 'none' or sampler 'tpe'"
            ),
        ),
        (
            lambda: Search("find", SPACE, objectives=("score", "seconds")),
            "search find: with several objectives all trials run in full; the rule must be 'none', not 'asha'",
        ),
        (
            lambda: Search("find", SPACE, constraint={"parameter": 1e6}),
            "search find: constraint names 'parameter', which cannot be bounded; did you mean 'parameters'?",
        ),
        (
            lambda: Search("find", SPACE, constraint={"seconds": 0}),
            "search find: constraint: seconds is 0, but must be a number above 0",
        ),
        (
            lambda: Search("find", Space({"model.strid": Whole(1, 2)})).check(BASE),
            "a trial has no field 'model.strid'; did you mean 'model.stride'?",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(make, message):
    with pytest.raises(UserError) as caught:
        make()
    assert str(caught.value) == message


def test_what_is_just_allowed():
    Search("find", SPACE, trials=1, confirm=1, seeds=1)
    Search("find", SPACE, rule="hyperband")
    bounded = Search("find", SPACE, constraint={"parameters": 1e6, "flops": 5e7, "seconds": 60})
    assert bounded.planned_constraint == {"parameters": 1e6, "flops": 5e7}
    Search("find", SPACE, sampler="gp", rule="none")
    Search("find", SPACE, objectives=("score", "seconds"), rule="none")


def test_a_recheck_has_the_final_winner_and_what_it_swaps_and_before_that_is_known_a_trial_a_stage():
    other = Cell("lr 0.1", (0.1,), BASE.with_values({"training.lr": 0.1}))
    recheck = Recheck(("lr", "depth"), swaps=(Swap(other, behind=True),))
    assert recheck.cells(BASE) == [Cell(FINAL, (), BASE), other]
    assert Recheck(("lr", "depth")).foreseen(BASE) == [BASE, BASE]
    assert (recheck.name, recheck.title, recheck.open_ended) == ("recheck", "recheck", False)


def test_a_sentence_has_the_values_with_the_fields_that_they_are_of():
    one = Stage("activation", {"model.activation": ("relu", "none")}).cells(BASE)
    assert [cell.named for cell in one] == ["activation = relu", "activation = none"]
    both = Stage("both", {"training.lr": (0.1,), "model.batch_norm": (False, True)}).cells(BASE)
    assert [cell.named for cell in both] == ["lr = 0.1, batch_norm = no", "lr = 0.1, batch_norm = yes"]
    assert Stage("epochs").cells(BASE)[0].named == "the starting configuration"
    assert named_all(one) == "activation = relu and none"
    assert named_all(both) == "lr = 0.1, batch_norm = no and lr = 0.1, batch_norm = yes"
    assert named_all([one[0], both[0]]) == "activation = relu and lr = 0.1, batch_norm = no"
