import io
from dataclasses import replace

from rich.console import Console

from sweeps.decisions.planning import plan_study
from sweeps.reporting.plan_tables import Outline, as_data, print_plan, shapes
from sweeps.study import Choice, Search, Space, Stage, Study, Whole
from trainables.config import CNN, Training, Trial
from trainables.plan import plan

BASE = Trial("shapes", CNN(conv_layers=1, channels=4, fc_layers=1), Training(epochs=3))
GRID = Study("small", BASE, (Stage("depth", {"model.conv_layers": (1, 2)}), Stage("lr", {"training.lr": (0.1, 0.2)})))
SPACE = Space({"model.conv_layers": Whole(1, 4), "model.pooling": Choice(("max", "none"))})
SEARCH = Study("hunt", BASE, (Search("find", SPACE, trials=5, sampler="random"),))


def printed(study, seeds=2, early_stopping=True):
    text = io.StringIO()
    planned = plan_study(study, (3, 32, 32), 10)
    outline = Outline(study, planned, seeds, early_stopping, "on the CPU", "at most 3.0 GB")
    print_plan(outline, Console(file=text, width=200))
    return text.getvalue()


def test_shapes_are_named_once_each():
    layers = plan(CNN(conv_layers=1, channels=16, fc_layers=2, fc_widths=64), (3, 32, 32), 10)
    assert shapes(layers) == "16×30×30 → 16×15×15 → 3600 → 64 → 10"


def test_a_grid_s_plan_names_its_trials_what_they_cost_and_that_all_can_be_built():
    text = printed(GRID)
    assert text.startswith(
        "Study small on shapes: 2 stages, 4 distinct trials, 3 epochs, 2 seeds, early stopping: on\n"
        "Memory: at most 3.0 GB.\n"
        "Trials run on the CPU.\n"
        "All 6 trials that any winners could lead to can be built.\n"
    )
    assert "depth: from the baseline" in text
    assert "lr: from the winner of depth" in text
    assert "4×30×30 → 4×15×15 → 900 → 10" in text
    first = next(line.split() for line in text.splitlines() if "4×30×30 → 4×15×15 → 900 → 10" in line)
    assert first[-2:] == [f"{27 * 4 + 4 + 9000 + 10:,}", "0.21"]  # parameters, and 2 × (27 · 4 · 30² + 9000) / 10⁶
    assert "early stopping: off" in printed(GRID, early_stopping=False)


def test_one_of_a_kind_is_said_as_one_and_the_question_comes_first():
    one = replace(GRID, stages=(Stage("lr", {"training.lr": (0.1,)}),), question="How fast?")
    one = one.changed({"training.epochs": 1})
    assert printed(one, seeds=1).startswith(
        "How fast?\nStudy small on shapes: 1 stage, 1 distinct trial, 1 epoch, 1 seed, early stopping: on\n"
    )


def test_a_search_s_plan_is_its_space():
    text = printed(SEARCH)
    assert "0 distinct trials and 5 to be drawn" in text
    assert "can be built.\n" not in text
    assert "find: from the baseline; 5 trials by random, asha; 8 points" in " ".join(text.split())
    rows = [line.split() for line in text.splitlines() if line.strip().startswith("model.")]
    assert [(row[0], row[-1]) for row in rows] == [("model.conv_layers", "always"), ("model.pooling", "always")]


def test_a_recheck_s_plan_is_the_values_that_it_chooses_from_and_how_many_it_tries():
    text = printed(replace(GRID, recheck=True))
    assert text.startswith("Study small on shapes: 3 stages, 4 distinct trials and at most 2 to recheck, 3 epochs")
    assert "All 6 trials that any winners could lead to can be built." in text
    assert "recheck: from the final winner; at most 2 trials" in text
    _, table = text.split("recheck: from")
    assert [line.split() for line in table.splitlines() if line.startswith(("  depth", "  lr"))] == [
        ["depth", "1;", "2"],
        ["lr", "0.1;", "0.2"],
    ]
    *_, entry = as_data(plan_study(replace(GRID, recheck=True), (3, 32, 32), 10))
    assert entry == {
        "stage": "recheck",
        "starts_from": "the final winner",
        "rechecks": {"depth": ("1", "2"), "lr": ("0.1", "0.2")},
        "trials": [],
    }


def test_as_data_it_holds_the_whole_configuration_and_each_layer():
    depth, lr = as_data(plan_study(GRID, (3, 32, 32), 10))
    assert (depth["stage"], depth["starts_from"], lr["starts_from"]) == ("depth", "the baseline", "the winner of depth")
    first = depth["trials"][0]
    assert Trial.from_dict(first["config"]) == BASE
    assert first["flops"] == 2 * (27 * 4 * 30 * 30 + 9000)
    assert [tuple(layer["shape"]) for layer in first["layers"]][-1] == (10,)
    assert "space" not in depth
    [find] = as_data(plan_study(SEARCH, (3, 32, 32), 10))
    assert [row["field"] for row in find["space"]] == ["model.conv_layers", "model.pooling"]
    assert find["trials"] == []


def test_of_more_trials_than_a_screenful_the_first_and_the_last_are_shown():
    rates = tuple(round(0.001 * (at + 1), 3) for at in range(21))
    text = printed(Study("many", BASE, (Stage("lr", {"training.lr": rates}),)))
    assert "lr: from the baseline; the first 10 and the last 5 of 21" in text
    seen = [line.split()[0] for line in text.splitlines() if "→" in line]
    assert seen == [str(rate) for rate in (*rates[:10], *rates[-5:])]
    assert printed(Study("some", BASE, (Stage("lr", {"training.lr": rates[:20]}),))).count("→ 10") == 20


def test_a_search_s_bounds_are_in_its_plan():
    [free] = as_data(plan_study(SEARCH, (3, 32, 32), 10))
    assert "constraint" not in free
    bounded = replace(SEARCH, stages=(replace(SEARCH.stages[0], constraint={"parameters": 1e9, "seconds": 60}),))
    [entry] = as_data(plan_study(bounded, (3, 32, 32), 10))
    assert entry == {**free, "constraint": {"parameters": 1e9, "seconds": 60}}
    text = " ".join(printed(bounded).split())
    assert "% with at most 1,000,000,000 parameters; at most 60 s of training in full, which training shows" in text
