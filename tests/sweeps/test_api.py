"""The doors from Python: best() on a store, the options of run(), and all of it in a notebook."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient
from PIL import Image

from sweeps.api import _options, best, plan, run
from sweeps.options import RunOptions
from sweeps.part_a import STUDY
from sweeps.tracking.finished import note_winners
from tests.sweeps.finished import TRIAL, keep, trained
from tests.sweeps.outcomes import outcome
from trainables.errors import UserError
from trainables.train import predict

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


@pytest.fixture
def runs(store, tiny):
    """Three finished trials; the one named first has the highest score of all, and won nothing."""
    files, networks = trained(tiny)
    others = {"b": 6, "c": 8}
    found = {"a": keep(store, files, "a" * 64)}
    for key, channels in others.items():
        trial = replace(TRIAL, model=replace(TRIAL.model, channels=channels))
        found[key] = keep(store, trained(tiny, (0, 3), trial)[0], key * 64)
    return found, networks


def won(key: str, score: float):
    return replace(outcome(key, [score]), key=key * 64)


def test_the_best_winner_or_that_of_a_stage_or_a_run_is_loaded(store, runs, tiny):
    found, networks = runs
    note_winners(store, "study", {"lr": won("b", 0.7), "width": won("c", 0.9)})
    assert best("study", tracking_uri=store.uri).run_id == found["c"]
    assert best("study", stage="lr", tracking_uri=store.uri).run_id == found["b"]
    model = best(found["a"], seed=3, tracking_uri=store.uri)
    assert (model.run_id, model.seed, model.name) == (found["a"], 3, "study, lr = a")
    image = tiny.test.images[0]
    expected = predict(networks[1], torch.from_numpy(image[None])).softmax(1).numpy()
    np.testing.assert_allclose(model.predict(image).probabilities, expected, atol=1e-6)


def test_a_study_that_does_not_say_who_won_has_its_best_trial_taken(store, runs):
    found, _ = runs
    scores = {key: best(run_id, tracking_uri=store.uri) for key, run_id in found.items()}
    measured = {
        key: np.mean([entry["metrics"]["val_score"] for entry in model.checkpoint.info["replicates"]])
        for key, model in scores.items()
    }
    first = max(found, key=lambda key: (measured[key], -ord(key)))
    assert best("study", tracking_uri=store.uri).run_id == found[first]
    with pytest.raises(UserError, match=r"^study does not say who won its stages; the study's command notes it"):
        best("study", stage="lr", tracking_uri=store.uri)


@pytest.mark.usefixtures("runs")
def test_what_there_is_no_model_of_is_one_line(store, tmp_path):
    note_winners(store, "study", {"lr": won("b", 0.7)})
    for what, how, message in (
        ("stduy", {}, r"^'stduy' is neither a run's id nor a study in .*; did you mean 'study'\?$"),
        ("study", {"stage": "lt"}, r"^study has no stage 'lt' with a winner; known: lr$"),
        ("study", {"seed": 1}, r"^study, lr = b was not trained with seed 1, but with 0, 3$"),
        ("0" * 32, {}, "has no run 000000"),
        (STUDY, {}, r"^best\(\) takes a study's name or a run's id, but got a Study$"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            best(what, tracking_uri=store.uri, **how)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"^there is no database .*none\.db; give the tracking URI"):
        best("study", tracking_uri=f"sqlite:///{tmp_path / 'none.db'}")
    assert not (tmp_path / "none.db").exists()


def test_the_options_are_the_command_s():
    given = {
        "seeds": 3,
        "early_stopping": False,
        "stages": ("conv_layers", "stride"),
        "quick": True,
        "fresh": False,
        "output": Path("~/out"),
        "epochs": None,
        "address": "here",
    }
    assert _options(STUDY, given) == RunOptions(
        seeds=3,
        early_stopping=False,
        stages=("conv_layers", "stride"),
        quick=True,
        output=Path("~/out").expanduser(),
        address="here",
    )
    assert _options(STUDY, {"early_stopping": True, "stages": "stride"}).stages == ("stride",)


@pytest.mark.parametrize(
    ("study", "options", "message"),
    [
        ("part_a", {}, "run() takes a Study, as `from sweeps.part_a import STUDY` gives one, but got 'part_a'"),
        (STUDY, {"seed": 3}, "there is no option 'seed'; did you mean 'seeds'?"),
        (STUDY, {"dry_run": True}, "run() has no option 'dry_run'; plan() prints the plan"),
        (STUDY, {"seeds": 0}, "--seeds is 0, but must be at least 1"),
        (STUDY, {"seeds": -1}, "--seeds is -1, but must be at least 1"),
        (STUDY, {"seeds": "many"}, "--seeds: 'many' is not a whole number"),
    ],
)
def test_a_mistake_in_the_options_is_one_line(study, options, message):
    with pytest.raises(UserError) as caught:
        run(study, **options)
    assert str(caught.value) == message


def test_a_plan_is_printed_and_nothing_is_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    plan(STUDY, quick=True, num_gpus=0)
    assert "conv_layers" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_the_doors_cost_a_command_nothing():
    code = (
        "import sys, sweeps.main; assert 'sweeps.api' not in sys.modules; from sweeps import best, plan, run; "
        "print(best.__module__, 'mlflow' in sys.modules, 'ray' in sys.modules); import sweeps; sweeps.nothing"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "sweeps.api False False\n"
    assert done.stderr.endswith("AttributeError: module 'sweeps' has no attribute 'nothing'\n")


CELLS = (
    """
from sweeps import best, run
from sweeps.study import Stage, Study
from trainables.config import CNN, Training, Trial
training = Training(epochs=2, batch_size=16)
base = Trial("folder:images", CNN(conv_layers=1, channels=4, fc_layers=1), training)
study = Study("small", base, (Stage("lr", {"training.lr": (0.001, 0.05)}),))
done = run(study, num_gpus=0, num_cpus=1, early_stopping=False)
""",
    "done",
    "print(done.status, done.frame()[['training.lr', 'status', 'epochs', 'validation_n']].to_csv(index=False))",
    "print(done.winner.run_id == done.winner.model().run_id == best('small', stage='lr').run_id, *done.figures)",
    "best('small').predict('images/test/class1/001.png')",
    "best('small').analyse('contact_sheet', ['images/test/class1/001.png'] * 2, ['class1'] * 2, per_class=1)",
    "best('smal')",
    "run(study, seed=2)",
)


def test_a_notebook_runs_a_study_and_asks_its_best_model(tmp_path, tiny):
    for part, split in (("train", tiny.train), ("test", tiny.test)):
        for number, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
            folder = tmp_path / "images" / part / tiny.class_names[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{number:03}.png")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS])
    NotebookClient(notebook, timeout=300, allow_errors=True, resources={"metadata": {"path": str(tmp_path)}}).execute()
    ran, shown, frame, winner, predicted, found, mistake, option = (cell.outputs for cell in notebook.cells)
    assert not [output for output in ran if output.output_type == "error"], ran
    assert shown[0].data["text/html"].startswith('<iframe srcdoc="&lt;!doctype html')
    assert frame[0].text.splitlines()[0] == "0 training.lr,status,epochs,validation_n"
    assert frame[0].text.splitlines()[1:3] == ["0.001,done,2,1", "0.05,done,2,1"]
    same, *figures = winner[0].text.split()
    assert same == "True"
    assert {"lr-accuracy", "lr-loss"} <= set(figures)
    assert predicted[0].data["text/plain"].count(" %") == 3
    assert "<img src=" in found[0].data["text/html"]
    assert mistake[0].ename == "UserError"
    [line] = mistake[0].traceback
    assert line.startswith("error: 'smal' is neither a run's id nor a study in sqlite:///")
    assert option[0].traceback == ["error: there is no option 'seed'; did you mean 'seeds'?"]
