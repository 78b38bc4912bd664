"""What a study has come to, as Python values: for a notebook."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.report import Measured
from sweeps.decisions.outcome import Outcome
from sweeps.decisions.records import StageResult, stage_winners
from sweeps.decisions.stages import Search, Stage
from trainables.config import Trial
from trainables.errors import UserError
from trainables.plan import parameters, plan_of

if TYPE_CHECKING:
    import pandas as pd

    from sweeps.model import Model
    from sweeps.reporting.tables import Facts

LARGEST = 30_000_000  # characters of a report that a notebook takes into itself
PICTURES = {".png", ".svg"}


@dataclass(frozen=True)
class Ended:
    """What a command has come to: the study's decided stages, the facts of their tables, and where the rest is."""

    study: str
    results: Sequence[StageResult]
    facts: Facts
    folder: Path
    uri: str
    complete: bool  # whether every stage is decided


@dataclass(frozen=True)
class Winner:
    """Who won a stage, and its scores on validation and test at the chosen epochs, 0..1: mean, sd, n over seeds.

    `values` are those of all fields that the study varies, by path.
    """

    stage: str
    value: str
    values: Mapping[str, Any]
    validation: Measured
    test: Measured
    run_id: str
    uri: str = field(repr=False)

    def model(self, seed: int | None = None) -> Model:
        """Return its model, of the first seed or of this one. Raises UserError as best() does."""
        from sweeps.api import best

        return best(self.run_id, seed=seed, tracking_uri=self.uri)


@dataclass(frozen=True)
class Results:
    """What a study has come to; a notebook shows its report. `status` is the command's: 1 where something failed."""

    status: int
    ended: Ended = field(repr=False)

    @property
    def complete(self) -> bool:
        """Whether every stage is decided; else the same call goes on."""
        return self.ended.complete

    def frame(self) -> pd.DataFrame:
        """Return a row for each trial of each decided stage; what is not known is missing.

        Columns: stage, value, status, epochs; validation and test score at the chosen epochs, 0..1, as mean, sd and
        number of seeds; parameters, run_id, key; and the value of each field that the study varies, under its path.
        """
        import pandas as pd

        rows = [self._row(each.stage.name, outcome) for each in self.ended.results for outcome in each.outcomes]
        return pd.DataFrame(rows, columns=None if rows else [*COLUMNS])

    @property
    def winners(self) -> dict[str, Winner]:
        """Who won, by stage."""
        return {stage: self._winner(stage, outcome) for stage, outcome in stage_winners(self.ended.results).items()}

    @property
    def winner(self) -> Winner | None:
        """The best of them on validation; None where no stage has one."""
        return max(self.winners.values(), key=lambda each: each.validation.mean, default=None)

    @property
    def figures(self) -> dict[str, Path]:
        """The figures' files, by name: `<stage>-loss`, `<stage>-accuracy` and so on."""
        names = [result.stage.name for result in self.ended.results]
        drawn = sorted(path for path in self.ended.folder.iterdir() if path.suffix in PICTURES)
        return {path.stem: path for path in drawn if path.stem.startswith(tuple(f"{name}-" for name in names))}

    @property
    def report(self) -> Path:
        """The report, one HTML file."""
        return self.ended.folder / "report.html"

    def _repr_html_(self) -> str:
        """Return the report in a frame, or a link to it where it is large."""
        place = html.escape(str(self.report))
        page = self.report.read_text(encoding="utf-8")
        link = f'<a href="{place}">{place}</a>'
        if len(page) > LARGEST:
            return link
        return f'<iframe srcdoc="{html.escape(page)}" title="{place}" style="width:100%;height:45em"></iframe>{link}'

    def _row(self, stage: str, outcome: Outcome) -> dict[str, Any]:
        trial, facts = outcome.cell.trial, self.ended.facts
        layers = plan_of(trial, facts.image_shape, len(facts.class_names))
        first = (stage, outcome.cell.label, outcome.status.value, outcome.history.epochs)
        scores = [part for name in ("val_score", "test_score") for part in _parts(_score(outcome, name))]
        last = (parameters(layers), facts.runs.get(outcome.key), outcome.key)
        return dict(zip(COLUMNS, (*first, *scores, *last), strict=True)) | self._values(outcome)

    def _winner(self, stage: str, outcome: Outcome) -> Winner:
        scores = Measured.of(outcome.chosen("val_score")), Measured.of(outcome.chosen("test_score"))
        run_id = self.ended.facts.runs[outcome.key]
        return Winner(stage, outcome.cell.label, self._values(outcome), *scores, run_id, self.ended.uri)

    def _values(self, outcome: Outcome) -> dict[str, Any]:
        return {path: _value(outcome.cell.trial, path) for path in _varied(self.ended.results)}


COLUMNS = (
    *("stage", "value", "status", "epochs", "validation_mean", "validation_sd", "validation_n"),
    *("test_mean", "test_sd", "test_n", "parameters", "run_id", "key"),
)


def _varied(results: Sequence[StageResult]) -> list[str]:
    """Return the fields that any of the stages varies, each once."""
    found: dict[str, None] = {}
    for result in results:
        if isinstance(result.stage, Stage):
            found |= dict.fromkeys(result.stage.vary)
        elif isinstance(result.stage, Search):
            found |= dict.fromkeys(result.stage.space.fields)
    return list(found)


def _value(trial: Trial, path: str) -> Any:
    """Return a trial's field; None where a network of its kind has none such."""
    try:
        return trial.get(path)
    except (AttributeError, UserError):
        return None


def _score(outcome: Outcome, name: str) -> Measured | None:
    return Measured.of(outcome.chosen(name)) if outcome.history.epochs else None


def _parts(score: Measured | None) -> tuple[float | None, float | None, int | None]:
    return (score.mean, score.sd, score.n) if score else (None, None, None)
