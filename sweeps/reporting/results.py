"""The files of a study under results/<study>/: the plan, a table and two figures per stage, one report."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis import report
from analysis.report import Section
from sweeps.decisions.agenda import Agenda
from sweeps.decisions.planning import PlannedStage
from sweeps.decisions.records import StageResult
from sweeps.reporting import decision_files
from sweeps.reporting.plan_tables import as_data
from sweeps.reporting.stage_report import StageReport, report_on
from sweeps.reporting.tables import Facts
from sweeps.reporting.verdicts import TITLE, claims_section, verdicts
from trainables.datasets import Dataset
from trainables.errors import UserError
from trainables.files import write_whole


@dataclass(frozen=True)
class DataSummary:
    """What a report says of a data set, so that the driver need not hold the images."""

    name: str  # for figures: of a folder without the way to it
    class_names: tuple[str, ...]
    train: int  # images
    val: int
    test: int
    multi_label: bool

    @classmethod
    def of(cls, data: Dataset) -> DataSummary:
        """Summarise a data set."""
        counts = len(data.train), len(data.val), len(data.test)
        return cls(data.short_name, data.class_names, *counts, data.multi_label)


def prepare(folder: Path, planned: Sequence[PlannedStage]) -> Path:
    """Make the study's folder and write plan.json. Raises UserError where that is not allowed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "plan.json").write_text(json.dumps(as_data(planned), indent=1))
    except OSError as error:
        raise UserError(f"the results cannot be written to {folder}: {error.strerror}") from error
    return folder


def write(folder: Path, agenda: Agenda, facts: Facts, data: DataSummary, findings: Sequence[Section] = ()) -> None:
    """Write the decided stages' tables and figures and the report over them, with what analyses found at its end, and
    what stages have decided so far.
    """
    claims = claims_section(agenda.study.claims, agenda.results, agenda.terms.yardstick)
    stages = [_section(folder, result, facts, data, agenda) for result in agenda.results]
    sections = [*stages, *([claims] if claims else []), *findings]
    decision_files.write(folder, agenda.decisions)
    decided = {result.stage.name for result in agenda.results}
    undecided = [stage.name for stage in agenda.study.all_stages if stage.name not in decided]
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
        "Analyses of finished models. Each figure's numbers lie beside it as CSV or NPZ, and in the model's MLflow run."
    ]
    report.write_json(folder / "analysis.json", f"{study}: analyses", intro, sections)
    report.write_html(folder / "analysis.html", f"{study}: analyses", intro, sections)
    return folder / "analysis.html"


def markdown(agenda: Agenda) -> str:
    """Return the study's question and the decided stages in short, for the description of the MLflow experiment.

    The question comes first, as a folded description shows its first line alone. All is shown as it stands.
    """
    asked = [_literally(agenda.study.question)] if agenda.study.question else []
    stages = ((result.stage.title, report_on(result).words(agenda.terms)) for result in agenda.results)
    parts = [*stages, *_claims(agenda)]
    decided = [f"**{_literally(name)}**\n\n" + "\n\n".join(map(_literally, lines)) for name, lines in parts]
    return "\n\n".join([*asked, *decided])


def _claims(agenda: Agenda) -> list[tuple[str, list[str]]]:
    """Return the verdicts on the study's claims in short, under their title; nothing where it has none."""
    found = verdicts(agenda.study.claims, agenda.results, agenda.terms.yardstick)
    lines = [f"{each.claimed} ({claim.source}): {each.ruling.value}: {each.why}." for claim, each in found]
    return [(TITLE, lines)] if lines else []


def _literally(text: str) -> str:
    """Return Markdown that is shown as this text, in one line: no link, no HTML, no heading."""
    return re.sub(r"([\\`*_\[\]~|#])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


def _section(folder: Path, result: StageResult, facts: Facts, data: DataSummary, agenda: Agenda) -> Section:
    shown = report_on(result)
    text = tuple(shown.words(agenda.terms))
    if not result.outcomes:
        return Section(result.stage.title, text)
    name = result.stage.name
    write_whole(folder / f"{name}.csv", shown.table(facts).to_csv().encode())
    for file, content in shown.files().items():
        write_whole(folder / file, content)
    drawn = _curves(result, shown, data, agenda) | shown.figures(agenda.study.name, data.name)
    pictures = []
    for end, (png, caption) in drawn.items():
        write_whole(folder / f"{name}-{end}.png", png)
        pictures.append((folder / f"{name}-{end}.png", caption))
    return Section(result.stage.title, text, tuple(shown.tables(facts)), tuple(pictures))


def _curves(result: StageResult, shown: StageReport, data: DataSummary, agenda: Agenda) -> dict[str, tuple[bytes, str]]:
    """Return the figures of a stage's curves: the end of the file's name → PNG and caption."""
    histories = [outcome.history for outcome in result.outcomes if outcome.history.epochs]
    if not histories:
        return {}
    spread, scored = shown.spread(len(agenda.terms.seeds)), agenda.terms.yardstick.metric
    metrics = [("train_loss", "loss", "train loss"), ("test_score", scored, f"test {scored}")]
    if any(np.ptp(history.curve("lr")) > 0 for history in histories):  # else a line that says nothing
        metrics.append(("lr", "lr", "learning rate"))
    from analysis import figures  # imports Matplotlib, which a plan does not need

    drawn = {}
    for metric, name, what in metrics:
        percent = name == scored
        png = figures.curves(
            shown.curves(metric),
            title=f"{result.stage.title}: {what}",
            ylabel=f"{what}, %" if percent else what,
            percent=percent,
            caption=f"{agenda.study.name}, {data.name}, {data.train:,} training images, {spread}",
            reference=shown.reference() if percent else (),
        )
        drawn[name] = (png, f"{what.capitalize()} against epoch, {data.name}, {spread}.")
    return drawn


def _about(agenda: Agenda, data: DataSummary, score: str) -> str:
    stopping = "on" if agenda.terms.early_stopping else "off"
    text = (
        f"{data.name}: {data.train:,} training, {data.val:,} validation and {data.test:,} test "
        f"images; {len(agenda.terms.seeds)} seed(s) per trial; early stopping {stopping}. Winners are chosen on "
        f"validation; the test set is only read. “Best test {score}” is the reports' own protocol (the best test "
        "epoch); “chosen epoch” is the best on validation, by the centred mean of three; test scores there and per "
        "class are what to quote."
    )
    text += _about_splits(agenda)
    if not data.multi_label:
        return text
    rule = agenda.study.baseline.training.ap_rule
    return f"{text} mAP: the mean over classes of the average precision, {rule} rule."


def _about_splits(agenda: Agenda) -> str:
    """Say where seeds split the data themselves; nothing where none does."""
    varied = {each.cell.trial.training.vary_split for result in agenda.results for each in result.outcomes}
    if True not in varied:
        return ""
    where = " In trials with vary_split" if len(varied) > 1 else " With vary_split"
    return (
        f"{where} each seed has a split of its own into training and validation images, so that the scatter over seeds "
        "has that of the split in it; on validation, trials are compared seed by seed."
    )
