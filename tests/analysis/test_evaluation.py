"""A finished model on images that came later, against what training said of the same images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.evaluation import evaluation
from analysis.report import Measured
from analysis.subject import subject
from trainables import devices
from trainables.checkpoint import load, pack
from trainables.config import CNN, Training, Trial
from trainables.datasets import load as load_data
from trainables.replicate import replicate
from trainables.scoring import score
from trainables.train import predict, train

CPU = torch.device("cpu")


def examine(data, labels=None, seeds=(0, 1)):
    trial = Trial(model=CNN(conv_layers=1, channels=4, fc_layers=1), training=Training(epochs=1, crop=8))
    members = [replicate(trial, data, seed, CPU) for seed in seeds]
    last = list(train(trial, data, members, CPU))[-1]
    test = data.test if labels is None else replace(data.test, labels=labels)
    return evaluation(load(pack(trial, data, members)), test, "later", "net", CPU), last


def test_on_the_test_images_it_says_what_training_said(tiny):
    found, last = examine(tiny)
    accuracies = 100 * last.values("test_score")
    rows = found.tables["evaluation"].rows
    assert rows[0][:2] == ("all", 30)
    assert (rows[0][2].mean, rows[0][2].sd, rows[0][2].n) == (
        pytest.approx(accuracies.mean()),
        pytest.approx(accuracies.std(ddof=1)),
        2,
    )
    assert [row[:2] for row in rows[1:]] == [(name, 10) for name in tiny.class_names]
    per_class = 100 * np.array([record.class_score for record in last.records]).mean(axis=0)
    assert [row[2].mean for row in rows[1:]] == pytest.approx(per_class.tolist())
    counts = found.arrays["confusion"]  # rows: true classes
    assert counts.sum(axis=1).tolist() == [10, 10, 10]
    assert np.diag(counts).tolist() == pytest.approx((per_class / 10).tolist())
    mean, sd = accuracies.mean(), accuracies.std(ddof=1)
    assert found.text[0].startswith(f"net on 30 images of later, 2 seeds: accuracy {mean:.2f} ± {sd:.2f} (2) %, loss ")
    assert found.figures["confusion"].caption == "net on 30 images of later, 2 seeds. Counts are means over the seeds."
    rows = found.tables["confusion"].rows
    assert rows == tuple((name, *row) for name, row in zip(tiny.class_names, counts.tolist(), strict=True))


def test_a_single_seed_has_no_spread(tiny):
    found, last = examine(tiny, seeds=(0,))
    accuracy = 100 * last.records[0].test_score
    assert found.text[0].startswith(f"net on 30 images of later: accuracy {accuracy:.2f} %, loss ")
    assert found.tables["evaluation"].rows[0][2] == Measured(pytest.approx(accuracy), None, 1)
    assert found.figures["confusion"].caption == "net on 30 images of later."


def test_several_labels_are_scored_by_average_precision(tiny):
    """The labels are what the network says itself, so that each class is ranked without a mistake."""
    trial = Trial(model=CNN(conv_layers=1, channels=4, fc_layers=1), training=Training(epochs=1))
    [member] = [replicate(trial, tiny, 0, CPU)]
    list(train(trial, tiny, [member], CPU))
    model = load(pack(trial, tiny, [member]))
    logits = predict(model.models[0], torch.from_numpy(tiny.test.images))
    labels = (logits > logits.median(0).values).numpy().astype(np.int8)
    found = evaluation(model, replace(tiny.test, labels=labels), "later", "net", CPU)
    assert found.text[0].startswith("net on 30 images of later: mAP 100.00 %, loss ")
    assert found.tables["evaluation"].columns[2].name == "AP %"
    assert [row[1] for row in found.tables["evaluation"].rows] == [30, 15, 15, 15]
    assert not found.figures


def test_a_class_without_images_stays_unknown(tiny):
    found, _ = examine(tiny, labels=np.arange(30) % 2)
    assert found.tables["evaluation"].rows[3] == ("class2", 0, None)


@pytest.mark.parametrize("name", ["shapes", "scenes"])
def test_a_checkpoint_has_one_score(name, monkeypatch):
    """What training recorded at the best epoch, what a Subject says, and what evaluation says, although training
    computes in bfloat16."""
    monkeypatch.setattr(devices, "computing_dtype", lambda _: torch.bfloat16)
    monkeypatch.setattr(devices, "CAST_FLOPS", {"cpu": 0})
    data = load_data(name, Path())
    data = replace(data, train=data.train.take(np.arange(300)))
    model = CNN(conv_layers=2, channels=8, batch_norm=True, fc_layers=1)
    trial = Trial(dataset=name, model=model, training=Training(epochs=2, optimizer="adam", lr=0.003, crop=30))
    member = replicate(trial, data, 0, CPU)
    list(train(trial, data, [member], CPU))
    checkpoint = load(pack(trial, data, [member]))
    of = subject(checkpoint, data, "net", CPU)
    seen = score(torch.from_numpy(of.logits), torch.from_numpy(of.labels), trial.training.ap_rule)
    chosen = member.records[member.chosen.epoch - 1]
    assert (seen.value, seen.per_class) == (chosen.test_score, chosen.class_score)
    assert seen.loss == pytest.approx(chosen.test_loss, rel=1e-6)
    rows = evaluation(checkpoint, data.test, "it", "net", CPU).tables["evaluation"].rows
    assert [row[2].mean for row in rows] == [100 * value for value in (seen.value, *seen.per_class)]
