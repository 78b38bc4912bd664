"""A report from what MLflow has, without Ray; that it is the run's own, to the byte: test_engine.py."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from sweeps import preparing
from sweeps.course import write_report
from sweeps.decisions.planning import plan_study
from sweeps.options import RunOptions
from tests.sweeps.finished import keep, trained
from tests.sweeps.folders import study_on
from trainables import datasets

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


def test_the_report_is_the_same_where_the_data_is_gone(store, tiny, tmp_path):
    study = replace(study_on(tmp_path / "images", tiny), question="What helps?")
    options = RunOptions(tracking_uri=store.uri, data_dir=tmp_path)

    def written(output: str) -> tuple[bytes, str]:
        text = io.StringIO()
        assert write_report(study, replace(options, output=tmp_path / output), Console(file=text, width=300)) == 0
        return (tmp_path / output / "study" / "report.html").read_bytes(), text.getvalue()

    prepared, _ = preparing.to_run(study, plan_study(study, (3, 12, 12), 3), options, Console(file=io.StringIO()))
    data = datasets.load(study.baseline.dataset, tmp_path)
    [trial] = prepared.planned[0].reachable
    run_id = keep(store, trained(data, (0,), trial)[0], prepared.terms.key(trial))
    from_data, said = written("first")
    assert "it is read from disk" in said
    preparing.keep(prepared, store, run_id, print)
    (tmp_path / "images").rename(tmp_path / "gone")
    from_mlflow, said = written("second")
    assert said == f"report: {tmp_path / 'second' / 'study' / 'report.html'}\n"
    assert from_mlflow == from_data
    counts = prepared.known.counts
    for there in ("What helps?", f"{counts['train']} training", "the first training images", prepared.known.digest):
        assert there in from_mlflow.decode()
