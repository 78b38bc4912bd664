"""What follows the stages: the final model, what analyses found, limits, how to do it again, and the appendix."""

from __future__ import annotations

import numpy as np

from analysis.page import Block, Chapter, Code, Folded, Heading, Heat, Words, of_section
from analysis.report import Column, Section, Table
from sweeps.decisions.labels import counted, listed, points
from sweeps.decisions.outcome import Outcome
from sweeps.decisions.records import StageResult
from sweeps.decisions.stages import named_all
from sweeps.decisions.status import Status
from sweeps.reporting.material import Material, percent, seconds
from sweeps.reporting.stage_report import effects_of, failures, whole_table
from sweeps.reporting.tables import MOST_CLASSES, published_table
from trainables.plan import flops, parameters

MISTAKES = "mistakes"  # the analysis that belongs to the final model, by the folder of its figures
MOST_ROWS = 200  # of a table in the appendix; the CSV has all


def final_chapter(material: Material, best: Outcome) -> Chapter:
    """Return the final model: its test score, what it makes of each class, and its mistakes where they are known."""
    metric, names = material.facts.yardstick.metric, material.facts.class_names
    layers = material.layers(best)
    val, test = (percent(best, name) for name in ("val_score", "test_score"))
    epochs = sorted(set(best.history.chosen_epochs()))
    chosen = f"epoch{'s' if len(epochs) > 1 else ''} {listed([*map(str, epochs)])}"
    at = f"at {chosen} of {best.cell.trial.training.epochs}"
    size = f"{parameters(layers):,} parameters, {flops(layers) / 1e6:.2f} MFLOPs an image"
    told = f"{material.way(best)}: test {metric} {test}, validation {metric} {val}, {at}; {size}."
    per_class = list(zip(*(record.class_score for record in best.history.chosen()), strict=True))
    blocks: list[Block] = [Words(told)]
    if len(names) <= MOST_CLASSES:
        means = tuple(None if None in each else 100 * float(np.mean(each)) for each in per_class)
        blocks.append(Heat(f"Test {metric} per class, %", names, ((best.cell.label, means),)))
    for section in filter(_is_mistakes, material.findings):
        blocks += [Heading(section.title), *of_section(section, fold=True).blocks]
    return Chapter("The final model" if material.agenda.over else "The best model so far", tuple(blocks))


def learned_chapter(material: Material) -> Chapter | None:
    """Return what analyses found beside the mistakes; None where there is nothing."""
    sections = [section for section in material.findings if not _is_mistakes(section)]
    blocks: list[Block] = []
    for section in sections:
        blocks += [Heading(section.title), *of_section(section, fold=True).blocks]
    return Chapter("What it has learned", tuple(blocks)) if blocks else None


def limits_chapter(material: Material) -> Chapter:
    """Return what the study leaves open, and what it would cost to decide that."""
    seeds, results = material.terms.seeds_in_words, material.agenda.results
    lines = [f"{'One seed' if seeds == '1 seed' else seeds} per trial and one data set: the findings hold for these."]
    if any(each.start and each.stage.name != material.agenda.study.stages[0].name for each in results):
        lines.append("Factors were varied one at a time, so interactions between them are not seen.")
    stopped = [each for result in results for each in result.outcomes if each.status == Status.CENSORED]
    if stopped and not any(result.stage.open_ended for result in results):
        lines.append(
            f"Stopped early and not ranked: {counted(len(stopped), 'trial')} (--no-early-stopping runs all in full)."
        )
    rows = [row for result in results for row in _open(result)]
    blocks: list[Block] = list(map(Words, lines))
    if rows:
        heads = ("factor", "undecided between", "difference, points", "seeds that would decide", "extra training, s")
        title = "Undecided, and what it would cost to decide if the difference is as measured"
        columns = [Column(name, digits=0) for name in heads]
        blocks.append(Table(title, tuple(columns), tuple(rows)))
    return Chapter("Limits", tuple(blocks))


def reproduce_chapter(material: Material) -> Chapter:
    """Return the command, the commit, the versions, the data's digest, and how to load the model."""
    source, study = material.source, material.agenda.study
    digests = material.terms.contents
    rows = {
        "commit": source.commit,
        "versions": ", ".join(f"{name} {version}" for name, version in source.versions.items()),
        **{f"SHA-256 of {name.rpartition('/')[2]}": digest for name, digest in digests.items()},
    }
    known = tuple((name, value) for name, value in rows.items() if value)
    blocks: list[Block] = [Code(source.command)] if source.command else []
    if known:
        blocks.append(Table("What it ran with", (Column("what"), Column("value")), known))
    if material.best and (run := material.facts.runs.get(material.best.key)):
        blocks += [
            Words(f"The final model (MLflow run {run}), in two lines of Python:"),
            Code(f'from sweeps import best\nbest("{study.name}").predict("image.png")'),
        ]
    return Chapter("How to reproduce it", tuple(blocks))


def appendix_chapter(material: Material) -> Chapter:
    """Return the full tables, folded, and what failed or was started again."""
    blocks: list[Block] = [Words("All columns of all trials are in the CSV files beside this report.")]
    for result in material.results:
        tables = [whole_table(result, material)] if result.outcomes else []
        tables += [each for each in (effects_of(result, material), published_table(result, material.facts)) if each]
        if tables:
            blocks.append(Folded(f"{result.stage.title}: full tables", tuple(map(_cut, tables))))
    again = {**material.source.restarts, **material.agenda.restarts}
    restarted = {each.key: each for result in material.results for each in result.outcomes if again.get(each.key)}
    blocks += [
        Words(f"Restarted from its last snapshot: {each.cell.named} ({'; '.join(again[each.key])}).")
        for each in restarted.values()
    ]
    failed = {each.key: each for result in material.results for each in result.outcomes if each.status == Status.FAILED}
    blocks += map(Words, failures(list(failed.values())))
    if not restarted and not failed:
        blocks.append(Words("No trial failed or had to be restarted."))
    return Chapter("Appendix", tuple(blocks))


def _cut(table: Table) -> Table:
    if len(table.rows) <= MOST_ROWS:
        return table
    eligible, marked = (each and each[:MOST_ROWS] for each in (table.eligible, table.marked))
    title = f"{table.title}; the first {MOST_ROWS} of {len(table.rows)} rows, the CSV has all"
    return Table(title, table.columns, table.rows[:MOST_ROWS], eligible, marked)


def _open(result: StageResult) -> list[tuple[str | int | float | None, ...]]:
    """Return what a stage leaves open: the winner against each other trial that may be best."""
    winner = result.winner
    if winner is None or winner.contest.comparison is None or not winner.contest.told:
        return []
    best, contest, comparison = winner.outcome, winner.contest, winner.contest.comparison
    rows: list[tuple[str | int | float | None, ...]] = []
    for each in contest.best_set:
        a, b = contest.place(best), contest.place(each)
        found = contest.difference(best, each)
        if each.key == best.key or found is None or found.ahead or a is None or b is None:
            continue
        needed = comparison.seeds_for(abs(found.value), (a, b)) if found.value else None
        spent = [seconds(outcome) or 0.0 for outcome in (best, each)]
        more = [max(0, (needed or 0) - len(outcome.history.seeds)) for outcome in (best, each)]
        price = sum(count * each_takes for count, each_takes in zip(more, spent, strict=True)) if needed else None
        names = f"{named_all((best.cell, each.cell))}"
        rows.append((result.stage.title, names, points(found.value), needed or "none: more images", price))
    return rows


def _is_mistakes(section: Section) -> bool:
    return any(file.parent.name == MISTAKES for file, _ in section.figures)
