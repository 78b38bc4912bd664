"""sweeps.tracking.models against a real sqlite store."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.protos.databricks_pb2 import ENDPOINT_NOT_FOUND

from sweeps.decisions.outcome import Outcome
from sweeps.decisions.status import Status
from sweeps.tracking.models import log_best, log_model
from sweeps.tracking.store import Store
from sweeps.tracking.tracker import Tracker
from tests.sweeps.outcomes import outcome
from tests.sweeps.tracking.trials import KEY, run_of, start
from trainables.checkpoint import load, pack
from trainables.config import CNN, Training, Trial
from trainables.datasets import Dataset
from trainables.replicate import replicate
from trainables.train import train

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


@pytest.fixture
def run(tracker: Callable[..., Tracker], store: Store, tiny: Dataset) -> str:
    """Return the id of a run that has a trained model."""
    spec = Trial(model=CNN(conv_layers=1, channels=4, fc_layers=1), training=Training(epochs=1, batch_size=16))
    members = [replicate(spec, tiny, 0, torch.device("cpu"))]
    list(train(spec, tiny, members, torch.device("cpu")))
    writer = tracker()
    start(writer)
    writer.epoch(KEY, 1, {}, pack(spec, tiny, members))
    writer.finish(KEY, Status.DONE)
    assert writer.drain(20) == []
    return str(run_of(store).info.run_id)


LOAD = """
import sys
import mlflow, numpy, torch
mlflow.set_tracking_uri(sys.argv[1])
images = numpy.load(sys.argv[3])
program = mlflow.pytorch.load_model(sys.argv[2])
numpy.save(sys.argv[5], program(torch.from_numpy(images)).numpy(force=True))
assert "trainables" not in sys.modules
mlflow.pyfunc.load_model(sys.argv[2]).predict(images).to_csv(sys.argv[4], index=False)
import trainables
print(trainables.__file__)
"""


def test_a_program_without_this_package_loads_the_model_and_unpickles_nothing(
    store: Store, run: str, tiny: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloudpickle, "dump", None)  # nor is anything of ours pickled
    monkeypatch.setattr(cloudpickle, "dumps", None)
    model = log_model(store, run, "seeds 0; 1 epochs")
    images, answer, program = tmp_path / "images.npy", tmp_path / "answer.csv", tmp_path / "program.npy"
    np.save(images, tiny.test.images)
    arguments = [sys.executable, "-c", LOAD, store.uri, f"models:/{model}", *map(str, (images, answer, program))]
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")  # MLflow then looks into every record
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"/models/{model}/artifacts/code/trainables/" in done.stdout  # its own copy
    own = load(store.checkpoint(run)).models[0]
    with torch.no_grad():
        expected = own(torch.from_numpy(tiny.test.images).permute(0, 3, 1, 2)).softmax(1).numpy()
    assert answer.read_text().splitlines()[0] == "class0,class1,class2"
    np.testing.assert_allclose(np.loadtxt(answer, delimiter=",", skiprows=1), expected, rtol=1e-4)
    np.testing.assert_allclose(np.load(program), expected, rtol=1e-4)
    names = {path.name for path in (tmp_path / "mlruns").rglob("models/*/artifacts/**/*") if path.is_file()}
    assert not {name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".pth"))}


def test_a_model_is_logged_once_and_again_where_its_run_went_on(store: Store, run: str) -> None:
    store.client.log_metric(run, "chosen_val_accuracy", 0.5)
    store.client.log_metric(run, "best_val_accuracy", 0.75)
    first = log_model(store, run, "seeds 0; 1 epochs")
    assert log_model(store, run, "seeds 0; 1 epochs") == first
    assert log_model(store, run, "seeds 0; 2 epochs") != first
    [found] = [model for model in store.client.get_run(run).outputs.model_outputs if model.model_id == first]
    logged = store.client.get_logged_model(first)
    assert (found.step, logged.status, logged.source_run_id, logged.tags["key"]) == (0, "READY", run, KEY)
    assert logged.params == store.client.get_run(run).data.params != {}
    assert {"mlflow.source.name", "mlflow.user"} <= logged.tags.keys()
    assert {each.key: (each.value, each.model_id) for each in logged.metrics} == {"chosen_val_accuracy": (0.5, first)}
    schema = Model.load(logged.artifact_location).signature
    assert (schema.inputs.inputs[0].type, schema.inputs.inputs[0].shape) == (np.dtype("uint8"), (-1, 12, 12, 3))
    assert schema.outputs.input_names() == ["class0", "class1", "class2"]


def test_what_was_broken_off_is_gone_on_with(store: Store, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(store.client, "log_model_artifacts", full)
    with pytest.raises(OSError, match="No space"):
        log_model(store, run, "x")
    monkeypatch.undo()
    [pending] = store.client.search_logged_models([store.experiment_id("study")])
    assert pending.status == "PENDING"
    assert log_model(store, run, "x") == pending.model_id
    assert store.client.get_logged_model(pending.model_id).status == "READY"


def test_a_program_that_another_process_has_made_is_taken_and_else_it_is_made_here(store: Store, run: str) -> None:
    for trained, program, expected in (("x", lambda: b"made", b"made"), ("y", lambda: None, None)):
        place = Path(store.client.get_logged_model(log_model(store, run, trained, program)).artifact_location)
        content = (place / "program" / "model.pt2").read_bytes()
        assert content == expected or (expected is None and content.startswith(b"PK"))


def best(said: list[str], store: Store, run: str, *winners: Outcome) -> bool:
    return log_best(store, {each.key: each for each in winners}, {"good": run, "bad": "none"}, said.append)


def test_of_a_study_s_winners_the_best_on_validation_is_logged(store: Store, run: str) -> None:
    said: list[str] = []
    assert best(said, store, run, outcome("bad", [0.5]), outcome("good", [0.25, 0.75], [0.5, 0.75]))
    [model] = store.client.search_logged_models([store.experiment_id("study")])
    assert model.tags["trained"] == "seeds 0, 1; 2 epochs"
    assert best(said, store, run)  # none of it ran in full
    assert said == []


@pytest.mark.parametrize(
    ("error", "passes"),
    [(OSError("connection reset"), False), (MlflowException("no such endpoint", ENDPOINT_NOT_FOUND), True)],
)
def test_a_store_that_does_not_take_it_costs_a_line(
    store: Store, run: str, error: Exception, passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(store.client, "create_logged_model", fails)
    said: list[str] = []
    assert best(said, store, run, outcome("good", [0.5])) is passes
    [line] = said
    assert line.startswith(
        f"warning: the best model is not among MLflow's logged models: cannot read MLflow at {store.uri}"
    )
