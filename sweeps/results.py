"""The files of a study under results/<study>/: plan, a table and two figures per stage, one report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from analysis import figures, report
from analysis.report import Section
from sweeps.agenda import Agenda, StageResult
from sweeps.options import RunOptions
from sweeps.planning import as_data
from sweeps.study import PlannedStage
from sweeps.tables import Facts, published_table, reference, stage_curves, stage_table, title, words
from trainables.datasets import Dataset
from trainables.errors import UserError


def prepare(folder: Path, planned: Sequence[PlannedStage]) -> Path:
    """Make the study's folder and write plan.json. Raises UserError where that is not allowed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "plan.json").write_text(json.dumps(as_data(planned), indent=1))
    except OSError as error:
        raise UserError(f"the results cannot be written to {folder}: {error.strerror}") from error
    return folder


def write(folder: Path, agenda: Agenda, facts: Facts, options: RunOptions, data: Dataset) -> None:
    """Write the decided stages' tables and figures and the report over them."""
    sections = [_section(folder, result, facts, data, agenda) for result in agenda.results]
    undecided = [stage.name for stage in agenda.study.stages if stage.name not in {result.stage.name for result in agenda.results}]
    intro = [_about(agenda, options, data)]
    if undecided:
        intro.append(f"Not decided yet: {', '.join(undecided)}. The same command goes on.")
    report.write_html(folder / "report.html", agenda.study.name, intro, sections)
    report.write_json(folder / "report.json", agenda.study.name, intro, sections)


def markdown(agenda: Agenda, data: Dataset) -> str:
    """Return the decided stages in short, for the description of the MLflow experiment."""
    stages = ((title(result), words(result, len(data.val))) for result in agenda.results)
    return "\n\n".join(f"**{name}**\n\n" + "\n\n".join(lines) for name, lines in stages)


def _section(folder: Path, result: StageResult, facts: Facts, data: Dataset, agenda: Agenda) -> Section:
    text = tuple(words(result, len(data.val)))
    if not result.outcomes:
        return Section(title(result), text)
    table = stage_table(result, facts)
    (folder / f"{result.stage.name}.csv").write_text(table.to_csv())
    published = published_table(result, facts)
    tables = (table, published) if published else (table,)
    return Section(title(result), text, tables, tuple(_figures(folder, result, data, agenda)))


def _figures(folder: Path, result: StageResult, data: Dataset, agenda: Agenda) -> list[tuple[Path, str]]:
    if not any(outcome.history.epochs for outcome in result.outcomes):
        return []
    drawn = []
    seeds = len(agenda.seeds)
    spread = f"mean of {seeds} seeds, band ± 1 sd" if seeds > 1 else "1 seed"
    for metric, name in (("train_loss", "loss"), ("test_accuracy", "accuracy")):
        path = folder / f"{result.stage.name}-{name}.png"
        what = metric.replace("_", " ")
        figures.curves(
            path,
            stage_curves(result, metric),
            title=f"{title(result)}: {what}",
            ylabel=what if name == "loss" else f"{what}, %",
            percent=name == "accuracy",
            caption=f"{agenda.study.name}, {data.name}, {len(data.train):,} training images, {spread}",
            reference=reference(result) if name == "accuracy" else (),
        )
        drawn.append((path, f"{what.capitalize()} against epoch, {data.name}, {spread}."))
    return drawn


def _about(agenda: Agenda, options: RunOptions, data: Dataset) -> str:
    return (
        f"{data.name}: {len(data.train):,} training, {len(data.val):,} validation and {len(data.test):,} test images; "
        f"{len(agenda.seeds)} seed(s) per trial; early stopping {'on' if options.early_stopping else 'off'}. "
        "Winners are chosen on validation; the test set is only read. “Best test acc” is the reports' own protocol (the best test epoch); "
        "“chosen epoch” is the best on validation, and test accuracies there and per class are what to quote."
    )
