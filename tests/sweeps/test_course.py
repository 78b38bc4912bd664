"""A report from what MLflow has, without Ray; that it is the run's own, to the byte: test_engine.py."""

import io
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from sweeps import preparing
from sweeps.course import Course, write_report
from sweeps.decisions.planning import plan_study
from sweeps.decisions.records import Drawn
from sweeps.options import RunOptions
from sweeps.study import Choice, Search, Space
from tests.sweeps.finished import keep, trained
from tests.sweeps.folders import study_on
from trainables import datasets
from trainables.config import CNN, Trial

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


def test_a_search_that_has_trials_to_draw_looks_for_others_to_learn_from(monkeypatch):
    base = Trial("shapes", CNN(conv_layers=1))
    space = Space({"training.lr": Choice((0.01, 0.1))})
    first, chance = Search("first", space, trials=2), Search("chance", space, trials=2, sampler="random")
    timed = Search("timed", space, trials=2, constraint={"seconds": 9})
    looked = []
    monkeypatch.setattr("sweeps.course.inside", lambda *asked: looked.append(asked) or ["found"])
    store = SimpleNamespace(patiently=lambda look, _: look())

    def others(stage, drawn, **options):
        prepared = SimpleNamespace(options=RunOptions(**options), terms=SimpleNamespace(key=None))
        return Course(prepared, store, Console(file=io.StringIO()), []).others({"first": drawn}, stage, base)

    one, two = (Drawn(str(number), number, number, {}) for number in range(2))
    assert others(first, [one]) == ["found"]
    assert looked == [(store, space, base, None, {"0"})]
    assert others(first, [one, two]) == ()  # it has all its trials
    assert others(chance, []) == ["found"]  # it learns nothing, and may draw what is trained
    assert others(timed, []) == ()
    assert others(first, [], fresh=True) == ()
    assert len(looked) == 2
