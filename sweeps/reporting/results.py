"""The files of a study under results/<study>/: the plan, a table and figures per stage, one report."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from analysis import report
from analysis.page import Chapter, Page, of_section, write_page
from analysis.report import Section
from sweeps.decisions.agenda import Agenda
from sweeps.decisions.planning import PlannedStage
from sweeps.decisions.records import StageResult
from sweeps.reporting import decision_files
from sweeps.reporting.album import Album
from sweeps.reporting.answers import answers_chapter
from sweeps.reporting.closing_chapters import (
    appendix_chapter,
    final_chapter,
    learned_chapter,
    limits_chapter,
    reproduce_chapter,
)
from sweeps.reporting.factor_chapters import stage_chapter
from sweeps.reporting.material import DataSummary, Material
from sweeps.reporting.plan_tables import as_data
from sweeps.reporting.provenance import Provenance
from sweeps.reporting.setup_chapter import about_data, legend, protocol, setup_chapter
from sweeps.reporting.stage_report import report_on, whole_table
from sweeps.reporting.tables import Facts
from sweeps.reporting.verdicts import TITLE, claims_section, verdicts
from trainables.errors import UserError
from trainables.files import write_whole

ENDS = (
    "effects",
    "learning",
    "loss",
    "accuracy",
    "mAP",
    "history",
    "drawn",
    "importance",
    "pareto",
)  # of a stage's figures


def prepare(folder: Path, planned: Sequence[PlannedStage]) -> Path:
    """Make the study's folder and write plan.json. Raises UserError where that is not allowed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "plan.json").write_text(json.dumps(as_data(planned), indent=1))
    except OSError as error:
        raise UserError(f"the results cannot be written to {folder}: {error.strerror}") from error
    return folder


def write(
    folder: Path,
    agenda: Agenda,
    facts: Facts,
    data: DataSummary,
    findings: Sequence[Section] = (),
    source: Provenance | None = None,
    album: Album | None = None,
) -> None:
    """Write the stages' tables and figures and the report over them, with what analyses found, and what stages have
    decided so far.

    An `album` that has figures of an earlier report draws only what has changed. Raises OSError.
    """
    material = Material(agenda, facts, data, source or Provenance(), findings)
    album = album or Album(folder)
    decision_files.write(folder, agenda.decisions)
    decision_files.write_acts(folder, material.source.acts)
    for result in material.results:
        _write_files(folder, result, material)
    write_page(folder / "report.html", page(material, album))
    claims = _claims_section(material)
    stages = [_section(result, material, album) for result in agenda.results]
    sections = [*stages, *([claims] if claims else []), *findings]
    more = {"question": agenda.study.question, "state": state(material), "date": material.source.date}
    intro = [_about(material), *_undecided(agenda)]
    report.write_json(folder / "report.json", agenda.study.name, intro, sections, more)


def page(material: Material, album: Album) -> Page:
    """Return the report as a page, with its figures in the album."""
    agenda, best = material.agenda, material.best
    claims = _claims_section(material)
    chapters = [
        answers_chapter(material),
        setup_chapter(material, album),
        *(stage_chapter(result, material, album) for result in material.results),
        final_chapter(material, best) if best else None,
        learned_chapter(material),
        of_section(claims) if claims else None,
        limits_chapter(material),
        reproduce_chapter(material),
        appendix_chapter(material),
    ]
    about = " · ".join(filter(None, [material.data.name, material.source.date, state(material)]))
    shown: list[Chapter] = [chapter for chapter in chapters if chapter]
    return Page(agenda.study.name, shown, agenda.study.question, (about, *_undecided(agenda)))


def state(material: Material) -> str:
    """Return how far a study has come."""
    agenda, ended = material.agenda, material.ended
    decided, stages = len(agenda.results), len(agenda.study.all_stages)
    if decided == stages:
        return "complete" if stages == 1 else f"complete: all {stages} stages decided"
    so_far = f"{decided} of {stages} stages decided" if stages > 1 else "under way"
    return f"{so_far}, {ended} {'trial' if ended == 1 else 'trials'} ended"


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
    intro = ["Analyses of finished models. The numbers behind each figure are beside it as CSV or NPZ, and in MLflow."]
    report.write_json(folder / "analysis.json", f"{study}: analyses", intro, sections)
    page = Page(f"{study}: analyses", [*map(of_section, sections)], about=intro)
    write_page(folder / "analysis.html", page)
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


def _claims_section(material: Material) -> Section | None:
    agenda = material.agenda
    asked = agenda.study.claims, agenda.results, agenda.terms.yardstick
    return material.once("claims", lambda: claims_section(*asked))


def _literally(text: str) -> str:
    """Return Markdown that is shown as this text, in one line: no link, no HTML, no heading."""
    return re.sub(r"([\\`*_\[\]~|#])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


def _write_files(folder: Path, result: StageResult, material: Material) -> None:
    """Write a stage's table with all columns, and what else is kept of it."""
    if not result.outcomes:
        return
    shown = report_on(result)
    write_whole(folder / f"{result.stage.name}.csv", whole_table(result, material).to_csv().encode())
    for file, content in shown.files().items():
        write_whole(folder / file, content)


def _section(result: StageResult, material: Material, album: Album) -> Section:
    """Return a decided stage as data has it."""
    shown = report_on(result)
    text = tuple(shown.words(material.terms))
    if not result.outcomes:
        return Section(result.stage.title, text)
    drawn = (album.pictures.get(f"{result.stage.name}-{end}") for end in ENDS)
    figures = tuple((each.file, each.caption) for each in drawn if each)
    return Section(result.stage.title, text, tuple(shown.tables(material)), figures)


def _about(material: Material) -> str:
    return " ".join((about_data(material), protocol(material), legend(material)))


def _undecided(agenda: Agenda) -> list[str]:
    """Say which stages are not decided yet; nothing where all are."""
    decided = {result.stage.name for result in agenda.results}
    undecided = [stage.name for stage in agenda.study.all_stages if stage.name not in decided]
    return [f"Not decided yet: {', '.join(undecided)}. The same command continues."] if undecided else []
