"""A chapter for each stage: its question, figures, a short table, what the data says and what it does not."""

from __future__ import annotations

from analysis.page import Beside, Block, Chapter, Heading, Pictures, Words
from sweeps.decisions.records import StageResult
from sweeps.decisions.search_run import SearchResult
from sweeps.decisions.stages import Search, Stage
from sweeps.reporting.album import Album
from sweeps.reporting.answers import headline
from sweeps.reporting.material import Material
from sweeps.reporting.search_figures import search_pictures
from sweeps.reporting.short_tables import beside_published, class_heat
from sweeps.reporting.stage_figures import StageFigures
from sweeps.reporting.stage_report import report_on


def stage_chapter(result: StageResult, material: Material, album: Album) -> Chapter:
    """Return a stage's chapter, with its figures in the album."""
    title = result.stage.title
    if not material.decided(result):
        found = f"{len(result.outcomes)} {'trial has' if len(result.outcomes) == 1 else 'trials have'} ended so far"
        return Chapter(f"{title}: {found}", (*_question(result), *_measured(result, material, album)), title)
    found = headline(result)
    named = found if found.startswith(f"{title} = ") else f"{title}: {found}"
    return Chapter(named, (*_question(result), *_measured(result, material, album)))


def question(result: StageResult) -> str:
    """Return what a stage asks: in the study's own words, else in its fields."""
    stage = result.stage
    if stage.question:
        return stage.question
    if isinstance(stage, Search):
        return f"Which combination of these {len(stage.space.fields)} settings is best?"
    fields = " and ".join(stage.fields) if isinstance(stage, Stage) else ""
    return f"What is the effect of {fields}, all else being equal?" if fields else ""


def _question(result: StageResult) -> list[Block]:
    asked = question(result)
    note = result.stage.note
    return [*([Words(asked, "lead")] if asked else []), *([Words(note)] if note else [])]


def _measured(result: StageResult, material: Material, album: Album) -> list[Block]:
    shown = report_on(result)
    says, leaves = shown.in_two(material.terms, decided=material.decided(result))
    if not result.outcomes:
        return [*map(Words, says), *map(Words, leaves)]
    drawn = StageFigures(result, shown, material, album).all()
    extra = search_pictures(result, material, album) if isinstance(result, SearchResult) else []
    beside: list[Block] = [each for each in (class_heat(result, material), beside_published(result, material)) if each]
    pictures: list[Block] = [Pictures(tuple(each)) for each in (extra, drawn) if each]
    tables: list[Block] = [*shown.short(material)]
    found: list[Block] = [*pictures, *tables]
    for heading, lines in (("What the data says", says), ("What it does not say", leaves)):
        found += [Heading(heading), *map(Words, lines)] if lines else []
    return [*found, *([Beside(tuple(beside))] if beside else [])]
