"""`sweeps/evaluate.py` on a model in a store of its own: no Ray, no server."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow.exceptions import MlflowException
from PIL import Image
from rich.console import Console

from sweeps import evaluate, sync
from sweeps.tracking.findings import advice
from sweeps.tracking.store import Store
from tests.damage import make_huge
from trainables.checkpoint import pack
from trainables.config import CNN, Training, Trial
from trainables.errors import UserError
from trainables.history import History
from trainables.replicate import replicate
from trainables.train import predict, train

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


@pytest.fixture
def kept(store, tiny):
    """A finished trial in a store: its run, and the network."""
    trial = Trial(model=CNN(conv_layers=1, channels=4, fc_layers=1), training=Training(epochs=1))
    members = [replicate(trial, tiny, 0, torch.device("cpu"))]
    [epoch] = train(trial, tiny, members, torch.device("cpu"))
    tags = {"key": "a" * 64, "status": "done"}
    run = store.client.create_run(store.experiment_id("study"), tags=tags, run_name="lr: 0.1").info.run_id
    files = {name.removeprefix("checkpoint/"): content for name, content in pack(trial, tiny, members).items()}
    store.attach(run, "checkpoint", files)
    store.client.log_text(run, json.dumps(History({0: epoch.records}).to_dict()), "curves.json")
    return run, members[0].model


@pytest.fixture
def handed_over(tmp_path, tiny):
    """A folder of images that came later: seven of the test images, of two of the three classes."""
    for number in range(7):
        folder = tmp_path / "later" / tiny.class_names[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(tiny.test.images[number]).save(folder / f"{number}.png")
    return tmp_path / "later", tiny.test.images[:7], np.arange(7) % 2


@pytest.mark.parametrize("what", ["run", "study"])
def test_a_model_is_scored_on_a_folder_of_images(what, kept, handed_over, store, tmp_path):
    run, model = kept
    folder, images, labels = handed_over
    said = io.StringIO()
    places = ["--tracking-uri", store.uri, "--output", str(tmp_path / "results")]
    asked = run if what == "run" else "study"
    assert evaluate.run([asked, "--dataset", f"folder:{folder}", *places], Console(file=said, width=200)) == 0

    right = predict(model, torch.from_numpy(images)).argmax(1).numpy() == labels
    [place] = (tmp_path / "results" / "evaluate" / run).iterdir()
    rows = list(csv.reader((place / "evaluation.csv").read_text().splitlines()))
    expected = [right.mean(), right[labels == 0].mean(), right[labels == 1].mean()]
    assert [float(row[2]) for row in rows[1:4]] == pytest.approx([100 * share for share in expected])
    assert [row[:2] for row in rows[1:]] == [["all", "7"], ["class0", "4"], ["class1", "3"], ["class2", "0"]]
    assert f"study, lr = 0.1 on 7 images of folder:{folder}: accuracy {100 * right.mean():.2f} %" in said.getvalue()
    attached = store.attached(run, f"evaluation/{place.name}")
    assert attached == {file.name: file.read_bytes() for file in place.iterdir()}


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stduy"], "'stduy' is neither a run's id nor a study in .*; did you mean 'study'"),
        (["study", "--dataset", "cifar10"], "cifar10"),
        (["study", "--dataset", "cifar11"], "cifar11.*did you mean 'cifar10'"),
    ],
)
def test_what_cannot_be_scored_is_answered_in_one_line(arguments, message, store):
    arguments = arguments if "--dataset" in arguments else [*arguments, "--dataset", "cifar10"]
    with pytest.raises(UserError, match=message) as caught:
        evaluate.run([*arguments, "--tracking-uri", store.uri], Console())
    assert "\n" not in str(caught.value)


def test_a_result_that_mlflow_does_not_take_is_shown_kept_and_delivered_later(
    kept, handed_over, store, tmp_path, monkeypatch
):
    run, _ = kept
    said, output = io.StringIO(), tmp_path / "results"
    console = Console(file=said, width=200)
    arguments = [run, "--dataset", f"folder:{handed_over[0]}", "--tracking-uri", store.uri, "--output", str(output)]

    def away(*_):
        raise MlflowException("API request failed: connection refused")

    monkeypatch.setattr(Store, "attach", away)
    assert evaluate.run(arguments, console) == 1
    [place] = (output / "evaluate" / run).iterdir()
    *_, files, warning, rest = said.getvalue().splitlines()
    assert files.startswith(f"files: {place} · MLflow: ")
    assert warning.endswith(
        f"evaluation/{place.name} of run {run}: MlflowException: API request failed: connection refused"
    )
    assert rest == advice(output / "evaluate" / ".spool", store.uri)
    assert (place / "evaluation.csv").is_file()

    monkeypatch.undo()
    said.truncate(0)
    assert sync.run(["--output", str(output), "--tracking-uri", store.uri], console) == 0
    assert f"evaluate: 1 of 1 findings delivered to {store.uri}\n" in said.getvalue()
    attached = store.attached(run, f"evaluation/{place.name}")
    assert attached == {file.name: file.read_bytes() for file in place.iterdir()}


def test_a_result_that_the_disk_does_not_take_is_one_line(kept, handed_over, store, tmp_path):
    run, _ = kept
    output = tmp_path / "results"
    (output / "evaluate").mkdir(parents=True)
    (output / "evaluate" / ".spool").write_text("a file in the folder's place")
    places = ["--tracking-uri", store.uri, "--output", str(output)]
    with pytest.raises(
        UserError, match=r"^the result cannot be kept for MLflow in .*/evaluate/\.spool: Not a directory$"
    ):
        evaluate.run([run, "--dataset", f"folder:{handed_over[0]}", *places], Console(file=io.StringIO()))


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("call", ["finished", "checkpoint"])
def test_an_mlflow_that_goes_away_at_the_start_is_one_line(call, store, monkeypatch):
    def away(*_):
        raise MlflowException("API request failed:\nconnection refused")

    monkeypatch.setattr(Store, call, away)
    with pytest.raises(UserError) as caught:
        evaluate.run(["study", "--dataset", "cifar10", "--tracking-uri", store.uri], Console())
    why = "MlflowException: API request failed: connection refused"
    assert str(caught.value) == f"cannot read MLflow at {store.uri}: {why}"


@pytest.mark.parametrize("name", ["weights.safetensors", "trial.json"])
@pytest.mark.parametrize("how", ["cut", "gone", "huge"])
def test_a_model_whose_files_are_damaged_is_named_in_one_line(kept, store, name, how):
    run, _ = kept
    path = Path(store.client.get_run(run).info.artifact_uri) / "checkpoint" / name
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    elif how == "gone":
        path.unlink()
    else:
        make_huge(path, path.read_bytes())
    with pytest.raises(UserError, match=rf"run {run} .*{name}") as caught:
        evaluate.run([run, "--dataset", "cifar10", "--tracking-uri", store.uri], Console())
    assert len(str(caught.value).splitlines()) == 1
