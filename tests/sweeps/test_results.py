"""What a study has come to, as values: against a study that is worked out by hand."""

import math
from pathlib import Path

import numpy as np
import pytest

from analysis.report import Measured
from sweeps.decisions.outcome import Outcome, Yardstick
from sweeps.decisions.records import StageResult
from sweeps.decisions.stages import Cell, Stage
from sweeps.decisions.status import Status
from sweeps.decisions.winner import choose
from sweeps.reporting.tables import Facts
from sweeps.results import COLUMNS, Ended, Results
from tests.sweeps.outcomes import history
from trainables.config import CNN, ResNet, Training, Trial
from trainables.history import History

BASE = Trial("cifar10", CNN(conv_layers=1, channels=4, fc_layers=1), Training(epochs=2))
BY = Yardstick("accuracy", 100)


def outcome(path: str, value: object, key: str, *scores: float, status: Status = Status.DONE) -> Outcome:
    made = history(*([score] for score in scores)) if scores else History({})
    return Outcome(Cell(str(value), (value,), BASE.with_values({path: value})), key, status, made)


@pytest.fixture
def results(tmp_path) -> Results:
    lr = [
        outcome("training.lr", 0.1, "a", 0.5, 0.7),
        outcome("training.lr", 0.2, "b", 0.9, 0.7),
        outcome("training.lr", 0.3, "c", status=Status.FAILED),
    ]
    width = [outcome("model.channels", 6, "d", 0.6)]
    decided = [
        StageResult(Stage("lr", {"training.lr": (0.1, 0.2, 0.3)}), tuple(lr), choose(lr, BY)),
        StageResult(Stage("width", {"model.channels": (6,)}), tuple(width), choose(width, BY)),
        StageResult(Stage("skipped", {"model.conv_layers": (2,)}), skipped="no winner to start from"),
    ]
    for name in ("lr-loss.png", "lr-accuracy.png", "width-loss.svg", "other.png", "lr.csv"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "report.html").write_text('<html lang="en"><p>5 > 4</p></html>')
    facts = Facts(("x", "y"), (3, 8, 8), BY, {"a": "run a", "b": "run b", "d": "run d"})
    return Results(1, Ended("study", decided, facts, tmp_path, "sqlite:///there", True))


def test_a_frame_has_a_row_for_each_trial_and_what_is_not_known_is_missing(results):
    frame = results.frame()
    assert list(frame.columns) == [*COLUMNS, "training.lr", "model.channels", "model.conv_layers"]
    assert frame["stage"].tolist() == ["lr", "lr", "lr", "width"]
    assert frame["status"].tolist() == ["done", "done", "failed", "done"]
    assert frame["training.lr"].tolist()[:3] == [0.1, 0.2, 0.3]
    assert frame["model.channels"].tolist() == [4, 4, 4, 6]
    np.testing.assert_allclose(frame["validation_mean"], [0.6, 0.8, math.nan, 0.6])
    np.testing.assert_allclose(frame["validation_sd"], [0.2 / math.sqrt(2), 0.2 / math.sqrt(2), math.nan, math.nan])
    assert frame["validation_n"].fillna(0).tolist() == [2, 2, 0, 1]
    assert frame["run_id"].fillna("").tolist() == ["run a", "run b", "", "run d"]
    # 3×3 convolution of 3 channels to 4 with biases: 112; then 6×6 pooled to 3×3, and 36 + 1 to each of two classes
    assert frame["parameters"].tolist()[0] == 112 + 2 * (4 * 3 * 3 + 1)
    assert frame["epochs"].tolist() == [1, 1, 0, 1]


def test_winners_are_told_by_stage_and_the_best_of_them_alone(results):
    assert list(results.winners) == ["lr", "width"]
    best = results.winner
    assert (best.stage, best.value, best.run_id, best.values["training.lr"]) == ("lr", "0.2", "run b", 0.2)
    assert best.validation == Measured(pytest.approx(0.8), pytest.approx(0.2 / math.sqrt(2)), 2)


def test_nothing_has_no_winner_and_an_empty_frame(tmp_path):
    none = Results(1, Ended("study", (), Facts((), (3, 8, 8), BY, {}), tmp_path, "", False))
    assert (none.winner, none.winners, none.figures) == (None, {}, {})
    assert list(none.frame().columns) == list(COLUMNS)
    assert len(none.frame()) == 0


def test_a_field_that_a_network_does_not_have_is_missing(tmp_path):
    stage = Stage("depth", {"model.conv_layers": (1,)})
    resnet = Outcome(Cell("resnet", (), Trial("cifar10", ResNet(), Training())), "a", Status.FAILED, History({}))
    decided = [StageResult(stage, (resnet, outcome("model.conv_layers", 1, "b", 0.5)))]
    frame = Results(0, Ended("study", decided, Facts(("x", "y"), (3, 8, 8), BY, {}), tmp_path, "", False)).frame()
    assert frame["model.conv_layers"].fillna(0).tolist() == [0, 1]


def test_figures_are_the_files_of_the_stages_by_name(results):
    assert results.figures == {
        name: results.ended.folder / file
        for name, file in (
            ("lr-accuracy", "lr-accuracy.png"),
            ("lr-loss", "lr-loss.png"),
            ("width-loss", "width-loss.svg"),
        )
    }


def test_a_notebook_shows_the_report_in_a_frame_or_a_link_where_it_is_large(results, monkeypatch):
    assert results.report == Path(results.ended.folder) / "report.html"
    shown = results._repr_html_()
    assert 'srcdoc="&lt;html lang=&quot;en&quot;&gt;&lt;p&gt;5 &gt; 4' in shown
    monkeypatch.setattr("sweeps.results.LARGEST", 10)
    assert results._repr_html_() == f'<a href="{results.report}">{results.report}</a>'
