"""sweeps.tracking.stage_runs against a real sqlite store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from sweeps.decisions.outcome import Yardstick
from sweeps.decisions.records import StageResult
from sweeps.decisions.stages import Stage
from sweeps.decisions.status import Status
from sweeps.decisions.winner import choose
from sweeps.tracking import origin, views
from sweeps.tracking.entry import PARENT
from sweeps.tracking.stage_runs import files_of, fill, parents
from sweeps.tracking.store import Store
from sweeps.tracking.tracker import Tracker
from tests.sweeps.outcomes import outcome
from tests.sweeps.tracking.trials import run_of, start

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


def result(stage: str, *outcomes: Any) -> StageResult:
    return StageResult(
        Stage(stage, {"training.lr": (0.1, 0.2)}), outcomes, choose(outcomes, Yardstick("accuracy", 100))
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a results folder of the stages `lr` and `lr-warm`."""
    names = ("lr.csv", "lr-loss.png", "lr-warm.csv", "lr-warm-loss.png", "report.html", "report.json", "plan.json")
    (tmp_path / "results" / ".spool").mkdir(parents=True)
    for name in names:
        (tmp_path / "results" / name).write_text(name)
    return tmp_path / "results"


def test_each_stage_has_its_own_files_and_the_report(folder: Path) -> None:
    stages = ("lr", "lr-warm")
    assert files_of(folder, "lr", stages).keys() == {"lr.csv", "lr-loss.png", "report.html"}
    assert files_of(folder, "lr-warm", stages) == {
        name: name.encode() for name in ("lr-warm.csv", "lr-warm-loss.png", "report.html")
    }


def test_a_stage_has_one_run_which_is_no_trial_and_open_until_it_is_decided(store: Store, folder: Path) -> None:
    said: list[str] = []
    first = parents(store, "study", ("lr", "pool"), said.append)
    assert parents(store, "study", ("pool", "lr"), said.append) == first
    run_id = first["lr"][PARENT]
    assert store.client.get_run(run_id).info.status == "SCHEDULED"
    good, bad = outcome("0.2", [0.5, 0.75]), outcome("0.1", [0.25, 0.5])
    assert fill(store, "study", folder, [result("lr", bad, good)], {}, "accuracy", said.append)
    run = store.client.get_run(run_id)
    assert (run.info.run_name, run.info.status, run.data.tags["winner"]) == ("lr", "FINISHED", "0.2")
    assert run.data.metrics["chosen_val_accuracy"] == 0.75
    assert store.attached(run_id, "") == files_of(folder, "lr", ["lr"])
    assert store.client.get_run(first["pool"][PARENT]).info.status == "SCHEDULED"
    assert store.trials(None) == {}
    assert store.drawn("study") == {}
    assert said == []


def test_only_what_is_new_is_sent_again(store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    attach = store.attach

    def noted(run_id: str, place: str, files: Any) -> None:
        sent.append(sorted(files))
        attach(run_id, place, files)

    monkeypatch.setattr(store, "attach", noted)
    for scores in ([0.5, 0.75], [0.5, 0.75], [0.5, 1.0]):
        assert fill(store, "study", folder, [result("lr", outcome("0.2", scores))], {}, "accuracy", print)
    assert len(sent) == 2
    run_id = parents(store, "study", ["lr"], print)["lr"][PARENT]
    assert store.client.get_run(run_id).data.metrics["chosen_val_accuracy"] == 1.0


def test_a_trial_of_two_stages_says_so(store: Store, folder: Path) -> None:
    run_ids = {key: store.client.create_run(store.experiment_id("study")).info.run_id for key in ("0.1", "0.2")}
    both, one = outcome("0.2", [0.5]), outcome("0.1", [0.25])
    assert fill(store, "study", folder, [result("lr", both, one), result("lr-warm", both)], run_ids, "accuracy", print)
    tags = {key: store.client.get_run(run_id).data.tags.get("stages") for key, run_id in run_ids.items()}
    assert tags == {"0.1": None, "0.2": "lr, lr-warm"}


def test_a_stage_without_a_winner_has_no_scores(store: Store, folder: Path) -> None:
    assert fill(store, "study", folder, [result("lr", outcome("0.2", [0.5], status="censored"))], {}, "accuracy", print)
    run = store.client.get_run(parents(store, "study", ["lr"], print)["lr"][PARENT])
    assert (run.data.metrics, run.info.status) == ({}, "FINISHED")


def test_a_store_that_went_away_costs_a_line(store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise MlflowException("no answer")

    monkeypatch.setattr(store.client, "create_run", fails)
    said: list[str] = []
    assert parents(store, "study", ["lr"], said.append) == {}
    assert fill(store, "study", folder, [result("lr", outcome("0.2", [0.5]))], {}, "accuracy", said.append) is False
    trouble = f"cannot read MLflow at {store.uri}: MlflowException: no answer"
    assert said == [
        f"warning: trials that start now are not shown below their stages: {trouble}",
        f"warning: MLflow has not got the stages' tables: {trouble}; the same command delivers them",
    ]


def test_a_run_of_another_study_gets_no_parent_in_this_one(tracker: Callable[..., Tracker], store: Store) -> None:
    own = parents(store, "study", ["depth"], print)["depth"]
    writer = tracker()
    start(writer, tags=own)
    assert writer.drain(20) == []
    run = run_of(store)
    assert run.data.tags[PARENT] == own[PARENT]
    writer.finish(run.data.tags["key"], Status.DONE)
    assert writer.drain(20) == []
    other = tracker()
    other.experiment = "another"
    start(other, tags=parents(store, "another", ["depth"], print)["depth"], run_id=run.info.run_id)
    assert other.drain(20) == []
    assert run_of(store).data.tags[PARENT] == own[PARENT]


def test_a_stage_leads_to_a_view_of_its_trials(store: Store, folder: Path) -> None:
    assert fill(store, "study", folder, [result("lr", outcome("0.2", [0.5]))], {}, "accuracy", print)
    number = store.experiment_id("study")
    run = store.client.get_run(parents(store, "study", ["lr"], print)["lr"][PARENT])
    assert run.data.tags["mlflow.note.content"] == views.words(number, "lr")
    assert f"{views.TAG}stage.lr" in store.client.get_experiment(number).tags


def test_a_stage_has_the_data_set_of_its_trials(store: Store, folder: Path) -> None:
    run_id = store.client.create_run(store.experiment_id("study")).info.run_id
    data = origin.data_input(origin.data_set("shapes", "d" * 64, (3, 32, 32), {"training": 5}))
    store.client.log_inputs(run_id, datasets=[data])
    for scores in ([0.5], [0.75]):
        assert fill(store, "study", folder, [result("lr", outcome("0.2", scores))], {"0.2": run_id}, "accuracy", print)
    run = store.client.get_run(parents(store, "study", ["lr"], print)["lr"][PARENT])
    assert [each.dataset.digest for each in run.inputs.dataset_inputs] == ["d" * 12]
