"""A study as MLflow's own pages show it. Skipped where there is no Chromium, or an MLflow without its pages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Metric, Param, RunTag

from sweeps.decisions.outcome import Yardstick
from sweeps.decisions.records import StageResult
from sweeps.decisions.stages import Stage
from sweeps.decisions.winner import choose
from sweeps.tracking import stage_runs, views
from sweeps.tracking.entry import params
from sweeps.tracking.store import Store
from sweeps.tracking.summary import summary
from tests.browser import browser, shown
from tests.sweeps.outcomes import outcome
from trainables.config import Training, Trial

WIDTH = 2600  # pixels: columns beyond the window's edge are not in the page
# MLflow's pages and what they ask for, without the ten processes that `mlflow server` starts for other ends
SERVE = """
from werkzeug.serving import make_server
from mlflow.server import app
server = make_server("127.0.0.1", 0, app, threaded=True)
print(server.server_port, flush=True)
server.serve_forever()
"""

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


@pytest.fixture
def study(store: Store, tmp_path: Path) -> Store:
    """Return a store with a study of a stage of two trials."""
    trials = {lr: Trial(training=Training(lr=lr)) for lr in (0.1, 0.2)}
    made = [outcome(str(lr), [lr, 2.5 * lr]) for lr in trials]
    outcomes = [replace(each, cell=replace(each.cell, trial=trials[float(each.key)])) for each in made]
    runs, experiment = {}, store.experiment_id("study")
    for each in outcomes:
        run_id = runs[each.key] = store.client.create_run(experiment, run_name=f"lr: {each.key}").info.run_id
        metrics = [Metric(name, value, 1, 0) for name, value in summary(each, "accuracy").items()]
        entered = [Param(name, str(value)) for name, value in params(each.cell.trial).items()]
        store.client.log_batch(run_id, metrics, entered, [RunTag("key", each.key), RunTag("status", "done")])
    (tmp_path / "results").mkdir()
    result = StageResult(
        Stage("lr", {"training.lr": (0.1, 0.2)}), tuple(outcomes), choose(outcomes, Yardstick("accuracy", 100))
    )
    assert stage_runs.fill(store, "study", tmp_path / "results", [result], runs, "accuracy", print)
    views.describe(store, "study", "Which rate is best?\n\nThe larger one.")
    return store


@pytest.fixture
def seen(study: Store, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Return a function of a link within MLflow's pages: the page that it leads to."""
    browser()
    if not (Path(mlflow.__file__).parent / "server" / "js" / "build" / "index.html").exists():
        pytest.skip("this MLflow has no pages")
    where = {"_MLFLOW_SERVER_FILE_STORE": study.uri, "_MLFLOW_SERVER_ARTIFACT_ROOT": str(tmp_path / "mlruns")}
    with (tmp_path / "log").open("w") as log:
        command, environment = [sys.executable, "-c", SERVE], os.environ | where | {"DO_NOT_TRACK": "true"}
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
        try:
            assert server.stdout
            port = server.stdout.readline().strip()
            assert port, (tmp_path / "log").read_text()
            yield lambda link: shown(f"http://127.0.0.1:{port}/{link}", width=WIDTH)
        finally:
            server.terminate()
            server.communicate()


def cells(page: str, column: str) -> list[str]:
    """Return what a column of a table of runs shows, from above, without its heading."""
    of_column = re.escape(f'col-id="{column}"')
    return re.findall(rf'role="gridcell" {of_column}.*?class="ag-cell-value">([^<]*)<', page, re.DOTALL)


def test_mlflow_s_pages_open_on_trials_with_their_scores_and_on_charts_of_a_stage(
    seen: Callable[[str], str], study: Store
) -> None:
    experiment = study.client.get_experiment_by_name("study")
    (link,) = re.findall(r"\[Trials by score\]\((.*?)\)", experiment.tags["mlflow.note.content"])
    page = seen(link)
    assert cells(page, "metrics.`chosen_val_accuracy`") == ["0.5", "0.25"]  # best first, the stage's own run is none
    assert cells(page, "params.`lr`") == ["0.2", "0.1"]
    assert f'href="{link.replace("&", "&amp;")}"' in page  # in the first line of the description
    page = seen(views.address(experiment.experiment_id, "stage.lr", charts=True))
    (drawn,) = re.findall(r'class="parcoords".*?</svg>', page, re.DOTALL)
    assert re.findall(r'class="label">([^<]*)<', drawn) == ["lr", "chosen_val_accuracy", "chosen_test_accuracy"]
