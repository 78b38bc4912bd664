"""sweeps/sync.py on spools that were left behind."""

import io
import runpy
import signal
import sys

import pytest
from rich.console import Console

from sweeps import sync
from sweeps.decisions.status import Status
from sweeps.tracking.entry import Entry
from sweeps.tracking.findings import keep
from sweeps.tracking.spool import locked
from sweeps.tracking.tracker import Tracker
from trainables.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")

KEY = "a" * 64


def leave(results, study):
    """Return the spool of a study whose MLflow never answered."""
    folder = results / study / ".spool"
    left = Tracker("http://127.0.0.1:1", study, folder)
    left.start(KEY, Entry("depth=2"))
    left.epoch(KEY, 1, {"loss": 0.5}, {})
    left.finish(KEY, Status.DONE)
    left.close()
    return folder


@pytest.fixture
def spool(tmp_path):
    return leave(tmp_path / "results", "study")


def run(tmp_path, store):
    said = io.StringIO()
    return sync.run(
        ["--output", str(tmp_path / "results"), "--tracking-uri", store.uri], Console(file=said)
    ), said.getvalue()


@pytest.mark.usefixtures("spool")
def test_what_is_left_is_delivered_once(tmp_path, store):
    assert run(tmp_path, store) == (0, f"study: 1 of 1 trials delivered to {store.uri}\n")
    assert store.trials([KEY])[KEY].status == "done"
    assert run(tmp_path, store) == (0, f"{tmp_path / 'results'}: nothing is left to deliver\n")


def test_what_mlflow_refuses_stays_and_is_said(tmp_path, store, spool):
    store.client.delete_experiment(store.experiment_id("study"))
    status, said = run(tmp_path, store)
    assert (status, said.splitlines()[0]) == (1, f"study: 0 of 1 trials delivered to {store.uri}")
    assert "`mlflow experiments restore -x 1`" in said
    assert (spool / KEY / "trial.json").exists()


def test_a_study_that_is_running_is_left_to_itself(tmp_path, store, spool):
    with locked(spool / "driver.lock"):
        status, said = run(tmp_path, store)
    assert status == 1
    assert said.startswith(f"study: {spool} is in use by process ")


def test_names_are_shown_as_they_stand(tmp_path, store, monkeypatch, capsys):
    results = tmp_path / "[red]x[/]"
    leave(results, "[bold]y :smile:")
    monkeypatch.setattr(sys, "argv", [sync.__file__, "--output", str(results), "--tracking-uri", store.uri])
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # the command's own handling of SIGTERM stays out of here
    for said in (
        f"[bold]y :smile:: 1 of 1 trials delivered to {store.uri}\n",
        f"{results}: nothing is left to deliver\n",
    ):
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(sync.__file__, run_name="__main__")
        assert (ended.value.code, capsys.readouterr().out) == (0, said)


def test_a_folder_that_is_not_there_is_a_mistake(tmp_path, store):
    with pytest.raises(UserError, match="results, which is not a folder"):
        run(tmp_path, store)


def test_findings_are_delivered_and_counted(tmp_path, store, spool):
    run_id = store.client.create_run(store.experiment_id("study")).info.run_id
    others = tmp_path / "results" / "evaluate" / ".spool"  # a place without trials
    for where, folder in ((spool, "analysis/x"), (spool, "analysis/y"), (others, "evaluation/z")):
        keep(where, (run_id, folder), {"finding.json": b"{}"})
    keep(others, ("0" * 32, "evaluation/z"), {"finding.json": b"{}"})
    status, said = run(tmp_path, store)
    first, refused, *others = said.splitlines()
    assert (status, first) == (1, f"evaluate: 1 of 2 findings delivered to {store.uri}")
    assert refused.startswith(f"warning: evaluation/z of run {'0' * 32} is refused by MLflow and stays in ")
    assert others == [
        f"study: 1 of 1 trials delivered to {store.uri}",
        f"study: 2 of 2 findings delivered to {store.uri}",
    ]
    assert {each.path for each in store.client.list_artifacts(run_id, "analysis")} == {"analysis/x", "analysis/y"}
