"""A decided stage in words, tables and curves; of a search, with what it drew and what mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from analysis.report import Table
from sweeps.decisions.as_optuna import as_database
from sweeps.decisions.labels import counted
from sweeps.decisions.outcome import Outcome
from sweeps.decisions.records import StageResult, Terms
from sweeps.decisions.search_run import SearchResult
from sweeps.decisions.stages import Recheck
from sweeps.decisions.status import Status
from sweeps.reporting.effects import effects_sentences, effects_table
from sweeps.reporting.leaderboard import BEYOND, account, in_full, left_out, page_tables, search_tables, seeds_in_words
from sweeps.reporting.material import Material
from sweeps.reporting.recheck_words import recheck_sentences
from sweeps.reporting.short_tables import BEST, MOST_ROWS, WORST, best_and_worst, short_table
from sweeps.reporting.tables import Facts, published_table, stage_table
from sweeps.reporting.winner_words import winner_in_two

ON_SCREEN = 5  # rows of a search's leaderboard in the terminal


def report_on(result: StageResult) -> StageReport:
    """Return what there is to show of a decided stage."""
    if isinstance(result, SearchResult):
        return SearchReport(result)
    return RecheckReport(result, result.stage) if isinstance(result.stage, Recheck) else StageReport(result)


def whole_table(result: StageResult, material: Material) -> Table:
    """Return a stage's table with all that is known of its trials."""
    return material.once(f"table of {result.stage.name}", lambda: report_on(result).table(material.facts))


def effects_of(result: StageResult, material: Material) -> Table | None:
    """Return what a stage's factor does; None where it has not one factor, or nothing to compare."""
    return material.once(f"effects of {result.stage.name}", lambda: report_on(result).effects(material.facts))


def failures(failed: Sequence[Outcome]) -> list[str]:
    """Return a line for each trial that failed, of many for the first few."""
    lines = [f"Failed: {each.cell.named}: {each.reason}." for each in failed[:MOST_ROWS]]
    more = len(failed) - len(lines)
    return [*lines, f"Failed: {counted(more, 'more trial')}."] if more else lines


class StageReport:
    """What there is to show of a grid, or of a stage that was skipped."""

    def __init__(self, result: StageResult) -> None:
        self.result = result

    def words(self, terms: Terms) -> list[str]:
        """Return the winner and why, what was stopped early, what was restarted, what failed and how."""
        result = self.result
        if result.skipped:
            return [f"Not run: {result.skipped}."]
        lines = [result.stage.note] if result.stage.note else []
        lines += self._course()
        lines += self._verdict(terms)
        lines += self._effects(terms)
        lines += [*self._stopped(), *self._dropped()]
        again = [f"{o.cell.named} ({'; '.join(o.restarts)})" for o in result.outcomes if o.restarts]
        if again:
            lines.append(f"Restarted from the last snapshot: {', '.join(again)}.")
        return lines + failures([outcome for outcome in result.outcomes if outcome.status == Status.FAILED])

    def in_two(self, terms: Terms, *, decided: bool = True) -> tuple[list[str], list[str]]:
        """Return what the data says of the stage, and what it does not; of one that is not decided, its course."""
        if self.result.skipped:
            return [f"Not run: {self.result.skipped}."], []
        says, leaves = self._verdict_in_two(terms) if decided else ([], [])
        effects = self._effects(terms)
        failed = failures([outcome for outcome in self.result.outcomes if outcome.status == Status.FAILED])
        left = [*leaves, *effects[:1], *self._stopped(), *self._dropped(), *failed]
        return [*self._course(), *says, *effects[1:]], left

    def table(self, facts: Facts) -> Table:
        """Return the whole table, for the CSV."""
        return stage_table(self.result, facts)

    def short(self, material: Material) -> list[Table]:
        """Return the tables of the stage's chapter."""
        return [short_table(self.result, material)]

    def effects(self, facts: Facts) -> Table | None:
        """Return what each value does; None where trials differ in several factors, or there are too few."""
        return effects_table(self.result, facts)

    def tables(self, material: Material) -> list[Table]:
        """Return the tables of the report as data."""
        tables = (
            whole_table(self.result, material),
            effects_of(self.result, material),
            published_table(self.result, material.facts),
        )
        return [table for table in tables if table]

    def on_screen(self, facts: Facts) -> list[Table]:
        """Return the tables for the terminal: of more trials than a screenful those of the best and the worst."""
        shown = best_and_worst(self.result)
        if len(shown) == len(self.result.outcomes):
            return [self.table(facts)]
        table = stage_table(replace(self.result, outcomes=tuple(shown)), facts)
        which = f"the best {BEST} and the worst {WORST} of {counted(len(self.result.outcomes), 'trial')}"
        return [replace(table, title=f"{table.title}: {which}; {self.result.stage.name}.csv has all")]

    def reference(self) -> list[tuple[str, int, float]]:
        """Return the published best test scores: label, epoch, score as a fraction."""
        pairs = [(outcome.cell.label, outcome.cell.published) for outcome in self.result.outcomes]
        return [
            (label, found.epoch, found.score / 100)
            for label, found in pairs
            if found and found.part == "test" and found.epoch is not None
        ]

    def spread(self, seeds: str) -> str:
        """Say what the curves are means of, where trials have so many seeds: `3 seeds`."""
        return seeds if seeds == "1 seed" else f"mean of {seeds}, band ± 1 sd"

    def files(self) -> dict[str, bytes]:
        """Return what is kept beside the table: file name → content."""
        return {}

    def _course(self) -> list[str]:
        return []

    def _verdict(self, terms: Terms) -> list[str]:
        says, leaves = self._verdict_in_two(terms)
        return [*says, *leaves]

    def _verdict_in_two(self, terms: Terms) -> tuple[list[str], list[str]]:
        return winner_in_two(self.result, terms.yardstick)

    def _effects(self, terms: Terms) -> list[str]:
        return effects_sentences(self.result, terms)

    def _stopped(self) -> list[str]:
        censored = [outcome.cell.named for outcome in self.result.outcomes if outcome.status == Status.CENSORED]
        if self.result.winner or not censored:  # with a winner it was said how far behind they were
            return []
        return [
            (
                f"Stopped early, and not ranked: {', '.join(censored)}. Their later epochs are unknown "
                "(--no-early-stopping runs them)."
            )
        ]

    def _dropped(self) -> list[str]:
        dropped = [each for each in self.result.outcomes if each.status == Status.DROPPED]
        return [f"Dropped, and not ranked: {each.cell.named} ({each.reason})." for each in dropped]


class RecheckReport(StageReport):
    """What there is to show of a recheck: whether another value is ahead of the final winner's."""

    def __init__(self, result: StageResult, stage: Recheck) -> None:
        super().__init__(result)
        self.stage = stage

    def effects(self, facts: Facts) -> Table | None:  # noqa: ARG002
        """Return None: its trials differ in different factors."""
        return None

    def tables(self, material: Material) -> list[Table]:
        """Return the table of its trials."""
        return [whole_table(self.result, material)]

    def _verdict(self, terms: Terms) -> list[str]:
        return recheck_sentences(self.stage, self.result, terms.yardstick)

    def _verdict_in_two(self, terms: Terms) -> tuple[list[str], list[str]]:
        first, *others = self._verdict(terms)
        return [first, *others[-1:]], others[:-1]

    def _effects(self, terms: Terms) -> list[str]:  # noqa: ARG002
        return []  # its trials differ in different factors


class SearchReport(StageReport):
    """What there is to show of a search: its leaders, its course, and what mattered."""

    def __init__(self, result: SearchResult) -> None:
        super().__init__(result)
        self.search = result.search

    def words(self, terms: Terms) -> list[str]:
        """Return the same as of a grid, and last how many draws were never trained."""
        return [*super().words(terms), *left_out(self.search)]

    def table(self, facts: Facts) -> Table:
        """Return the whole table, for the CSV, with a column for each field that is drawn."""
        return stage_table(self.result, facts, tuple(self.search.stage.space.fields))

    def effects(self, facts: Facts) -> Table | None:  # noqa: ARG002
        """Return None: what it draws differs in many factors."""
        return None

    def tables(self, material: Material) -> list[Table]:  # noqa: ARG002
        """Return the leaderboard, the importance of the fields, and the Pareto front."""
        return search_tables(self.search, self.result.contest)

    def on_screen(self, facts: Facts) -> list[Table]:  # noqa: ARG002
        """Return the same with a short leaderboard."""
        return search_tables(self.search, self.result.contest, ON_SCREEN)

    def spread(self, seeds: str) -> str:  # noqa: ARG002
        """Say what the curves are means of."""
        return f"{seeds_in_words(self.search)} (mean, band ± 1 sd) of those confirmed, 1 of the others"

    def short(self, material: Material) -> list[Table]:  # noqa: ARG002
        """Return the leaderboard, what its first trials drew, and the Pareto front."""
        return page_tables(self.search, self.result.contest)

    def files(self) -> dict[str, bytes]:
        """Return Optuna's own view of the search."""
        search = self.search
        reasons: dict[int, Mapping[str, str | None]] = {
            told.number: {"reason": why} for told, why in search.drawing.unbuildable
        }
        reasons |= {draw.attempt: {"trial": draw.cell.label, "reason": draw.reason} for draw in search.draws.values()}
        stage = search.stage
        done = {each.number: each for each in in_full(search, stage.objectives)}
        told = [done.get(each.number, each) for each in search.told]
        database = as_database(stage.name, stage.space, stage.objectives, told, reasons)
        return {f"{stage.name}-optuna.db": database}

    def _course(self) -> list[str]:
        return account(self.search)

    def _verdict_in_two(self, terms: Terms) -> tuple[list[str], list[str]]:
        ran = [draw for draw in self.search.draws.values() if draw.scores and not draw.reason]
        if ran and all(map(self.search.drawing.broken, ran)):
            return [f"No winner: every trial that ran is {BEYOND}."], []
        return super()._verdict_in_two(terms)

    def _effects(self, terms: Terms) -> list[str]:  # noqa: ARG002
        return []  # what it draws differs in many factors

    def _stopped(self) -> list[str]:
        return []  # the account has them
