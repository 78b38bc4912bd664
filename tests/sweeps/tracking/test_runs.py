"""sweeps.tracking.runs on a real store: which run is a trial's, and how often that is asked."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from sweeps.decisions.status import Status
from sweeps.tracking.runs import Runs
from sweeps.tracking.spool import About
from sweeps.tracking.store import Store
from tests.sweeps.tracking.trials import KEY, OTHER

# MLflow 3.17's own mapping, on SQLAlchemy 2.1; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


def about(key: str, run_id: str | None = None) -> About:
    return About(key, "study", "depth=2", {}, {}, run_id, 1)


def make(store: Store, key: str, status: Status = Status.RUNNING) -> str:
    return str(store.client.create_run(store.experiment_id("study"), tags={"key": key, "status": status}).info.run_id)


@pytest.fixture
def asked(store: Store, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Return how often MLflow was asked for what."""
    counts: Counter[str] = Counter()
    for name in ("search_runs", "get_run", "get_experiment_by_name"):
        call = getattr(store.client, name)

        def counted(*given: Any, name: str = name, call: Any = call, **named: Any) -> Any:
            counts[name] += 1
            return call(*given, **named)

        monkeypatch.setattr(store.client, name, counted)
    return counts


def test_of_many_trials_that_begin_mlflow_is_asked_once(store: Store, asked: Counter[str]) -> None:
    runs = Runs(store)
    store.experiment_id("study")
    asked.clear()
    assert [runs.find(about(f"{number:064x}")) for number in range(20)] == [None] * 20
    assert asked == {"search_runs": 1, "get_experiment_by_name": 1}


def test_a_run_that_is_there_is_found_and_the_newest_that_counts(store: Store) -> None:
    make(store, KEY)
    newest = make(store, KEY)
    make(store, KEY, Status.SUPERSEDED)
    runs = Runs(store)
    assert [runs.find(about(key)) and runs.find(about(key)).info.run_id for key in (KEY, OTHER)] == [newest, None]


def test_a_run_that_mlflow_made_without_telling_is_found(store: Store) -> None:
    """The answer to the request that made it was lost on its way."""
    runs = Runs(store)
    assert runs.find(about(KEY)) is None
    made = make(store, KEY)
    assert runs.find(about(KEY)).info.run_id == made


def test_a_given_run_is_asked_for_and_another_looked_for_where_it_is_deleted(store: Store) -> None:
    first, second = make(store, KEY), make(store, KEY)
    runs = Runs(store)
    assert runs.find(about(KEY, first)).info.run_id == first
    store.client.delete_run(first)
    assert runs.find(about(KEY, first)).info.run_id == second
    assert runs.find(about(OTHER, "f" * 32)) is None


def test_after_a_refusal_experiments_are_asked_for_again(store: Store) -> None:
    runs, number = Runs(store), store.experiment_id("study")
    assert runs.find(about(KEY)) is None
    store.client.delete_experiment(number)
    assert runs.experiment("study") == number
    runs.forget()
    with pytest.raises(Exception, match="is deleted"):
        runs.experiment("study")
