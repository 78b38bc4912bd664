"""The doors from Python: run a study from a notebook, and use the best model of one that has run.

    from sweeps import best, run
    from sweeps.part_a import STUDY

    done = run(STUDY, quick=True, seeds=2)      # as `python sweeps/part_a.py --quick --seeds 2`
    done.frame()                                # a row a trial; done.winner, done.figures, done.report
    best("part_a_quick").predict("boat.png")    # class names and probabilities

What is a mistake raises UserError, a ValueError whose message is one line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from sweeps.model import Model
from sweeps.options import RunOptions, parse
from sweeps.results import Ended, Results
from sweeps.study import Study
from trainables.errors import UserError, suggest


def run(study: Study, **options: Any) -> Results:
    """Run what is not done yet of a study, and return what it has come to.

    The options are the command's: `seeds=3`, `early_stopping=False`, `stages=("depth", "lr")`. Raises UserError where
    the command would say what is wrong, and KeyboardInterrupt after keeping what was done.
    """
    from sweeps.engine import run_study
    from sweeps.terminal import console

    if "dry_run" in options:
        raise UserError("run() has no option 'dry_run'; plan() prints the plan")
    chosen, told = _options(study, options), list[Ended]()
    status = run_study(study, chosen, console(), told.append)
    return Results(status, told[0])


def plan(study: Study, **options: Any) -> None:
    """Print the plan of a study with these options, as --dry-run does. Raises UserError as run() does."""
    from sweeps.engine import run_study
    from sweeps.terminal import console

    run_study(study, replace(_options(study, options), dry_run=True), console())


def best(what: str, *, stage: str | None = None, seed: int | None = None, tracking_uri: str | None = None) -> Model:
    """Return the model of a study's best winner on validation, of the winner of a `stage`, or of a run by its id.

    Of its networks it is that of the first seed, or of `seed`. The store is the command's: MLFLOW_TRACKING_URI, else
    mlflow.db in the working directory. Raises UserError, in one line, where there is no such model.
    """
    from sweeps.tracking.connection import existing_uri
    from sweeps.tracking.finished import load, model_name, winner
    from sweeps.tracking.store import Store

    if not isinstance(what, str):
        raise UserError(f"best() takes a study's name or a run's id, but got a {type(what).__name__}")
    store = Store(existing_uri(tracking_uri))
    trial = winner(store, what, stage)
    return Model.of(model_name(trial), trial.run_id, load(store, trial), seed)


def _options(study: Study, given: Mapping[str, Any]) -> RunOptions:
    """Return the options as the command line would have them. Raises UserError as it does."""
    if not isinstance(study, Study):
        raise UserError(f"run() takes a Study, as `from sweeps.part_a import STUDY` gives one, but got {study!r:.60}")
    known = [option.name for option in fields(RunOptions)]
    for name in given:
        if name not in known:
            raise UserError(f"there is no option {name!r}{suggest(name, known)}")
    arguments = [argument for name, value in given.items() for argument in _argument(name, value)]
    return parse(arguments, description="", stages=[stage.name for stage in study.stages])


def _argument(name: str, value: Any) -> list[str]:
    flag = f"--{name.strip('_').replace('_', '-')}"  # `for` is a word of Python's: `for_`
    if value is None:
        return []
    if isinstance(value, bool):
        off = [f"--no-{flag[2:]}"] if name == "early_stopping" else []
        return [flag] if value else off
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value))
    return [f"{flag}={value}"]
