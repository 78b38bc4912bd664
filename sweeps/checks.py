"""What is read and checked before anything is spent: pretrained weights and analyses."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from sweeps.decisions.planning import PlannedStage
from sweeps.study import Study
from trainables.datasets import Dataset

if TYPE_CHECKING:
    from analysis.job import Job


def weights(planned: Iterable[PlannedStage], data: Dataset, data_dir: Path, console: Console) -> dict[str, bytes]:
    """Read the pretrained weights that trials start from, and say what of it fits the networks.

    Raises UserError where nothing does.
    """
    starting = [trial for stage in planned for trial in stage.reachable if trial.weights is not None]
    if not starting:
        return {}
    from trainables import pretrained  # imports torch, which takes seconds

    files = {
        name: pretrained.read(name, data_dir) for name in {trial.weights for trial in starting} if name is not None
    }
    networks = {(trial.weights, trial.model): trial for trial in starting}
    for trial in networks.values():
        name = str(trial.weights)
        report = pretrained.check(trial, data, pretrained.parse(name, files[name]))
        console.print(f"{trial.weights}: {report.summary}", highlight=False, soft_wrap=True)
    return files


def jobs(study: Study) -> list[Job]:
    """Return the study's analyses. Raises UserError for one that is unknown or has a wrong option."""
    if not study.analyses:
        return []
    from analysis.jobs import make  # imports torch and Matplotlib, which takes seconds

    return make(study.analyses)
