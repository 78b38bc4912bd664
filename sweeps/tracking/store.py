"""What MLflow has: which trials are done, and their files.

`Store` reads, and writes what does not belong to a trial under way: experiments, descriptions, findings. Trials under
way are written by the Tracker (sweeps/tracking/tracker.py).

Importing this module does not import MLflow, which takes seconds.
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.decisions.records import Drawn, Known
from sweeps.decisions.status import Status
from sweeps.tracking import snapshot
from sweeps.tracking.artifacts import Artifacts, Unreadable, folder_of
from sweeps.tracking.connection import Connection, one_line, pages
from sweeps.tracking.entry import COPY_OF, TO_COPY, WENT_ON
from sweeps.tracking.snapshot import WITNESS, StoredCurves, StoredState, Witness
from sweeps.tracking.spool import check_name
from trainables.errors import UserError, suggest
from trainables.files import parsed
from trainables.history import History
from trainables.snapshot import CHECKPOINT, CURVES

if TYPE_CHECKING:
    from mlflow.entities import Run

TAG_LENGTH = 5000  # the longest tag value that servers back to 2.0 take
KIND = {"mlflow.experimentKind": "custom_model_development"}  # so that MLflow opens it on its runs, and asks nothing

# How complete a run is, by its status. One that was superseded counts as nothing, and has no place here.
COMPLETENESS = {
    Status.FAILED: 0,
    Status.RUNNING: 1,
    Status.INTERRUPTED: 1,
    Status.DROPPED: 1,
    Status.CENSORED: 2,
    Status.DONE: 3,
}
ENDED = (Status.CENSORED, Status.DONE)  # as they were meant to: nobody goes on writing them
NOT_ASKED = StoredCurves(None)
COUNT = re.compile("[0-9]{1,6}")
NAMED = 5  # trials, where many have the same trouble

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredTrial:
    """A trial as MLflow has it."""

    key: str
    run_id: str
    experiment: str
    name: str
    status: Status
    curves: dict[str, Any] | None  # as in its curves.json; None if it has none that can be read, or was not asked for
    reason: str | None  # why it failed
    lost: str | None = None  # why one that ran to its end has no curves that can be read


def counts(run: Run) -> bool:
    """Tell whether a run is a trial's, and was not superseded."""
    return run.data.tags.get("status") in COMPLETENESS


def lost(trials: Iterable[StoredTrial]) -> list[str]:
    """Return a line for each trial that ran to its end and has no curves any more; of many one for the rest."""
    lines = [
        f"{trial.name} (run {trial.run_id}) is {trial.status}, but {trial.lost}: it counts as not done, and is trained "
        "again"
        for trial in trials
        if trial.lost
    ]
    more = len(lines) - NAMED
    return lines[:NAMED] + [f"and {more} more such trials, which are trained again too"] * (more > 0)


class Store(Connection):
    """What MLflow has, and a connection to it."""

    def trials(self, keys: Iterable[str] | None, study: str | None = None) -> dict[str, StoredTrial]:
        """Return the trials with these keys that any experiment has, with their curves; for None all, without curves.

        With `study` only those of its own experiment. Of several runs with one key it is the most complete, then one
        that is no mere copy, then the latest. A store that cannot be read is a UserError.
        """
        wanted = None if keys is None else set(keys)
        with self.readable():
            names = {number: name for number, name in self.experiments().items() if study in (None, name)}
            best = self.best_runs(wanted, list(names)) if names else {}
            curves = dict.fromkeys(best, NOT_ASKED) if wanted is None else self.all_curves(best)
        return {key: stored(run, names[run.info.experiment_id], curves[key]) for key, run in best.items()}

    def finished(self, what: str) -> list[StoredTrial]:
        """Return the trials that ran in full, with their curves, of a study (an experiment's name) or a run (its id).

        Raises UserError, naming what there is, where there is no such run or study, or nothing of it is done.
        """
        with self.readable():
            experiments = self.experiments()
        if re.fullmatch("[0-9a-f]{32}", what):
            runs = [self._run(what)]
        elif what in experiments.values():
            numbers = [number for number, name in experiments.items() if name == what]
            runs = list(self.best_runs(None, numbers).values())
        else:
            known = [name for name in experiments.values() if name != "Default"]
            raise UserError(f"{what!r} is neither a run's id nor a study in {self.uri}{suggest(what, known)}")
        done = [run for run in runs if run.data.tags.get("status") == Status.DONE and "key" in run.data.tags]
        if not done:
            raise UserError(f"{what} has no trial that ran in full")
        with self.readable():
            return [stored(run, experiments[run.info.experiment_id], self._curves(run)) for run in done]

    def drawn(self, study: str) -> dict[str, list[Drawn]]:
        """Return what a study's searches have drawn, by stage. What cannot be read is left out, and said."""
        with self.readable():
            numbers = [number for number, name in self.experiments().items() if name == study]
            runs = self.best_runs(None, numbers).values() if numbers else ()
        by_stage: dict[str, list[Drawn]] = {}
        for run in runs:
            if "draw" in run.data.tags:
                try:
                    stage, draw = _drawn(run.data.tags)
                except ValueError as error:
                    what = one_line(error)
                    log.warning("run %s (%s): its draw is damaged and left out: %s", run.info.run_id, _name(run), what)
                else:
                    by_stage.setdefault(stage, []).append(draw)
        return by_stage

    def dataset(self, run_id: str) -> str:
        """Return the name of the data set that a trial was trained on. Raises UserError where the run has lost it."""
        params = self._run(run_id).data.params
        if "dataset" not in params:
            raise UserError(f"run {run_id} does not say on which data set it was trained")
        return params["dataset"]

    def files(self, run_id: str) -> dict[str, bytes]:
        """Return the run's snapshot: artifact → content. Raises Unreadable."""
        return snapshot.read_files(Artifacts.of(self.client, run_id))

    def curves(self, run: Run) -> StoredCurves:
        """Return a run's curves as it has them."""
        run_id, witness = run.info.run_id, Witness()
        if run.data.tags["status"] in ENDED:  # metrics of one under way may be ahead of its files
            witness = Witness(
                run.data.metrics.get(WITNESS),
                lambda step: [
                    each.value for each in self.client.get_metric_history(run_id, WITNESS) if each.step == step
                ],
            )
        return snapshot.read_curves(Artifacts.at(self.client, run.info.artifact_uri), witness)

    def state(self, run_id: str) -> StoredState:
        """Return what the run has for training to go on from."""
        return snapshot.read_state(Artifacts.of(self.client, run_id))

    def checkpoint(self, run_id: str) -> dict[str, bytes]:
        """Return the part of the run's snapshot that a finished model is loaded from: file name → content.

        Raises Unreadable, naming the run.
        """
        return {f"{CHECKPOINT}/{name}": content for name, content in self.attached(run_id, CHECKPOINT).items()}

    def attached(self, run_id: str, folder: str) -> dict[str, bytes]:
        """Return the files that attach() added: name → content; {} where there are none.

        Raises Unreadable, naming the run, where one of them cannot be read, whatever is asked again.
        """
        try:
            return Artifacts.of(self.client, run_id).below(folder)
        except Unreadable as error:
            raise Unreadable(f"{folder} of run {run_id} cannot be read: {error}") from error

    def attach(self, run_id: str, folder: str, files: Mapping[str, bytes]) -> None:
        """Add files to a run, in a folder of its artifacts."""
        for name, content in files.items():
            check_name(name)
            path = f"{folder}/{name}" if folder else name
            with tempfile.TemporaryDirectory() as local:
                file = Path(local) / Path(path).name
                file.write_bytes(content)
                # one by one, as MLflow then looks whether a link leads out of the run's folder
                self.client.log_artifact(run_id, str(file), folder_of(path) or None)

    def delete_artifact(self, run_id: str, path: str) -> None:
        """Delete one of the run's files. Raises Unreadable where it has none of this name in its own folder."""
        Artifacts.of(self.client, run_id).delete(path)

    def supersede(self, keys: Iterable[str]) -> None:
        """Set aside the runs of these trials: they stay to be seen, tagged `superseded`, and count as nothing."""
        with self.readable():
            while runs := self.best_runs(set(keys), list(self.experiments())):
                for run in runs.values():
                    self.client.set_tag(run.info.run_id, "status", Status.SUPERSEDED.value)

    def describe(self, experiment: str, markdown: str) -> None:
        """Set the experiment's description, shown above its runs; say what kind it is, where nobody has."""
        with self.readable():
            number = self.experiment_id(experiment)
            has = self.client.get_experiment(number).tags
            for name, value in {**KIND, **has, "mlflow.note.content": markdown[:TAG_LENGTH]}.items():
                if has.get(name) != value:
                    self.client.set_experiment_tag(number, name, value)

    def experiment_id(self, name: str) -> str:
        """Return the id of the experiment, which is created if need be."""
        known = self.client.get_experiment_by_name(name)
        if known is None:
            # For sqlite MLflow would take ./mlruns of whichever process happens to write. A server decides for itself.
            location = str(self.database.parent / "mlruns" / name) if self.database else None
            try:
                return self.client.create_experiment(name, artifact_location=location, tags=KIND)
            except Exception:
                known = self.client.get_experiment_by_name(name)
                if known is None:
                    raise  # else another process was faster
        if known.lifecycle_stage != "active":
            raise UserError(
                f"MLflow experiment {name!r} is deleted; `mlflow experiments restore -x {known.experiment_id}` or "
                "`mlflow gc`"
            )
        return known.experiment_id

    def experiments(self) -> dict[str, str]:
        """Return the experiments: id → name."""
        return {each.experiment_id: each.name for each in pages(self.client.search_experiments)}

    def _run(self, run_id: str) -> Run:
        try:
            return self.client.get_run(run_id)
        except Exception as error:
            raise UserError(f"MLflow at {self.uri} has no run {run_id}: {one_line(error)}") from error

    def best_runs(self, wanted: set[str] | None, experiments: list[str]) -> dict[str, Run]:
        """Return of each wanted trial (None: of all) the most complete run that counts; of equals one that is no
        mere copy, then the latest.
        """
        # MLflow's filters know no OR, and no IN for tags: a few keys are asked for one by one, many are picked out of
        # all.
        one_by_one = wanted is not None and len(wanted) <= 25
        filters = [f"tags.key = '{key}'" for key in wanted or ()] if one_by_one else ["tags.key LIKE '%'"]
        best: dict[str, Run] = {}
        for each in filters:
            for run in pages(self.client.search_runs, experiment_ids=experiments, filter_string=each):
                key = run.data.tags["key"]
                if not counts(run) or (wanted is not None and key not in wanted):
                    continue
                if key not in best or _completeness(run) > _completeness(best[key]):
                    best[key] = run
        return best

    def all_curves(self, runs: Mapping[str, Run]) -> dict[str, StoredCurves]:
        """Return the curves of runs, by key."""
        with ThreadPoolExecutor(8) as pool:
            return dict(zip(runs, pool.map(self._curves, runs.values()), strict=True))

    def _curves(self, run: Run) -> StoredCurves:
        """Return a run's curves. Of one that has ended they are mended in MLflow, where its state still has them."""
        found, ended = self.curves(run), run.data.tags["status"] in ENDED
        if ended and found.from_state is not None:
            self._mend(run, found.from_state, str(found.wrong))
        elif ended and found.wrong and found.form:
            log.warning("run %s (%s): %s; it is used as it is", run.info.run_id, _name(run), found.wrong)
        return found

    def _mend(self, run: Run, content: bytes, wrong: str) -> None:
        try:
            self.attach(run.info.run_id, "", {CURVES: content})
        except Exception as error:  # it is only for the next reader; this one has the curves
            how = f"but that cannot be uploaded: {one_line(error)}"
        else:
            how = "and it is uploaded again"
        log.warning("run %s (%s): %s; what its state has is taken, %s", run.info.run_id, _name(run), wrong, how)


def stored(run: Run, experiment: str, curves: StoredCurves) -> StoredTrial:
    """Return a run as a trial, with its curves."""
    tags = run.data.tags
    status = Status(tags["status"])
    lost = curves.wrong if status in ENDED and curves.form is None else None
    reason = tags.get("failure_reason")
    return StoredTrial(tags["key"], run.info.run_id, experiment, _name(run), status, curves.form, reason, lost)


def known(trial: StoredTrial) -> Known:
    """Return what is known of a stored trial."""
    history = History.from_dict(trial.curves) if trial.curves else History({})
    return Known(trial.status, history, trial.run_id, trial.reason, trial.experiment)


def _drawn(tags: Mapping[str, str]) -> tuple[str, Drawn]:
    """Return the stage that a run was drawn for, and the draw. Raises ValueError where the tags are damaged."""
    counts = {name: tags.get(name, "") for name in ("number", "attempt")}
    counts |= {name: tags.get(name, "0") for name in ("among", "taken")}
    for name, text in counts.items():
        if not COUNT.fullmatch(text):
            raise ValueError(f"{name} {text!r:.40} must be a whole number")
    values = parsed(tags["draw"])
    if not isinstance(values, dict):
        raise ValueError(f"draw is {values!r:.40}, but must have entries")
    number, attempt, among, taken = map(int, counts.values())
    return tags.get("stage", ""), Drawn(tags["key"], number, attempt, values, among, taken)


def _name(run: Run) -> str:
    return run.info.run_name or run.info.run_id


def _completeness(run: Run) -> tuple[int, bool, int]:
    tags = run.data.tags
    original = WENT_ON in tags or not (TO_COPY in tags or COPY_OF in tags)
    return COMPLETENESS[Status(tags["status"])], original, run.info.end_time or run.info.start_time
