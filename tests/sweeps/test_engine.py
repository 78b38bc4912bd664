"""The main path through Ray and MLflow, on one cluster for all."""

import csv
import errno
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import optuna
import pytest
import ray
from mlflow import MlflowClient
from PIL import Image
from rich.console import Console

from sweeps import analyse, engine, evaluate
from sweeps.course import write_report
from sweeps.decisions.acts import Act
from sweeps.engine import run_study
from sweeps.execution import hosts, memory, scheduler
from sweeps.execution.cluster import connect
from sweeps.execution.machines import Machines
from sweeps.execution.shared_data import SharedData
from sweeps.options import RunOptions
from sweeps.study import Choice, Search, Space, Stage, Study, Watch
from sweeps.tracking import acts, helm
from sweeps.tracking.store import Store
from trainables.checkpoint import load
from trainables.config import CNN, Training, Trial
from trainables.datasets import load as load_data
from trainables.datasets.shapes import CLASS_NAMES
from trainables.errors import UserError
from trainables.memory import total

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


@pytest.fixture(scope="module", autouse=True)
def cluster():
    with connect(Machines(num_gpus=0, num_cpus=2)):
        yield


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Decoded images are kept in the data folder, which is in the working directory."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def images(tmp_path_factory, tiny) -> Path:
    """The tiny data set as class folders."""
    root = tmp_path_factory.mktemp("images")
    for part, split in (("train", tiny.train), ("test", tiny.test)):
        for number, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
            folder = root / part / tiny.class_names[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{number:03}.png")
    return root


def study(images: Path, values=(0.001, 0.05), epochs=2) -> Study:
    base = Trial(
        f"folder:{images}", CNN(conv_layers=1, channels=4, fc_layers=1), Training(epochs=epochs, batch_size=16)
    )
    return Study(
        "small",
        base,
        (
            Stage("lr", {"training.lr": values}),
            Stage("width", {"model.channels": (4, 6)}),
            Stage("curve", start="width"),
        ),
    )


class Bench:
    """One results folder and one MLflow store, for several commands in a row."""

    def __init__(self, folder: Path):
        self.folder, self.uri = folder, f"sqlite:///{folder / 'mlflow.db'}"

    def run(self, study: Study, **options) -> tuple[int, str]:
        text = io.StringIO()
        options = RunOptions(
            output=self.folder / "results", tracking_uri=self.uri, **{"early_stopping": False} | options
        )
        return run_study(study, options, Console(file=text, width=200)), text.getvalue()

    def runs(self, name="small"):
        client = MlflowClient(self.uri)
        experiment = client.get_experiment_by_name(name)
        runs = client.search_runs([experiment.experiment_id], "tags.key LIKE '%'")
        return {run.info.run_name: run for run in runs}

    def stages(self, name="small"):
        """Return the runs of the stages, by name."""
        client = MlflowClient(self.uri)
        experiment = client.get_experiment_by_name(name)
        runs = client.search_runs([experiment.experiment_id], "tags.stage_run LIKE '%'")
        return {run.info.run_name: run for run in runs}

    def rows(self, stage: str, name="small") -> list[dict[str, str]]:
        return list(csv.DictReader((self.folder / "results" / name / f"{stage}.csv").read_text().splitlines()))


def test_workers_read_the_data_where_the_driver_put_it(tiny):
    """An array that is read-only on the worker is a view of the object store; a copy of it would be writable."""
    task = ray.remote(lambda data: [split.images.flags.writeable for split in (data.train, data.val, data.test)])
    assert ray.get(task.remote(ray.put(tiny))) == [False] * 3


def test_large_decoded_images_are_mapped_by_each_worker(tmp_path, images, monkeypatch):
    read = load_data(f"folder:{images}", tmp_path)
    monkeypatch.setattr(memory, "MAPPED_SHARE", 0.0)
    task = ray.remote(lambda data: (data.mapped, data.train.images.base is None, data.train.images.sum(), data.digest))
    found = ray.get(task.remote(SharedData(read).reference()))
    assert found == (read.mapped, False, read.train.images.sum(), read.digest)


def test_each_host_of_a_cluster_says_its_memory_and_what_it_sees(tmp_path):
    [(host, cores)] = hosts._asked(tmp_path)
    assert (host.memory, host.has, cores) == (total(), True, 2)
    assert [host.has for host, _ in hosts._asked(tmp_path / "nowhere")] == [False]


def test_a_study_that_does_not_fit_into_memory_is_refused_before_anything_starts(tmp_path, images, monkeypatch):
    monkeypatch.setattr("trainables.memory.total", lambda: 2 * 10**9)
    monkeypatch.setattr(scheduler, "execute", lambda *_: pytest.fail("nothing is to start"))
    with pytest.raises(UserError, match=r"^the study needs an estimated .* GB of memory, but this machine has 2\.0 GB"):
        Bench(tmp_path).run(study(images))


@pytest.mark.parametrize("but", [None, "a report is there", "a cluster", "too little memory", "joined already"])
def test_ray_starts_ahead_only_where_trials_will_likely_run_on_this_machine(tmp_path, monkeypatch, but):
    did = []
    if but == "a report is there":
        (tmp_path / "report.json").touch()
    monkeypatch.setattr("sweeps.execution.cluster.joined", lambda: but == "joined already")
    command = SimpleNamespace(
        options=SimpleNamespace(machines=Machines(num_gpus=0, address="head:1" if but == "a cluster" else None)),
        folder=tmp_path,
        demand=lambda _: SimpleNamespace(warnings=("it does not fit",) if but == "too little memory" else ()),
        ray=SimpleNamespace(begin=lambda: did.append("begun"), end=lambda: did.append("ended")),
    )
    with pytest.raises(KeyboardInterrupt), engine._ahead(command):
        raise KeyboardInterrupt
    assert did == (["ended"] if but else ["begun", "ended"])


def test_a_validation_part_that_came_with_the_data_is_not_split_again(tmp_path, images):
    for part, source in (("train", "train"), ("val", "test"), ("test", "test")):
        shutil.copytree(images / source, tmp_path / "given" / part)
    with pytest.raises(UserError, match="comes with a validation part"):
        Bench(tmp_path).run(study(tmp_path / "given"), vary_split=True)


def test_a_study_from_the_first_run_to_more_epochs_and_seeds(tmp_path, images):
    bench = Bench(tmp_path)
    status, said = bench.run(study(images))
    assert status == 0
    assert "Winner on validation" in said
    first = bench.runs()
    assert sorted(first) == ["lr: 0.001", "lr: 0.05", "width: 6"]  # width 4 and the curve are trials of earlier stages
    for logged in first.values():
        assert logged.info.status == "FINISHED"
        assert logged.data.tags["status"] == "done"
        assert {"study", "stage", "key", "dataset", "device"} <= logged.data.tags.keys()
        [row] = [row for row in bench.rows(logged.data.tags["stage"]) if row["MLflow run"] == logged.info.run_id]
        shown = {"validation acc %": "chosen_val_accuracy", "test acc % (chosen epoch)": "chosen_test_accuracy"}
        for column, name in (shown | {"best test acc %": "best_test_accuracy"}).items():
            assert float(row[column]) == pytest.approx(100 * logged.data.metrics[name])
        assert len(MlflowClient(bench.uri).get_metric_history(logged.info.run_id, "val_accuracy")) == 2
    stages = bench.stages()
    for logged in first.values():
        assert logged.data.tags["mlflow.parentRunId"] == stages[logged.data.tags["stage"]].info.run_id
    assert {name: run.info.status for name, run in stages.items()} == dict.fromkeys(
        ("lr", "width", "curve"), "FINISHED"
    )
    best = first[f"lr: {stages['lr'].data.tags['winner']}"].data.metrics
    assert stages["lr"].data.metrics == {name: best[name] for name in stages["lr"].data.metrics}
    assert "chosen_test_accuracy" in best
    of_lr = {path.path for path in MlflowClient(bench.uri).list_artifacts(stages["lr"].info.run_id)}
    drawn = {f"lr-{what}.png" for what in ("effects", "learning", "loss", "accuracy")}
    assert of_lr == {"lr.csv", "report.html", "data"} | drawn  # with what the report needs of the data
    folder = tmp_path / "results" / "small"
    drawn = [*(f"{stage}-{end}" for stage in ("lr", "width", "curve") for end in ("learning", "loss", "accuracy"))]
    assert {path.name for path in folder.iterdir() if path.suffix} >= {
        *(f"{name}.{end}" for name in (*drawn, "lr-effects", "width-effects") for end in ("png", "svg")),
        *("lr.csv", "width.csv", "curve.csv", "samples.png", "plan.json", "report.html", "report.json"),
    }
    assert list((folder / ".spool").glob("*/trial.json")) == []
    checkpoint = MlflowClient(bench.uri).download_artifacts(first["width: 6"].info.run_id, "checkpoint", str(tmp_path))
    assert load(Path(checkpoint)).trial.model.channels == 6

    status, said = bench.run(study(images))
    assert (status, "nothing to run: all 3 trials are done already" in said) == (0, True)

    status, said = bench.run(study(images), epochs=3)
    assert (status, "3 trials run" in said) == (0, True)
    assert [row["epochs"] for row in bench.rows("width")] == ["3", "3"]

    status, _ = bench.run(study(images), epochs=3, seeds=2)
    assert status == 0
    assert [row["validation acc %_n"] for row in bench.rows("width")] == ["2", "2"]

    status, said = bench.run(study(images, values=(0.001, 0.05, 0.02)), epochs=3, seeds=2)
    assert "lr: 0.02: done, 3 epochs" in said
    last = bench.runs()
    assert {name: run.info.run_id for name, run in last.items() if name in first} == {
        name: run.info.run_id for name, run in first.items()
    }
    history = MlflowClient(bench.uri).get_metric_history(first["lr: 0.05"].info.run_id, "val_accuracy_sd")
    assert [point.step for point in history] == [1, 2, 3]

    wide = study(images, values=(0.001, 0.05, 0.02))
    rows = bench.rows("width")
    for less, epochs, seeds in (
        ({"epochs": 3, "seeds": 1}, "3", "1"),
        ({"epochs": 1, "seeds": 2}, "1", "2"),
        ({"epochs": 2, "seeds": 1, "stages": ("width",)}, "2", "1"),
    ):
        status, said = bench.run(wide, **less)
        assert (status, "nothing to run" in said) == (0, True)
        assert {(row["epochs"], row["validation acc %_n"]) for row in bench.rows("width")} == {(epochs, seeds)}
    status, said = bench.run(study(images, values=(0.001,)), epochs=3, seeds=2, stages=("lr",))
    assert (status, "nothing to run: all 1 trials are done already" in said) == (0, True)
    status, said = bench.run(wide, epochs=3, seeds=2)  # all is put back
    assert (status, "nothing to run" in said) == (0, True)
    assert bench.rows("width") == rows

    with patch("sweeps.reporting.results.write_whole", side_effect=OSError(errno.ENOSPC, "No space left on device")):
        status, said = bench.run(study(images, values=(0.001, 0.05, 0.02)), epochs=3, seeds=2)
    assert status == 1
    assert (
        f"the results cannot be written to {folder}: No space left on device; once they can, the same command does it"
        in said
    )


def test_a_recheck_comes_last_and_is_not_run_again(tmp_path, images):
    """Whichever of the two branches wins, the best value of the other is new in it."""
    bench, small = Bench(tmp_path), study(images, epochs=1)
    width = Stage("width", {"model.channels": (6, 8)}, start=small.baseline)
    rechecked = replace(small, stages=(small.stages[0], width), recheck=True)
    status, said = bench.run(rechecked)
    assert (status, "5 trials run, 0 taken from earlier runs" in said) == (0, True)
    [name] = [name for name in bench.runs() if name.startswith("recheck")]
    first, *others = bench.rows("recheck")
    assert first["recheck"] == "final winner"
    assert len(others) == 2
    assert name.removeprefix("recheck: ") in [row["recheck"] for row in others]
    assert "Whether varying one factor at a time missed an interaction cannot be tested." in said
    status, said = bench.run(rechecked)
    assert (status, "nothing to run: all 5 trials are done already" in said) == (0, True)


def test_a_trial_that_fails_is_shown_with_its_reason_and_the_rest_is_kept(tmp_path, images):
    bench = Bench(tmp_path)
    status, said = bench.run(study(images, values=(0.05, 1e3)))
    assert status == 1
    assert "failed: lr: 1000.0: Diverged: the training loss became" in said
    rows = {row["lr"]: row for row in bench.rows("lr")}
    assert rows["1000.0"]["status"] == "failed"
    assert rows["0.05"]["status"] == "done"
    failed = bench.runs()["lr: 1000.0"]
    assert failed.info.status == "FAILED"
    assert failed.data.tags["failure_reason"].startswith("Diverged: the training loss became")
    error = MlflowClient(bench.uri).download_artifacts(failed.info.run_id, "error.txt", str(tmp_path))
    assert "Traceback" in Path(error).read_text()


def test_a_stage_starts_from_a_searchs_winner_and_trains_nothing_that_is_stored(tmp_path, images):
    """Another study has trained one of its two trials; the search's only point is its winner, and the other trial."""
    bench = Bench(tmp_path)
    base = study(images, epochs=2).baseline
    four = {"model.channels": 4}
    bench.run(Study("other", base.with_values(four), (Stage("fc", {"model.fc_layers": (2,)}),)))
    find = Search("find", Space({"model.channels": Choice((2, 4))}), trials=1, confirm=1, seeds=1, first=(four,))
    fc = Stage("fc", {"model.fc_layers": (1, 2)})  # the baseline has one
    hunt = Study("small", base, (find, fc))
    status, said = bench.run(hunt)
    assert status == 0, said
    assert "1 trials run, 1 taken from earlier runs" in said
    assert [row["status"] for row in bench.rows("fc")] == ["done", "done"]
    [run] = bench.runs().values()
    assert (run.data.tags["stage"], run.data.tags["among"]) == ("find", "1")
    report = (tmp_path / "results" / "small" / "report.html").read_bytes()
    assert "nothing to run: all 2 trials are done already" in bench.run(hunt)[1]
    assert (tmp_path / "results" / "small" / "report.html").read_bytes() == report


def test_a_search_pauses_promotes_confirms_and_goes_on_longer(tmp_path, images):
    bench = Bench(tmp_path)
    space = Space({"model.channels": Choice((2, 3, 4, 6, 8)), "training.lr": Choice((0.001, 0.01, 0.05))})
    base = study(images, epochs=4).baseline.with_values({"training.lr": 0.05})
    bench.run(Study("other", base, (Stage("one", {"model.channels": (4,)}),)), early_stopping=True)
    find = Search(
        "find",
        space,
        trials=4,
        confirm=1,
        seeds=2,
        first=({"model.channels": 4, "training.lr": 0.05},),
    )
    hunt = Study("small", base, (find,))
    status, said = bench.run(hunt, early_stopping=True)
    assert status == 0, said
    assert "4 trials drawn by tpe" in said
    assert "The sampler also learned from what was stored in its space: 1 trial of other." in said
    assert "Taken over from other studies, with 4 epochs that are not counted here: 1 trial of other." in said
    lender = bench.runs("other")["one: 4"]
    assert [run.data.tags.get("copy_of") for run in bench.runs().values()].count(lender.info.run_id) == 1
    rows = bench.rows("find")
    assert len(rows) == 4
    assert [row["validation acc %_n"] for row in rows] == ["2", "1", "1", "1"]  # the winner first, with all its seeds
    assert rows[0]["epochs"] == "4"
    assert {row["status"] for row in rows} == {"done", "censored"}
    client = MlflowClient(bench.uri)
    first = bench.runs()
    for row in rows:
        run = client.get_run(row["MLflow run"])
        steps = [point.step for point in client.get_metric_history(run.info.run_id, "val_accuracy")]
        assert sorted(set(steps)) == list(range(1, int(row["epochs"]) + 1))
        shown = {"done": "FINISHED", "censored": "KILLED"}[row["status"]]
        assert (run.info.status, run.data.tags["status"]) == (shown, row["status"])
        assert json.loads(run.data.tags["draw"]) == {path: json.loads(row[path]) for path in space.fields}
    folder = tmp_path / "results" / "small"
    optuna_has = optuna.load_study(study_name="find", storage=f"sqlite:///{folder / 'find-optuna.db'}")
    states = {"done": "COMPLETE", "censored": "PRUNED"}
    assert sorted(trial.state.name for trial in optuna_has.trials) == sorted(states[row["status"]] for row in rows)
    assert "Pareto front" in (folder / "report.html").read_text()

    decisions = [json.loads(line) for line in (folder / "find-decisions.jsonl").read_text().splitlines()]
    assert most_under_way(decisions) <= 1  # on two workers: all but the other one's trial has been told of

    assert "nothing to run" in bench.run(hunt, early_stopping=True)[1]
    assert [json.loads(line) for line in (folder / "find-decisions.jsonl").read_text().splitlines()] == decisions

    status, said = bench.run(hunt, early_stopping=True, num_trials=6)
    assert status == 0, said
    assert len(bench.rows("find")) == 6
    last = bench.runs()
    assert {name: run.info.run_id for name, run in last.items() if name in first} == {
        name: run.info.run_id for name, run in first.items()
    }
    assert sorted(run.data.tags["number"] for run in last.values()) == list("012345")
    whole = [json.loads(line) for line in (folder / "find-decisions.jsonl").read_text().splitlines()]
    assert whole[: len(decisions) + 1] == [*decisions, {"decision": "resumed"}]
    assert most_under_way(whole[len(decisions) :]) <= 1
    lent = bench.runs("other")["one: 4"]  # the same trial as #0, in a study of its own
    assert lent.data.to_dictionary() == lender.data.to_dictionary()


def most_under_way(decisions) -> int:
    """Return the most trials that were under way as another one was drawn or promoted: all else it has seen."""
    under_way, most = set(), 0
    for each in decisions:
        if each["decision"] in ("first", "due"):
            most = max(most, len(under_way))
            under_way.add(each["number"])
        elif each["decision"] in ("drop", "taken") or each.get("runs_on_to", 0) is None:
            under_way.discard(each["number"])
    return most


def test_what_is_stopped_early_is_censored_and_run_on_when_asked(tmp_path, images):
    bench = Bench(tmp_path)
    one_stage = Study(
        "small", study(images, epochs=8).baseline, (Stage("lr", {"training.lr": (0.05, 0.02, 1e-6, 1e-7, 1e-8)}),)
    )
    bench.run(one_stage, early_stopping=True)
    rows = bench.rows("lr")
    censored = [row for row in rows if row["status"] == "censored"]
    assert censored
    assert all(int(row["epochs"]) < 8 for row in censored)
    report = json.loads((tmp_path / "results" / "small" / "report.json").read_text())
    winner = next(line for line in report["sections"][0]["text"] if line.startswith("Winner"))
    assert not any(winner.split(": ")[1] == row["lr"] for row in censored)

    bench.run(one_stage)
    assert [row["epochs"] for row in bench.rows("lr")] == ["8"] * 5
    assert len(bench.runs()) == 5


def epochs_of(bench: Bench) -> list[int]:
    """Return how many epochs the store has of each trial with one seed."""
    store = Store(bench.uri)
    return sorted(len(each.curves["seeds"]["0"]) for each in store.trials(store.trials(None)).values())


def test_a_command_ends_at_its_budget_and_the_same_one_goes_on_to_the_same_numbers(tmp_path, images):
    three = study(images, (0.001, 0.05, 0.02), epochs=4).only(("lr",))
    bench = Bench(tmp_path / "in_parts")
    note = {"notify": f"echo $CNN_SWEEPS_STATUS $CNN_SWEEPS_REPORT >> {tmp_path}/told"}
    status, said = bench.run(three, budget=5, **note)
    assert status == 0
    assert "the budget (5 epochs) is spent; what is under way ends with its epoch" in said
    live = json.loads((bench.folder / "results" / "small" / "live.json").read_text())
    assert (live["over"], live["closed"]) == (True, "the budget (5 epochs) is spent")
    assert live["trials"]["total"] == 3
    trained = epochs_of(bench)
    assert 5 <= sum(trained) <= 6  # exact where Ray passes epochs on one by one
    assert f"with at most {3 * 4 - sum(trained)} epochs, at most" in said
    status, said = bench.run(three, for_=1e-9)  # over before it begins
    assert (status, epochs_of(bench)) == (0, trained)
    assert "the same command goes on from here" in said
    assert "nothing to run" not in said
    assert bench.run(three, **note)[0] == 0
    report = bench.folder / "results" / "small" / "report.html"
    assert (tmp_path / "told").read_text() == f"unfinished {report}\ncomplete {report}\n"
    whole = Bench(tmp_path / "at_once")
    whole.run(three)
    same = ("lr", "status", "epochs", "final train loss", "best test acc %", "validation acc %", "key")
    assert [[row[name] for name in same] for row in bench.rows("lr")] == [
        [row[name] for name in same] for row in whole.rows("lr")
    ]


def test_a_study_is_steered_while_it_runs_and_a_later_command_keeps_to_it(tmp_path, images, monkeypatch):
    monkeypatch.setattr(helm, "PERIOD", 0.1)
    three, bench = study(images, (0.001, 0.05, 0.02), epochs=4).only(("lr",)), Bench(tmp_path)
    asked = [Act("pause", "", "jo"), Act("drop", "lr: 0.02", "jo", "too slow"), Act("seeds", "2", "jo"),
             Act("resume", "", "jo")]  # fmt: skip
    store = Store(bench.uri)
    beginning = scheduler.execute

    def beginning_steered(*arguments):
        for number, act in enumerate(asked if len(begun) == 0 else ()):
            acts.write(store, store.experiment_id("small"), replace(act, time=float(number)))
        begun.append(1)
        return beginning(*arguments)

    begun: list[int] = []
    monkeypatch.setattr(scheduler, "execute", beginning_steered)
    status, said = bench.run(three)
    assert (status, len(begun)) == (0, 2)
    assert "drop lr: 0.02 (jo, 1970-01-01 00:00 UTC: too slow): lr: 0.02 is dropped" in said
    rows = {row["lr"]: row for row in bench.rows("lr")}
    assert {name: row["status"] for name, row in rows.items()} == {"0.001": "done", "0.05": "done", "0.02": "dropped"}
    trained = store.trials([rows[name]["key"] for name in ("0.001", "0.05")])
    assert [len(each.curves["seeds"]) for each in trained.values()] == [2, 2]
    page = (bench.folder / "results" / "small" / "report.html").read_text()
    assert "Dropped, and not ranked: lr = 0.02 (jo, 1970-01-01 00:00 UTC: too slow)." in page
    lines = (bench.folder / "results" / "small" / "acts.jsonl").read_text().splitlines()
    assert [json.loads(line)["what"] for line in lines] == ["pause", "drop", "seeds", "resume"]
    assert bench.run(three)[1].count("nothing to run: all 2 trials are done already") == 1
    assert bench.rows("lr") == list(rows.values())


def test_fresh_sets_earlier_runs_aside_and_gets_the_same_numbers(tmp_path, images):
    bench = Bench(tmp_path)
    bench.run(study(images), stages=("lr",))
    before = bench.rows("lr")
    status, said = bench.run(study(images), stages=("lr",), fresh=True)
    assert (status, "2 trials run" in said) == (0, True)
    client = MlflowClient(bench.uri)
    runs = client.search_runs([client.get_experiment_by_name("small").experiment_id], "tags.key LIKE '%'")
    assert sorted(run.data.tags["status"] for run in runs) == ["done", "done", "superseded", "superseded"]
    same = ("lr", "final train loss", "best test acc %", "validation acc %", "key")
    assert [{name: row[name] for name in same} for row in bench.rows("lr")] == [
        {name: row[name] for name in same} for row in before
    ]


def scenes(tmp_path) -> tuple[Bench, Study]:
    """A study of the embedded multi-label data, watched as it trains."""
    model = CNN(conv_layers=1, channels=4, kernel=8, stride=4, pooling="none", fc_layers=1)
    base = Trial("scenes", model, Training(epochs=1, batch_size=50, resize=36, crop=32, flip=True))
    watch, analyses = Watch(filters=(0, 0.5), images=(0.25,)), {"contact_sheet": {"per_class": 1}, "compare": {}}
    return Bench(tmp_path), Study("scenes", base, (Stage("lr", {"training.lr": (0.01, 0.02)}),), watch, analyses)


def test_multi_label_trials_flow_through_everything(tmp_path):
    bench, study = scenes(tmp_path)
    status, said = bench.run(study)
    assert status == 0
    assert "validation mAP" in said
    for row in bench.rows("lr", "scenes"):
        per_class = [float(row[name]) for name in CLASS_NAMES]
        assert float(row["test mAP % (chosen epoch)"]) == pytest.approx(sum(per_class) / len(per_class))
    runs = bench.runs("scenes")
    client = MlflowClient(bench.uri)
    for run_ in runs.values():
        assert {"val_mAP", "test_mAP", "val_loss", "lr"} <= run_.data.metrics.keys()
        drawn = [artifact.path.partition("-")[0] for artifact in client.list_artifacts(run_.info.run_id, "training")]
        assert sorted(drawn) == ["training/filters", "training/filters", "training/images"]
    assert (tmp_path / "results" / "scenes" / "lr-mAP.png").is_file()
    report = (tmp_path / "results" / "scenes" / "report.html").read_text()
    assert report.count("<h3>Images: 1 of each of the ") == 1  # of the best trial
    assert "Not possible: compare has the models" in report
    said = bench.run(study)[1]
    assert "analyses done already, and not done again: 1" in said
    assert "nothing to run" in said
    with patch("sweeps.engine.Store.describe", side_effect=ConnectionError("refused")):
        status, said = bench.run(study)
    away = f"warning: cannot read MLflow at {bench.uri}: ConnectionError: refused; the same command goes on from here"
    assert (status, away in said, "analyses done" in said) == (1, True, False)
    with pytest.raises(
        UserError, match=r"^analysis contact_sheet has no option 'per_clas'; did you mean 'per_class'\?$"
    ):
        bench.run(replace(study, analyses={"contact_sheet": {"per_clas": 1}}))

    best = max(runs.values(), key=lambda run_: run_.data.metrics["val_mAP"])
    said = io.StringIO()
    arguments = ["scenes", "--dataset", "scenes", "--tracking-uri", bench.uri, "--output", str(tmp_path / "results")]
    assert evaluate.run(arguments, Console(file=said, width=200)) == 0
    again = list(
        csv.DictReader(
            (tmp_path / "results" / "evaluate" / best.info.run_id / "scenes" / "evaluation.csv")
            .read_text()
            .splitlines()
        )
    )
    row = next(row for row in bench.rows("lr", "scenes") if row["MLflow run"] == best.info.run_id)
    for line in again[1:]:
        assert float(line["AP %"]) == pytest.approx(float(row[line["class"]]))


def test_analyses_keep_what_succeeded_and_do_only_what_is_missing(tmp_path):
    bench, study = scenes(tmp_path)
    bench.run(replace(study, analyses={}))

    def ask(*arguments: str) -> tuple[int, str]:
        said = io.StringIO()
        common = ["--tracking-uri", bench.uri, "--output", str(tmp_path / "results")]
        return analyse.run([*arguments, *common], Console(file=said, width=300)), said.getvalue()

    jobs = ("scenes", "--top", "2", "--jobs", "contact_sheet,filters_drawn,compare")
    with pytest.raises(UserError, match=r"^filters_drawn: scenes, lr = \S+ has no convolution 'conv7'; did you mean"):
        ask(*jobs, "--set", "filters_drawn.layers=conv7")
    assert not list((tmp_path / "results" / "scenes").glob("analysis*"))  # and nothing else was done

    status, said = ask(*jobs[:3], "--jobs", "contact_sheet,ablation,compare", "--set", "ablation.each_of=conv1")
    assert status == 0
    assert said.count("contact_sheet of") == 2
    assert "ablation of scenes, lr = 0.01: not possible: each_of counts changed predictions, but images of" in said
    runs = {run_.info.run_id for run_ in bench.runs("scenes").values()}
    client = MlflowClient(bench.uri)
    kept = {run_id: {artifact.path for artifact in client.list_artifacts(run_id, "analysis")} for run_id in runs}
    assert all(any("contact_sheet" in path for path in paths) for paths in kept.values())
    report = (tmp_path / "results" / "scenes" / "analysis.html").read_text()
    assert report.count("<h2>") == 5

    status, said = ask(*jobs)
    assert status == 0
    assert "analyses done already, and not done again: 3" in said
    assert "filters_drawn of scenes, lr = 0.01: done\n" in said


def test_the_report_is_written_from_mlflow_alone_as_the_run_wrote_it(tmp_path, images):
    shutil.copytree(images, tmp_path / "images")
    bench = Bench(tmp_path)
    asked = replace(study(tmp_path / "images"), analyses={"mistakes": {"count": 2}}, question="What helps?")
    # one trial diverges, so that its failure is to be told again
    asked = replace(asked, stages=(Stage("lr", {"training.lr": (0.001, 0.05, 1000.0)}), *asked.stages[1:]))
    status, said = bench.run(asked, seeds=2)
    assert (status, "Diverged" in said) == (1, True)
    written = (tmp_path / "results" / "small" / "report.html").read_bytes()
    page = written.decode()
    for there in (
        "What helps?",
        "Failed: lr = 1000.0: Diverged",
        "The most common confusions",
        "cores; trials run",
        "python ",
    ):
        assert there in page
    again = RunOptions(output=tmp_path / "again", tracking_uri=bench.uri, early_stopping=False, seeds=2)
    before = {path: path.read_bytes() for path in (tmp_path / "results").rglob("*") if path.is_file()}
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    text = io.StringIO()
    assert write_report(asked, again, Console(file=text, width=200)) == 0
    assert text.getvalue() == f"report: {tmp_path / 'again' / 'small' / 'report.html'}\n"
    assert (tmp_path / "again" / "small" / "report.html").read_bytes() == written
    assert before == {path: path.read_bytes() for path in before}
