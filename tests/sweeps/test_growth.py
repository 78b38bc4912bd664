"""That no part of planning, deciding, showing, writing, delivering or resuming takes more than n log n steps for n
trials.

Steps are lines of our own code as Python runs them, each turn of a loop or comprehension among them, so that the answer
is the same on every machine, and has no time in it. They are counted for each function by itself, so that nothing hides
behind what is merely linear. What numpy does inside of one call is not counted, nor is MLflow's own work, whose client
is a stand-in here.
"""

from __future__ import annotations

import io
import math
import os
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from analysis.report import Column, Table
from sweeps.decisions import judge, stopping
from sweeps.decisions.agenda import Agenda, take_as_it_stands
from sweeps.decisions.drawing import Drawing
from sweeps.decisions.planning import plan_study
from sweeps.decisions.records import Known
from sweeps.decisions.status import Status
from sweeps.execution import memory
from sweeps.execution.machines import Machines
from sweeps.reporting import album, results
from sweeps.reporting.display import Display
from sweeps.reporting.material import DataSummary
from sweeps.reporting.plan_tables import Outline, as_data, print_plan
from sweeps.reporting.stage_report import report_on
from sweeps.reporting.tables import Facts
from sweeps.study import Choice, Search, Space, Stage, Study, Whole
from sweeps.tracking import stage_runs, views
from sweeps.tracking.artifacts import Artifacts
from sweeps.tracking.delivery import Delivery
from sweeps.tracking.entry import Entry
from sweeps.tracking.runs import Runs
from sweeps.tracking.shared import Shared
from sweeps.tracking.store import Store
from sweeps.tracking.tracker import Tracker
from tests.sweeps.outcomes import history, terms
from trainables.config import CNN, Training, Trial
from trainables.files import sealed
from trainables.footprint import Images
from trainables.history import History

ROOT = str(Path(__file__).resolve().parents[2])
OURS = tuple(f"{ROOT}/{package}/" for package in ("trainables", "analysis", "sweeps"))
SIZES = (100, 200, 400)  # trials
MARGIN = 1.1  # of what n log n allows
SHAPE = (3, 8, 8)
TERMS = terms(early_stopping=False, image_shape=SHAPE)

Run = Callable[[], object]


class Steps:
    """The lines of our own code that ran, by function."""

    def __init__(self, run: Run) -> None:
        self.counts: Counter[str] = Counter()
        with self._counted():
            run()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        before = sys.gettrace()
        threading.settrace(self._entered)
        sys.settrace(self._entered)
        try:
            yield
        finally:
            sys.settrace(before)
            threading.settrace(before)  # type: ignore[arg-type]  # None is allowed

    def _entered(self, frame: FrameType, *_: Any) -> Any:
        return self._step if frame.f_code.co_filename.startswith(OURS) else None

    def _step(self, frame: FrameType, event: str, __: Any) -> Any:
        if event == "line":
            self.counts[f"{frame.f_code.co_filename.removeprefix(ROOT)}: {frame.f_code.co_qualname}"] += 1
        return self._step


def too_many(path: Callable[[int], Run]) -> dict[str, tuple[int, ...]]:
    """Return the functions of a path that take more than n log n steps, with their steps for each number of trials.

    What takes a fixed number of steps drops out of the differences; what begins only with many may take 2 n.
    """
    counts = [Steps(path(trials)).counts for trials in SIZES]
    one, two, three = (trials * math.log(trials) for trials in SIZES)
    found = {name: tuple(each[name] for each in counts) for name in counts[-1]}
    allowed = {name: MARGIN * (more - few) * (three - two) / (two - one) for name, (few, more, _) in found.items()}
    return {name: each for name, each in found.items() if each[2] - each[1] > max(0, allowed[name]) + 2 * SIZES[-1]}


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw nothing, wait for no disk, have files of runs in memory, and looks at so few trials that they are many."""
    monkeypatch.setattr(judge, "LOOKS", 4)
    monkeypatch.setattr(stopping, "LOOKS", 4)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(album, "_draw", lambda _, files: [file.write_bytes(b"<svg/>") for file in files])
    monkeypatch.setattr(Artifacts, "at", classmethod(lambda _, __, uri: Artifacts(Shelf(uri))))  # type: ignore[arg-type]


class Shelf:
    """A run's files: its curves, which are the run's URI."""

    def __init__(self, uri: str) -> None:
        self.curves = uri.encode()

    def list_artifacts(self, _: str | None) -> list[Any]:
        return [SimpleNamespace(path="curves.json", is_dir=False, file_size=len(self.curves))]

    def download_artifacts(self, path: str, folder: str) -> str:
        (Path(folder) / path).write_bytes(self.curves)
        return str(Path(folder) / path)

    def log_artifact(self, *_: Any) -> None:
        """Take a file."""


class Page(list[Any]):
    token = None


class Server:
    """MLflow's client, with a run of each of these trials that is done."""

    def __init__(self, done: Mapping[str, History]) -> None:
        self.runs = [_run(key, found) for key, found in done.items()]

    def search_experiments(self, **_: Any) -> Page:
        return Page([SimpleNamespace(experiment_id="1", name="many", lifecycle_stage="active")])

    def get_experiment_by_name(self, _: str) -> Any:
        return self.search_experiments()[0]

    def search_runs(self, *_: Any, max_results: int = 1000, page_token: str | None = None, **__: Any) -> Page:
        begin = int(page_token or 0)
        page = Page(self.runs[begin : begin + max_results])
        page.token = str(begin + max_results) if begin + max_results < len(self.runs) else None  # type: ignore[assignment]
        return page

    def create_run(self, *_: Any, tags: Mapping[str, str], **__: Any) -> Any:
        return _run(tags["key"], History({}))

    def log_batch(self, *_: Any, **__: Any) -> None:
        """Take whatever comes."""

    set_terminated = log_batch


def _run(key: str, found: History) -> Any:
    info = {"run_id": key[:32], "experiment_id": "1", "status": "FINISHED", "run_name": "lr", "start_time": 1}
    where = {"end_time": 2, "artifact_uri": sealed(found.to_dict()).decode(), "lifecycle_stage": "active"}
    loss = {"train_loss": found.records[0][-1].train_loss} if found.records else {}
    data = SimpleNamespace(tags={"key": key, "status": "done"}, metrics=loss, params={})
    return SimpleNamespace(info=SimpleNamespace(**info, **where), data=data, inputs=None)


def study(trials: int, epochs: int = 1) -> Study:
    rates = tuple(round(0.001 + 0.0001 * number, 6) for number in range(trials))
    base = Trial("shapes", CNN(conv_layers=0, fc_layers=1), Training(epochs=epochs))
    return Study("many", base, (Stage("lr", {"training.lr": rates}),))


def seen(number: int, trials: int, epochs: int = 1) -> History:
    """Return a trial's history: no two are equal, and they do not come in the order of their scores."""
    return history([(number * 37 % trials) / trials * epoch / epochs for epoch in range(1, epochs + 1)])


def quiet() -> Console:
    return Console(file=io.StringIO(), width=100)


def agenda(trials: int, known: Mapping[str, Known] | None = None) -> Agenda:
    return Agenda(study(trials), replace(TERMS), lambda _: None, known)  # keys are kept with their terms


def stored(trials: int, status: Status = Status.DONE) -> dict[str, Known]:
    """Return what a store has of all trials; of those that failed no record."""
    cells = study(trials).stages[0].cells(study(trials).baseline)
    histories = [seen(number, trials) if status == Status.DONE else History({}) for number in range(trials)]
    return {
        TERMS.key(cell.trial): Known(status, each, f"{number:032x}", "it broke")
        for number, (cell, each) in enumerate(zip(cells, histories, strict=True))
    }


def planning(trials: int) -> Run:
    """Lay it out, ask for its memory, print it, and keep it as data."""
    console, images = quiet(), Images(shape=SHAPE, classes=2, train=44, val=10, test=10)

    def run() -> None:
        planned = plan_study(study(trials), SHAPE, 2)
        memory.demand("shapes", planned, images, 1, Machines(num_cpus=2, num_gpus=0))
        print_plan(Outline(study(trials), planned, 1, True, "here", "little"), console)
        as_data(planned)

    return run


def opening(trials: int) -> Run:
    return lambda: agenda(trials)


def opening_with_all_done(trials: int) -> Run:
    known = stored(trials)
    return lambda: agenda(trials, known)


def keeping_failures(trials: int) -> Run:
    found = agenda(trials, stored(trials, Status.FAILED))

    def run() -> None:
        take_as_it_stands(found)
        assert len(found.failed) == trials

    return run


def the_course(trials: int) -> Run:
    """Run all trials by hand, and draw the panel for each."""
    found = agenda(trials)
    display = Display(found, quiet())

    def run() -> None:
        for number in range(trials):
            assert found.ready() == trials - number
            task, history = found.next(), seen(number, trials)
            assert task
            display.started(task)
            display.progressed(task, 1, history.records[0][0])
            found.goes_on(task.key, 1, history.score())
            display._panel()
            display.ended(task, found.finish(task.key, history))
            found.let_go()
            found.advance()
        assert found.over

    return run


def the_course_with_early_stopping(trials: int) -> Run:
    """Run all trials by hand; those that are not behind wait after every third of nine epochs."""
    found = Agenda(study(trials, 9), terms(early_stopping=True), lambda _: None)
    ran: dict[str, int] = {}
    numbers = {cell.trial: number for number, cell in enumerate(found.study.stages[0].cells(found.study.baseline))}

    def run() -> None:
        while not found.over:
            found.ready()
            task = found.next()
            assert task
            history = seen(numbers[task.cell.trial], trials, 9)
            scores, begin = [record.val_score for record in history.records[0]], ran.get(task.key, 0)
            last = next(at for at in range(begin + 1, 10) if not found.goes_on(task.key, at, scores[at - 1]) or at == 9)
            cut, ran[task.key] = history.cut((0,), last), last
            if found.waits(task.key):
                found.lay_aside(task.key, cut)
            else:
                found.finish(task.key, cut)
            found.let_go()
            found.advance()

    return run


def drawing_at_random(trials: int) -> Run:
    return drawing("random", trials)


def drawing_in_order(trials: int) -> Run:
    return drawing("grid", trials)


def drawing(sampler: str, trials: int) -> Run:
    """Draw all trials of a search, told of all before it, within a bound; each runs and ends. (A sampler that learns
    goes through all trials at each draw.)
    """
    space = Space({"training.batch_size": Whole(1, 1000), "training.flip": Choice((True, False))})
    stage = Search("find", space, trials, sampler, "none", constraint={"parameters": 1e9, "seconds": 1e9})
    found = Drawing(stage, study(1).baseline, replace(TERMS))

    def run() -> None:
        for number in range(trials):
            draw = found.new()
            assert draw
            found.begin(draw)
            assert found.running
            assert len(found.told) == number + 1
            found.end(draw, seen(number, trials), None)

    return run


def writing(trials: int) -> Run:
    """Write the tables and the report, and draw the figures."""
    return written(agenda(trials, stored(trials)))


def writing_before_the_end(trials: int) -> Run:
    return written(agenda(trials, dict(list(stored(trials).items())[:-1])))


def written(found: Agenda) -> Run:
    facts = Facts(("cat", "dog"), SHAPE, TERMS.yardstick, dict.fromkeys(found.outcomes, "run"))
    data = DataSummary("shapes", ("cat", "dog"), 44, 10, 10, multi_label=False)

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            results.write(Path(folder), found, facts, data)

    return run


def saying_the_end(trials: int) -> Run:
    """Print what a stage has come to, and describe it for MLflow, with its views."""
    found, console = agenda(trials, stored(trials)), quiet()
    facts, runs = Facts(("cat", "dog"), SHAPE, TERMS.yardstick, {}), dict.fromkeys(found.outcomes, "run")

    def run() -> None:
        [result] = found.results
        for table in report_on(result).on_screen(facts):
            console.print(table.to_rich())
        for line in report_on(result).words(TERMS):
            console.print(line)
        results.markdown(found)
        views.of(found.results, runs, "accuracy")
        stage_runs._shared(result, found.results)

    return run


def reading_the_store(trials: int) -> Run:
    store: Any = Store("http://127.0.0.1:1")
    store._client = Server({key: known.history for key, known in stored(trials).items()})

    def run() -> None:
        found = store.trials(stored(trials))
        assert len(found) == trials
        assert all(each.curves for each in found.values())

    return run


def delivering(trials: int) -> Run:
    """Take all trials into a spool, and deliver them to an MLflow that takes whatever comes, time after time."""

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            store: Any = Store("http://127.0.0.1:1")
            store._client = Server({})
            shared, spool = Shared(), Path(folder)
            tracker = Tracker.__new__(Tracker)
            tracker.store, tracker.experiment, tracker.dataset = store, "many", {}
            tracker.spool, tracker._shared, tracker._closed = spool, shared, False
            runs = Runs(store)
            for number in range(trials):
                key = f"{number:064x}"
                tracker.start(key, Entry(f"lr: {number}", {"lr": 0.1}))
                tracker.epoch(key, 1, {"train_loss": 1.0}, {"curves.json": b"{}"})
                tracker.finish(key, Status.DONE)
                for trial in shared.waiting():
                    Delivery(store, runs, shared, trial).deliver(lambda: True)
                    shared.settle(trial)
                assert tracker._left() == []
            assert len(tracker.run_ids()) == trials

    return run


PATHS = (
    planning,
    opening,
    opening_with_all_done,
    keeping_failures,
    the_course,
    the_course_with_early_stopping,
    drawing_at_random,
    drawing_in_order,
    writing,
    writing_before_the_end,
    saying_the_end,
    reading_the_store,
    delivering,
)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.__name__)
def test_the_steps_of_no_function_grow_faster_than_n_log_n(path: Callable[[int], Run]) -> None:
    assert too_many(path) == {}


def test_a_quadratic_part_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The best cells of a table are found again for each of its cells, as if they were not kept."""
    monkeypatch.setattr(Table, "best", property(Table.best.func))  # type: ignore[attr-defined]

    def coloured(trials: int) -> Run:
        table = Table("", (Column("score", best="max"),), tuple((at,) for at in range(trials)))
        return table.to_rich

    assert any("Table._best_rows" in name for name in too_many(coloured))
