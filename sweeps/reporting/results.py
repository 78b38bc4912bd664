"""The files of a study under results/<study>/: plan, a table and two figures per stage, one report."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from analysis import figures, report
from analysis.report import Section
from sweeps.decisions.agenda import Agenda, StageResult
from sweeps.decisions.planning import PlannedStage
from sweeps.decisions.samplers import keep as keep_search
from sweeps.decisions.search_run import SearchRun
from sweeps.reporting.leaderboard import search_tables, what_mattered
from sweeps.reporting.plan_tables import as_data
from sweeps.reporting.tables import Facts, published_table, reference, stage_curves, stage_table, title, words
from trainables.datasets import Dataset
from trainables.errors import UserError
from trainables.files import write_whole


def prepare(folder: Path, planned: Sequence[PlannedStage]) -> Path:
    """Make the study's folder and write plan.json. Raises UserError where that is not allowed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "plan.json").write_text(json.dumps(as_data(planned), indent=1))
    except OSError as error:
        raise UserError(f"the results cannot be written to {folder}: {error.strerror}") from error
    return folder


def write(folder: Path, agenda: Agenda, facts: Facts, data: Dataset, findings: Sequence[Section] = ()) -> None:
    """Write the decided stages' tables and figures and the report over them, with what analyses found at its end."""
    sections = [*(_section(folder, result, facts, data, agenda) for result in agenda.results), *findings]
    undecided = [
        stage.name
        for stage in agenda.study.stages
        if stage.name not in {result.stage.name for result in agenda.results}
    ]
    intro = [_about(agenda, data, facts.score)]
    if undecided:
        intro.append(f"Not decided yet: {', '.join(undecided)}. The same command goes on.")
    report.write_html(folder / "report.html", agenda.study.name, intro, sections)
    report.write_json(folder / "report.json", agenda.study.name, intro, sections)


def keep(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files into a folder. Raises UserError where that is not allowed."""
    try:
        for name, content in files.items():
            write_whole(folder / name, content)
    except OSError as error:
        raise UserError(f"the results cannot be written to {folder}: {error.strerror}") from error
    return folder


def write_findings(folder: Path, study: str, sections: Sequence[Section]) -> Path:
    """Write what analyses found as a report of its own and return its path."""
    intro = [
        "Analyses of finished models. Every figure's numbers lie beside it as CSV or NPZ, and in the model's MLflow "
        "run."
    ]
    report.write_json(folder / "analysis.json", f"{study}: analyses", intro, sections)
    report.write_html(folder / "analysis.html", f"{study}: analyses", intro, sections)
    return folder / "analysis.html"


def markdown(agenda: Agenda) -> str:
    """Return the decided stages in short, for the description of the MLflow experiment.

    Names and notes are shown as they stand.
    """
    stages = ((title(result), words(result, agenda.yardstick)) for result in agenda.results)
    return "\n\n".join(f"**{_literally(name)}**\n\n" + "\n\n".join(map(_literally, lines)) for name, lines in stages)


def _literally(text: str) -> str:
    """Return Markdown that is shown as this text, in one line: no link, no HTML, no heading."""
    return re.sub(r"([\\`*_\[\]~|#])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


def _section(folder: Path, result: StageResult, facts: Facts, data: Dataset, agenda: Agenda) -> Section:
    text = tuple(words(result, agenda.yardstick))
    if not result.outcomes:
        return Section(title(result), text)
    table = stage_table(result, facts)
    write_whole(folder / f"{result.stage.name}.csv", table.to_csv().encode())
    if result.search:
        return _search_section(folder, result, result.search, text, data, agenda)
    published = published_table(result, facts)
    tables = (table, published) if published else (table,)
    return Section(title(result), text, tables, tuple(_figures(folder, result, data, agenda)))


def _search_section(
    folder: Path, result: StageResult, search: SearchRun, text: tuple[str, ...], data: Dataset, agenda: Agenda
) -> Section:
    """Return what a search came to; its decisions, and Optuna's own view of it, become files beside the table."""
    name = result.stage.name
    write_whole(
        folder / f"{name}-decisions.jsonl", "".join(json.dumps(each) + "\n" for each in search.decisions).encode()
    )
    reasons: dict[int, dict[str, str | None]] = {told.number: {"reason": reason} for told, reason in search.unbuildable}
    reasons |= {draw.attempt: {"trial": draw.cell.label, "reason": draw.reason} for draw in search.draws.values()}
    keep_search(folder / f"{name}-optuna.db", name, search.stage.space, search.stage.objectives, search.told, reasons)
    drawn = _figures(folder, result, data, agenda)
    if mattered := what_mattered(search):
        path = folder / f"{name}-importance.png"
        epoch, shares = mattered
        caption = f"{agenda.study.name}, {data.short_name}, PED-ANOVA over the trials' scores at epoch {epoch}"
        values = np.array(list(shares.values()))
        figure = figures.bars(
            list(shares),
            {"share": values},
            title=f"{name}: what mattered",
            caption=caption,
            ylabel="share, %",
            percent=True,
            sort=True,
        )
        write_whole(path, figure)
        drawn.append((path, f"What made the best quarter of the trials good. {caption}."))
    return Section(title(result), text, tuple(search_tables(search)), tuple(drawn))


def _figures(folder: Path, result: StageResult, data: Dataset, agenda: Agenda) -> list[tuple[Path, str]]:
    if not any(outcome.history.epochs for outcome in result.outcomes):
        return []
    drawn = []
    seeds = len(agenda.seeds)
    spread = f"mean of {seeds} seeds, band ± 1 sd" if seeds > 1 else "1 seed"
    if result.search:
        spread = f"{len(result.search.seeds)} seeds (mean, band ± 1 sd) of those confirmed, 1 of the others"
    scored = agenda.yardstick.metric
    drawn_metrics = (
        ("train_loss", "loss", "train loss"),
        ("test_score", scored, f"test {scored}"),
        ("lr", "lr", "learning rate"),
    )
    for metric, name, what in drawn_metrics:
        if metric == "lr" and all(
            np.ptp(outcome.history.curve("lr")) == 0 for outcome in result.outcomes if outcome.history.epochs
        ):
            continue  # a line that says nothing
        path = folder / f"{result.stage.name}-{name}.png"
        drawing = figures.curves(
            stage_curves(result, metric),
            title=f"{title(result)}: {what}",
            ylabel=f"{what}, %" if name == scored else what,
            percent=name == scored,
            caption=f"{agenda.study.name}, {data.short_name}, {len(data.train):,} training images, {spread}",
            reference=reference(result) if name == scored else (),
        )
        write_whole(path, drawing)
        drawn.append((path, f"{what.capitalize()} against epoch, {data.short_name}, {spread}."))
    return drawn


def _about(agenda: Agenda, data: Dataset, score: str) -> str:
    return (
        f"{data.short_name}: {len(data.train):,} training, {len(data.val):,} validation and {len(data.test):,} test "
        "images; "
        f"{len(agenda.seeds)} seed(s) per trial; early stopping {'on' if agenda.early_stopping else 'off'}. "
        f"Winners are chosen on validation; the test set is only read. “Best test {score}” is the reports' own "
        "protocol (the best test "
        "epoch); “chosen epoch” is the best on validation, and test scores there and per class are what to quote."
        + (
            f" mAP: the mean over classes of the average precision, {agenda.study.baseline.training.ap_rule} rule."
            if data.multi_label
            else ""
        )
    )
