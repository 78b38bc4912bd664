"""The main path on one screen: plan, what is known already, trials, winners, tables, curves, report."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from sweeps import results
from sweeps.agenda import Agenda, Known, StageResult
from sweeps.lease import Lease
from sweeps.options import RunOptions
from sweeps.planning import print_plan
from sweeps.spool import locked
from sweeps.study import PlannedStage, Study, plan_study
from sweeps.tables import Facts, stage_table, words
from sweeps.tracking import Store, resolve_uri
from sweeps.winner import Yardstick
from trainables import datasets
from trainables.datasets import Dataset
from trainables.history import History

if TYPE_CHECKING:
    from analysis.finding import Job
    from sweeps.analyses import Answer

FIRST_DRAIN_SECONDS = 10.0  # at the end, for what MLflow has not got yet, before it is said that we wait
DRAIN_SECONDS = 120.0  # while nothing moves; what is left then stays in the spool for the next start


def run(study: Study, options: RunOptions, console: Console) -> int:
    """Run a study as far as it is not done, write what came of it, and return the exit status: 0, or 1 where trials failed.

    Raises UserError for what the user can mend, before anything starts; KeyboardInterrupt after keeping what was done.
    """
    study = chosen(study, options)
    planned = plan_study(study, *datasets.image_shape(study.baseline.dataset, options.data_dir))
    if options.dry_run:
        print_plan(study, planned, options, console)
        return 0
    jobs = _jobs(study)
    store = Store(resolve_uri(options.tracking_uri))
    folder = results.prepare(options.output / study.name, planned)
    data = datasets.load(study.baseline.dataset, options.data_dir)
    if data.name != study.baseline.dataset:
        console.print(f"{data.name}: published numbers are left out, as they are of other images", highlight=False)
        study = study.without_published()
    weights = _weights(planned, data, options.data_dir, console)
    contents = {study.baseline.dataset: data.digest} | {name: hashlib.sha256(file).hexdigest() for name, file in weights.items()}
    spool = folder / ".spool"

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    store.wait(say)
    with locked(spool / "driver.lock"), Lease(store, study.name, say).held():
        _warn(console, *store.deliver(spool))
        return _carry_out(study, planned, jobs, data, weights, contents, store, folder, options, console)


def _carry_out(
    study: Study,
    planned: Sequence[PlannedStage],
    jobs: Sequence[Job],
    data: Dataset,
    weights: Mapping[str, bytes],
    contents: Mapping[str, str],
    store: Store,
    folder: Path,
    options: RunOptions,
    console: Console,
) -> int:
    """Run what MLflow does not have yet, write what came of it, and return the exit status."""
    spool = folder / ".spool"
    known = _known(store, planned, contents)
    if options.fresh:
        store.supersede(known)
        known = {}

    def decided(result: StageResult) -> None:
        console.print(stage_table(result, Facts(data.class_names, data.image_shape, yardstick, {})).to_rich())
        for line in words(result, yardstick):
            console.print(line, highlight=False)

    yardstick = Yardstick(data.metric, len(data.val))
    agenda = Agenda(study, tuple(range(options.seeds)), contents, yardstick, options.early_stopping, known, decided)
    runs = {key: entry.run_id for key, entry in known.items()}
    delivered = True
    try:
        if not agenda.over:
            delivered = _execute(agenda, data, weights, options, store, spool, runs, console)
    finally:
        facts = Facts(data.class_names, data.image_shape, yardstick, runs)
        results.write(folder, agenda, facts, options, data)
    if not delivered:
        _say_the_end(agenda, folder, store.uri, console)
        deliver = f"python sweeps/sync.py --output {options.output} --tracking-uri {store.uri}"
        rest = f"MLflow has not got everything; the rest is in {spool}: the same command delivers it, or `{deliver}`"
        console.print(rest, highlight=False, soft_wrap=True)
        return 1
    store.describe(study.name, results.markdown(agenda))
    answers = _analyse(jobs, agenda, data, store, folder, options, console)
    if answers:
        from sweeps.analyses import sections

        results.write(folder, agenda, facts, options, data, sections(answers))
    _say_the_end(agenda, folder, store.uri, console)
    return 1 if agenda.failed or any(answer.failed for answer in answers) else 0


def chosen(study: Study, options: RunOptions) -> Study:
    """Return the part of the study that the options ask for. `--quick` runs under a name of its own, beside the real study."""
    study = study.only(options.stages) if options.stages else study
    if options.quick:
        study = replace(study, name=f"{study.name}_quick").changed(study.quick)
    if options.quick or options.weights:
        study = study.starting_from(options.weights)
    given = {"dataset": options.dataset, "training.epochs": options.epochs}
    return study.changed({path: value for path, value in given.items() if value is not None})


def _weights(planned: Iterable[PlannedStage], data: Dataset, data_dir: Path, console: Console) -> dict[str, bytes]:
    """Read the pretrained weights that trials start from, and say what of them fits the networks. Raises UserError where nothing does."""
    starting = [trial for stage in planned for trial in stage.reachable if trial.weights is not None]
    if not starting:
        return {}
    from trainables import pretrained  # imports torch, which takes seconds

    files = {name: pretrained.read(name, data_dir) for name in {trial.weights for trial in starting} if name is not None}
    networks = {(trial.weights, trial.model): trial for trial in starting}
    for trial in networks.values():
        name = str(trial.weights)
        report = pretrained.check(trial, data, pretrained.parse(name, files[name]))
        console.print(f"{trial.weights}: {report.summary}", highlight=False, soft_wrap=True)
    return files


def _known(store: Store, planned: Iterable[PlannedStage], contents: Mapping[str, str]) -> dict[str, Known]:
    """Return what MLflow has of the trials that the study can reach."""
    keys = {trial.key(contents) for stage in planned for trial in stage.reachable}
    stored = store.trials(keys).items()
    return {key: Known(trial.status, History.from_dict(trial.curves or {"seeds": {}}), trial.run_id) for key, trial in stored}


def _execute(
    agenda: Agenda,
    data: Dataset,
    weights: Mapping[str, bytes],
    options: RunOptions,
    store: Store,
    spool: Path,
    runs: dict[str, str],
    console: Console,
) -> bool:
    """Run on Ray what the agenda still holds, and return whether MLflow has got all of it. Adds the new trials' MLflow runs to `runs`."""
    import ray

    from sweeps import cluster, scheduler
    from sweeps.display import Display

    if agenda.reused:
        console.print(f"{len(agenda.reused)} trials are done already and not run again")
    with cluster.connect(options):
        tracker = cluster.start_tracker(store.uri, agenda.study.name, spool)
        try:
            with Display(agenda, data.image_shape, data.classes, console) as display:
                scheduler.run(agenda, data, weights, tracker, display, cluster.trial_resources(options), _tags(agenda, options))
        finally:
            left = ray.get(tracker.drain.remote(FIRST_DRAIN_SECONDS))
            if left:
                console.print(f"waiting for MLflow to take the rest, as long as it takes some every {DRAIN_SECONDS:.0f} s", highlight=False)
                left = ray.get(tracker.drain.remote(DRAIN_SECONDS))
            _warn(console, left, ray.get(tracker.problems.remote()))
            runs.update(ray.get(tracker.run_ids.remote()))
            ray.get(tracker.close.remote())
    if not left:  # a Tracker that was killed knows the runs no more that it had delivered before
        runs.update({key: trial.run_id for key, trial in store.trials(agenda.tasks.keys() - runs.keys()).items()})
    return not left


def _warn(console: Console, left: Iterable[str], problems: Iterable[str]) -> None:
    for line in dict.fromkeys([*left, *problems]):  # a trial left for its error is in both
        console.print(f"warning: {line}", highlight=False, soft_wrap=True)


def _jobs(study: Study) -> list[Job]:
    """Return the study's analyses, checked before anything is trained."""
    if not study.analyses:
        return []
    from analysis.jobs import make  # imports torch and Matplotlib, which takes seconds

    return make(study.analyses)


def _analyse(
    jobs: Sequence[Job], agenda: Agenda, data: Dataset, store: Store, folder: Path, options: RunOptions, console: Console
) -> list[Answer]:
    """Have the study's analyses done: of its best trial on validation, or where a job looks at several models, of each stage's winner."""
    winners = {result.winner.outcome.key: result.winner.outcome for result in agenda.results if result.winner}
    if not jobs or not winners:
        return []
    from sweeps.analyses import ask

    trials = store.trials(winners)
    best = max(winners.values(), key=lambda outcome: outcome.score)
    answers = []
    for together, asked in ((False, [trials[best.key]]), (True, [trials[key] for key in winners])):
        some = [job for job in jobs if job.together is together]
        answers += ask(asked, some, data, store, folder / "analysis", options, console)
    return answers


def _tags(agenda: Agenda, options: RunOptions) -> dict[str, str]:
    """Return what all of this command's MLflow runs are tagged with."""
    root = Path(__file__).resolve().parent
    git = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    commit = {"git_commit": git.stdout.strip()} if git.returncode == 0 else {}
    return {"study": agenda.study.name, "device": "gpu" if options.num_gpus else "cpu"} | commit


def _say_the_end(agenda: Agenda, folder: Path, uri: str, console: Console) -> None:
    ran, reused = len(agenda.tasks), len(agenda.reused)
    console.print(f"{ran} trials run, {reused} taken from earlier runs" if ran else f"nothing to run: all {reused} trials are done already")
    for key, reasons in agenda.restarts.items():
        console.print(f"started again: {agenda.tasks[key].name}: {'; '.join(reasons)}", highlight=False)
    for outcome in agenda.failed:
        console.print(f"failed: {agenda.tasks[outcome.key].name}: {outcome.reason}", highlight=False)
    console.print(f"report: {folder / 'report.html'} · MLflow: {uri}, experiment {agenda.study.name}", highlight=False, soft_wrap=True)
