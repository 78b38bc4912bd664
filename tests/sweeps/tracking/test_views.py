"""sweeps.tracking.views against a real sqlite store. What MLflow's pages make of them: test_in_chromium.py."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from sweeps.decisions.outcome import Outcome
from sweeps.decisions.records import StageResult
from sweeps.decisions.stages import Stage
from sweeps.tracking import views
from sweeps.tracking.store import TAG_LENGTH, Store
from tests.sweeps.outcomes import outcome
from trainables.config import CNN, Training, Trial

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


def network(conv_layers: int, **training: Any) -> Trial:
    return Trial(model=CNN(conv_layers=conv_layers, channels=(8,) * max(conv_layers, 1)), training=Training(**training))


def came_to(label: str, trial: Trial) -> Outcome:
    found = outcome(label, [0.5])
    return replace(found, cell=replace(found.cell, trial=trial))


def stage(name: str, *outcomes: Outcome) -> StageResult:
    return StageResult(Stage(name, {"training.lr": (0.1, 0.2)}), outcomes)


LR = stage("lr", came_to("a", network(1, lr=0.1)), came_to("b", network(1, lr=0.2)))
DEPTH = stage("depth", came_to("b", network(1, lr=0.2)), came_to("c", network(2, lr=0.2)))
RUNS = {"a": "1" * 32, "b": "2" * 32, "c": "3" * 32}


def test_params_are_those_that_all_have_and_that_differ() -> None:
    assert views.varied([network(1, lr=0.1), network(1, lr=0.2)]) == ("lr",)
    assert views.varied([network(0), network(1)]) == ("conv_layers",)  # without layers there are no channels
    # "8" is a number and "8-8" is none: MLflow would leave out the one that is
    assert views.varied([network(1), network(2)]) == ("conv_layers",)
    assert "channels" in views.varied([network(2), network(3)])
    assert views.varied([network(1)]) == ()


def test_a_stage_has_a_view_of_all_its_trials_also_of_those_that_another_one_ran() -> None:
    every, lr, depth = views.of([LR, DEPTH, stage("empty")], RUNS, "accuracy")
    assert (every.key, every.where, every.params) == ("trials", views.COUNTS, ("conv_layers", "lr"))
    assert (lr.key, lr.name, lr.params) == ("stage.lr", "lr", ("lr",))
    assert depth.where == f"attributes.run_id IN ('{'2' * 32}', '{'3' * 32}')"


def test_the_filter_finds_those_trials(store: Store) -> None:
    experiment = store.experiment_id("study")
    runs = {key: store.client.create_run(experiment, tags={"key": key, "status": "done"}).info.run_id for key in "abc"}
    store.client.create_run(experiment, tags={"stage_run": "lr"})
    store.client.create_run(experiment, tags={"key": "c", "status": "superseded"})
    found = {
        view.key: sorted(run.data.tags["key"] for run in store.client.search_runs([experiment], view.where))
        for view in views.of([LR, DEPTH], runs, "accuracy")
    }
    assert found == {"trials": ["a", "b", "c"], "stage.lr": ["a", "b"], "stage.depth": ["b", "c"]}


def test_many_trials_are_found_by_their_stage() -> None:
    many = stage("lr", *(came_to(str(number), network(1, lr=number / 1000)) for number in range(1, 200)))
    view = views.of([many], {str(number): f"{number:032}" for number in range(200)}, "accuracy")[1]
    assert view.where == "tags.stage = 'lr'"
    assert len(view.tag(0)) < TAG_LENGTH
    most = stage("lr", *many.outcomes[: views.NAMED])
    view = views.of([most], {str(number): f"{number:032}" for number in range(200)}, "accuracy")[1]
    assert view.where.count("'") == 2 * views.NAMED
    assert len(view.tag(10**13)) < TAG_LENGTH


def test_a_view_shows_scores_best_first_and_params_across() -> None:
    form = json.loads(views.of([LR], RUNS, "map")[1].tag(7))
    state = json.loads(form.pop("state"))
    assert form == {"name": "lr", "createdAt": 7, "updatedAt": 7}
    assert state["selectedColumns"] == [
        *("params.`lr`", "metrics.`chosen_val_map`", "metrics.`chosen_test_map`", "metrics.`chosen_epoch`"),
        "tags.`status`",
    ]
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`chosen_val_map`", False)
    assert [chart["type"] for chart in state["compareRunCharts"]] == ["PARALLEL", "LINE", "BAR", "BAR"]
    assert state["compareRunCharts"][0]["selectedParams"] == ["lr"]
    assert state["isAccordionReordered"]  # else they are shown by name
    sections = [section["uuid"] for section in state["compareRunSections"]]
    assert sections == ["PARALLEL", "LINE", "BAR"]
    assert len({chart["uuid"] for chart in state["compareRunCharts"]}) == 4


def test_where_nothing_differs_there_are_no_parallel_coordinates() -> None:
    alone = views.of([stage("one", came_to("a", network(1)))], RUNS, "accuracy")[1]
    charts = json.loads(json.loads(alone.tag(0))["state"])["compareRunCharts"]
    assert [chart["type"] for chart in charts] == ["LINE", "BAR", "BAR"]


def test_only_what_is_new_is_saved(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first = views.of([LR], RUNS, "accuracy")
    views.save(store, "study", first)
    sent: list[str] = []
    monkeypatch.setattr(store.client, "set_experiment_tag", lambda _, name, __: sent.append(name))
    views.save(store, "study", views.of([LR, DEPTH], RUNS, "accuracy"))
    assert sent == [f"{views.TAG}trials", f"{views.TAG}stage.depth"]


def test_one_that_is_too_long_is_left_out(store: Store) -> None:
    views.save(store, "study", [views.View("long", "x" * TAG_LENGTH, "", (), "accuracy")])
    assert f"{views.TAG}long" not in store.client.get_experiment_by_name("study").tags


def test_the_description_leads_to_all_trials_in_its_first_line(store: Store) -> None:
    number = store.experiment_id("study")
    link = f"#/experiments/{number}/runs?workflowType=machine_learning&viewStateShareKey=trials"
    for markdown, rest in (("What matters?\n\n**lr**\n\nIt does.", "\n\n**lr**\n\nIt does."), ("What matters?", "")):
        views.describe(store, "study", markdown)
        note = store.client.get_experiment(number).tags["mlflow.note.content"]
        assert note == f"What matters? [Trials by score]({link}){rest}"


def test_a_stage_says_where_its_trials_are_side_by_side() -> None:
    link = "#/experiments/3/runs?workflowType=machine_learning&viewStateShareKey=stage.final%20winner"
    assert views.words("3", "final winner") == (
        f"[Its trials by score]({link}) · [as charts]({link}&compareRunsMode=CHART)"
    )
