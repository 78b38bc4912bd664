from dataclasses import replace

import pytest

from analysis.report import Measured
from sweeps.decisions.outcome import Outcome, Yardstick
from sweeps.decisions.records import StageResult
from sweeps.decisions.status import Status
from sweeps.decisions.winner import choose
from sweeps.reporting.display import describe
from sweeps.reporting.stage_report import report_on
from sweeps.reporting.tables import Facts, published_table, stage_table
from sweeps.study import Published, Stage
from tests.sweeps.outcomes import record, terms
from trainables.config import CNN, Trial
from trainables.history import History

TRIAL = Trial(model=CNN(conv_layers=1, channels=4, fc_layers=1))
STAGE = Stage("depth", {"model.conv_layers": (1, 2)}, published={1: Published(0.5, 61, 10, (70, 52))})
BY = Yardstick("accuracy", 100)
FACTS = Facts(("cat", "dog"), (3, 8, 8), BY, {"key-1": "run-1"})


def outcome(value, history, status="done", reason=None, stage=STAGE):
    [cell] = [cell for cell in stage.cells(TRIAL) if cell.values == (value,)]
    return Outcome(replace(cell, trial=TRIAL), f"key-{value}", Status(status), history, reason)


TWO = History(
    {
        0: (record(0.5, 0.40, 2.0), record(0.7, 0.60, 1.0), record(0.6, 0.65, 0.5)),
        1: (record(0.5, 0.50, 2.0), record(0.5, 0.55, 1.0), record(0.8, 0.50, 0.7)),
    }
)
RESULT = StageResult(
    STAGE,
    (outcome(1, TWO), outcome(2, History({}), "failed", "Diverged: the training loss became nan in epoch 1 (seed 0)")),
    choose([outcome(1, TWO)], BY),
)


def row(table, number):
    return dict(zip((column.name for column in table.columns), table.rows[number], strict=True))


def test_a_row_by_hand():
    cells = row(stage_table(RESULT, FACTS), 0)
    assert cells["final train loss"] == Measured(pytest.approx(0.6), pytest.approx(0.02**0.5), 2)
    assert cells["best test acc %"].mean == pytest.approx(
        (65 + 55) / 2
    )  # the reports' own protocol: each seed's best test epoch
    assert cells["at epoch"] == "3, 2"
    assert cells["validation acc %"].mean == pytest.approx((60 + 80) / 2)
    assert cells["chosen epoch"] == "3, 3"
    assert cells["test acc % (chosen epoch)"].mean == pytest.approx((65 + 50) / 2)
    assert cells["cat"].mean == pytest.approx(57.5)
    assert (cells["published loss"], cells["published best test acc %"], cells["published epoch"]) == (0.5, 61, 10)
    assert (cells["MLflow run"], cells["key"]) == ("run-1", "key-1")
    assert cells["parameters"] == 4 * 28 + (4 * 3 * 3 * 2 + 2)


def test_speeds_are_medians_as_the_first_epochs_include_warming_up():
    speeds = ((10, 9.0), (100, 1.0), (120, 1.1))
    rows = tuple(replace(record(0.5), images_per_second=rate, seconds=seconds) for rate, seconds in speeds)
    result = StageResult(STAGE, (outcome(1, History({0: rows})),))
    cells = row(stage_table(result, FACTS), 0)
    assert (cells["images/s"].mean, cells["s/epoch"].mean) == (100, 1.1)


def test_what_is_missing_stays_missing():
    cells = row(stage_table(RESULT, FACTS), 1)
    assert cells["status"] == "failed"
    known = {"depth", "status", "parameters", "FLOPs", "key"}
    assert all(value is None for name, value in cells.items() if name not in known)


def test_without_published_numbers_there_are_no_such_columns():
    stage = Stage("depth", {"model.conv_layers": (1, 2)})
    plain = StageResult(stage, tuple(outcome(value, TWO, stage=stage) for value in (1, 2)), RESULT.winner)
    assert not any("published" in column.name for column in stage_table(plain, FACTS).columns)
    assert report_on(plain).reference() == []
    assert published_table(plain, FACTS) is None
    assert report_on(RESULT).reference() == [("1", 10, 0.61)]
    assert published_table(RESULT, FACTS).rows == (("1", 0.5, 61, 10, 70, 52),)


def test_a_censored_trial_is_marked_and_not_ranked():
    short = outcome(2, TWO.cut((0, 1), 1), "censored")
    result = StageResult(STAGE, (outcome(1, TWO), short), choose([outcome(1, TWO), short], BY))
    table = stage_table(result, FACTS)
    assert table.eligible == (True, False)
    assert any(
        "Not compared: conv_layers = 2 (stopped at epoch 1, " in line for line in report_on(result).words(terms())
    )
    assert describe(short) == "stopped early after 1 of 15 epochs: validation 50.0 %, test 45.0 %"


@pytest.mark.parametrize(("classes", "shown"), [(40, True), (41, False)])
def test_more_classes_than_anyone_reads_are_in_the_csv_alone(classes, shown):
    names = tuple(f"class {n}" for n in range(classes))
    many = History({0: (replace(record(0.5), class_score=(0.25,) * classes),)})
    table = stage_table(StageResult(STAGE, (outcome(1, many),)), replace(FACTS, class_names=names))
    assert {column.show for column in table.columns if column.name in names} == {shown}
    assert row(table, 0)["class 7"].mean == pytest.approx(25)
    elsewhere = "" if shown else "; the scores of its 41 classes are in depth.csv"
    assert table.title == f"depth (conv_layers){elsewhere}"
