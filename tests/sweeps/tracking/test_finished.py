"""sweeps.tracking.finished on made-up trials."""

import contextlib
import json
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from sweeps.decisions.outcome import Outcome
from sweeps.decisions.status import Status
from sweeps.tracking.finished import (
    LONGEST,
    WINNERS,
    best,
    folder_name,
    folder_of,
    load,
    model_name,
    note_winners,
    validation_score,
    winner,
)
from sweeps.tracking.store import Store, StoredTrial
from tests.sweeps.finished import keep, trained
from tests.sweeps.outcomes import history, outcome
from trainables.checkpoint import CheckpointError, pack
from trainables.config import CNN, Training, Trial
from trainables.errors import UserError
from trainables.replicate import replicate
from trainables.train import train


def trial(name, *replicates):
    curves = history(*replicates).to_dict() if replicates else None
    return StoredTrial("a" * 64, "run", "study", name, Status.DONE, curves, None)


def test_the_score_is_the_mean_over_replicates_of_the_best():
    assert validation_score(trial("x", [0.1, 0.75, 0.5], [0.25, 0.125])) == 0.5


def test_the_best_come_first_and_of_equals_the_one_named_first():
    trials = [trial("c", [0.5]), trial("d", [0.25]), trial("b", [0.5]), trial("a", [0.75, 0.0])]
    assert [each.name for each in best(trials, 3)] == ["a", "b", "c"]


def test_a_run_that_has_lost_its_curves_is_named():
    with pytest.raises(UserError, match=r"^run run \(x\) has no readable curves\.json$"):
        best([trial("x")], 1)


@pytest.mark.parametrize(
    ("run", "name"),
    [
        ("channels: 32-64-256", "channels = 32-64-256"),
        ("conv_dropout: batch_norm=yes, conv_dropout=0.25", "batch_norm = yes, conv_dropout = 0.25"),
        ("search: #5", "search: #5"),
        ("epochs: as it starts", "epochs"),
        ("recheck: final winner", "recheck: final winner"),
        ("recheck: fc_layers 2", "recheck: fc_layers 2"),
        ("renamed by hand", "renamed by hand"),
    ],
)
def test_a_model_is_named_by_its_study_and_its_values(run, name):
    assert model_name(trial(run, [0.5])) == f"study, {name}"


def test_the_folder_of_a_model_is_where_earlier_versions_put_it():
    assert folder_of(trial("channels: 32-64-256")) == "study_channels_32-64-256"


@pytest.mark.parametrize(
    ("text", "name"),
    [("depth: lr=0.1", "depth_lr=0.1"), ("../x", "x"), ("..", "unnamed"), ("größe", "gr_e"), ("a" * 120, "a" * 120)],
)
def test_folder_names_are_safe(text, name):
    assert folder_name(text) == name


def test_a_long_folder_name_ends_in_its_hash():
    assert len(folder_name("x" * 121)) == LONGEST
    assert re.fullmatch("x{111}-[0-9a-f]{8}", folder_name("x" * 121))
    assert folder_name("x" * 121) != folder_name("x" * 122)


def test_a_model_that_cannot_be_read_is_named_with_its_run():
    away = SimpleNamespace(checkpoint=lambda _: {}, readable=contextlib.nullcontext)
    told = r"^run run \(x\) has no model that can be read: the checkpoint has no checkpoint/weights\.safetensors; it "
    with pytest.raises(CheckpointError, match=told):
        load(away, trial("x", [0.5]))


def test_a_model_comes_back(tiny):
    spec = Trial(model=CNN(conv_layers=1, channels=4, fc_layers=1), training=Training(epochs=1))
    members = [replicate(spec, tiny, 0, torch.device("cpu"))]
    list(train(spec, tiny, members, torch.device("cpu")))
    files = pack(spec, tiny, members)
    store = SimpleNamespace(checkpoint=lambda run_id: {"run": files}[run_id], readable=contextlib.nullcontext)
    assert load(store, trial("x", [0.5])).trial == spec


# MLflow 3.17's own mapping, on SQLAlchemy 2.1; nothing of ours.
WITH_MLFLOW = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


def won(key: str, score: float) -> Outcome:
    return replace(outcome(key, [score]), key=key * 64)


def noted(store: Store) -> dict[str, list[object]]:
    return json.loads(store.client.get_experiment_by_name("study").tags[WINNERS])


@WITH_MLFLOW
def test_a_study_says_who_won_and_keeps_what_was_decided_before(store):
    note_winners(store, "study", {})
    assert store.client.get_experiment_by_name("study") is None
    note_winners(store, "study", {"lr": won("a", 0.7), "width": won("b", 0.8)})
    note_winners(store, "study", {"width": won("c", 0.6)})
    assert noted(store) == {"lr": ["a" * 64, 0.7], "width": ["c" * 64, 0.6]}
    note_winners(store, "study", {f"stage{number:03}": won("d", 0.5) for number in range(100)})
    assert len(noted(store)) == 2  # more than a tag holds


@WITH_MLFLOW
def test_the_winner_is_the_best_of_all_stages_whenever_they_were_decided(store, tiny):
    files, _ = trained(tiny, (0,))
    runs = {key: keep(store, files, key * 64) for key in "abc"}
    note_winners(store, "study", {"lr": won("b", 0.7)})
    note_winners(store, "study", {"stride": won("c", 0.3)})
    assert winner(store, "study").run_id == runs["b"]
    assert winner(store, "study", "stride").run_id == runs["c"]
    assert winner(store, runs["a"]).run_id == runs["a"]


@WITH_MLFLOW
@pytest.mark.parametrize("text", ["", "nonsense", "[1]", "{}", '{"lr": 3}', '{"lr": ["x"]}', '{"lr": ["x", "y"]}'])
def test_who_won_is_not_known_where_the_tag_makes_no_sense(store, tiny, text):
    run = keep(store, trained(tiny, (0,))[0], "a" * 64)
    store.client.set_experiment_tag(store.experiment_id("study"), WINNERS, text)
    assert winner(store, "study").run_id == run
    with pytest.raises(UserError, match=r"^study does not say who won its stages"):
        winner(store, "study", "lr")


@WITH_MLFLOW
def test_a_winner_whose_run_is_gone_gives_way_to_the_best_that_is_left(store, tiny):
    left = keep(store, trained(tiny, (0,))[0], "a" * 64)
    note_winners(store, "study", {"lr": won("b", 0.9)})
    assert winner(store, "study").run_id == left
    with pytest.raises(UserError, match=r"^MLflow at .* has lost the run of the winner of study, lr$"):
        winner(store, "study", "lr")
