"""A run for each stage of a study, the parent of its trials' runs: it holds the stage's table, its figures and the
report, and shows what the winner came to.

It has no key, so that nothing takes it for a trial. Until its stage is decided it is shown as scheduled, whatever
becomes of the command meanwhile. All that it holds follows from what MLflow has, or is in the results folder: nothing
is kept for a store that is away, and the next start gives it what it lacks.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from sweeps.decisions.records import StageResult
from sweeps.tracking import origin, views
from sweeps.tracking.connection import is_refusal, pages
from sweeps.tracking.entry import PARENT
from sweeps.tracking.spool import milliseconds
from sweeps.tracking.store import Store
from sweeps.tracking.summary import STEP, summary
from trainables.errors import UserError

STAGE = "stage_run"  # the tag: of which stage it is the run
STAGES = "stages"  # the tag of a trial that several have: their names
NOTE = "mlflow.note.content"  # the tag: its description
HOLDS = "holds"  # the tag: a digest of what it has been given
KINDS = "csv|png|jsonl"  # of a stage's files, <stage>.csv and <stage>-<what>.png
REPORT = "report.html"


def parents(store: Store, study: str, stages: Iterable[str], say: Callable[[str], None]) -> dict[str, dict[str, str]]:
    """Return, by stage, the tags that make a run a child of the stage's own, which is made where it is missing.

    Where MLflow has gone away, say so and return none: no training waits for them.
    """
    try:
        with store.readable():
            runs = _runs(store, study, stages)
    except UserError as error:
        say(f"warning: trials that start now are not shown below their stages: {error}")
        return {}
    return {stage: {PARENT: run_id} for stage, run_id in runs.items()}


def fill(
    store: Store,
    study: str,
    folder: Path,
    results: Sequence[StageResult],
    runs: Mapping[str, str],
    metric: str,
    say: Callable[[str], None],
) -> bool:
    """Give the runs of decided stages their files from the results folder, and the summary of their winner; and tag
    the `runs` of trials, by key, that several stages have: each is a child of the first one alone.

    What they have already is not sent again. Where MLflow does not take it now, say so and return False.
    """
    decided = {result.stage.name: result for result in results}
    try:
        with store.readable():
            experiment = store.experiment_id(study)
            for stage, run_id in _runs(store, study, decided).items():
                winner = decided[stage].winner
                scores = summary(winner.outcome, metric) if winner else {}
                words = {"winner": winner.outcome.cell.label} if winner else {}
                words[NOTE] = views.words(experiment, stage)
                if _give(store, run_id, files_of(folder, stage, decided), scores, words):
                    _give_data(store, run_id, runs, decided[stage])
                    for key, names in _shared(decided[stage], results).items():
                        store.client.set_tag(runs[key], STAGES, names)
            views.save(store, study, views.of(results, runs, metric))
    except UserError as error:
        say(f"warning: MLflow has not got the stages' tables: {error}; the same command delivers them")
        return isinstance(error.__cause__, Exception) and is_refusal(error.__cause__)
    return True


def files_of(folder: Path, stage: str, stages: Iterable[str]) -> dict[str, bytes]:
    """Return a stage's files in the results folder, and the report: name → content.

    A name may begin with that of another stage: it belongs to the one with the longest.
    """
    of = [name for name in stages if name == stage or name.startswith(f"{stage}-")]
    owns = {name: re.compile(rf"{re.escape(name)}(-[^.]*)?\.({KINDS})") for name in of}
    found = {}
    for path in sorted(folder.iterdir()):
        owners = [name for name, form in owns.items() if form.fullmatch(path.name)]
        if path.name == REPORT or max(owners, key=len, default=None) == stage:
            found[path.name] = path.read_bytes()
    return found


def _runs(store: Store, study: str, stages: Iterable[str]) -> dict[str, str]:
    client, experiment = store.client, store.experiment_id(study)
    found = pages(client.search_runs, experiment_ids=[experiment], filter_string=f"tags.{STAGE} LIKE '%'")
    runs = {run.data.tags[STAGE]: run.info.run_id for run in found}
    wanted = list(stages)
    for stage in reversed(wanted):  # MLflow lists the newest first
        if stage not in runs:
            tags = {STAGE: stage, "study": study} | origin.tags()
            runs[stage] = client.create_run(experiment, tags=tags, run_name=stage).info.run_id
            client.update_run(runs[stage], status="SCHEDULED")
    return {stage: runs[stage] for stage in wanted}


def _shared(result: StageResult, results: Iterable[StageResult]) -> dict[str, str]:
    """Return, by key, the names of all stages that have one of a stage's trials too, where there are several."""
    stages = {each.stage.name: {outcome.key for outcome in each.outcomes} for each in results}
    of = {outcome.key: [name for name, keys in stages.items() if outcome.key in keys] for outcome in result.outcomes}
    return {key: ", ".join(names) for key, names in of.items() if len(names) > 1}


def _give(
    store: Store, run_id: str, files: Mapping[str, bytes], scores: Mapping[str, float], words: Mapping[str, str]
) -> bool:
    """Give a run its files, metrics and tags, and end it; return whether it lacked any."""
    from mlflow.entities import Metric, RunTag

    client, run = store.client, store.client.get_run(run_id)
    every = [*sorted(files.items()), sorted(scores.items()), sorted(words.items())]
    digest = hashlib.sha256(repr(every).encode()).hexdigest()
    lacking = run.data.tags.get(HOLDS) != digest
    if lacking:
        store.attach(run_id, "", files)
        now = milliseconds()
        metrics = [Metric(name, value, now, STEP) for name, value in scores.items()]
        client.log_batch(run_id, metrics, tags=[RunTag(*tag) for tag in ({**words, HOLDS: digest}).items()])
    if run.info.status != "FINISHED":
        client.set_terminated(run_id)
    return lacking


def _give_data(store: Store, run_id: str, runs: Mapping[str, str], result: StageResult) -> None:
    """Give a stage's run the data set of its first trial that has a run: all of a stage have the same."""
    first = next((runs[outcome.key] for outcome in result.outcomes if outcome.key in runs), None)
    inputs = store.client.get_run(first).inputs if first else None
    if inputs and inputs.dataset_inputs:  # servers before 2.4 have none
        store.client.log_inputs(run_id, datasets=inputs.dataset_inputs)
