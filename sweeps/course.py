"""What MLflow has of a study, and the report of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from sweeps import examining, preparing
from sweeps.decisions.acts import Act, Steered
from sweeps.decisions.agenda import Agenda, LookUp, take_as_it_stands
from sweeps.decisions.others import Other, shares
from sweeps.decisions.records import Decision, Drawn, Known, Terms
from sweeps.decisions.stages import Search
from sweeps.interruption import held
from sweeps.options import RunOptions
from sweeps.preparing import Prepared
from sweeps.reporting import decision_files, results
from sweeps.reporting.album import Album
from sweeps.sources import Source
from sweeps.study import Study
from sweeps.terminal import busy
from sweeps.tracking.acts import taken
from sweeps.tracking.connection import resolve_uri
from sweeps.tracking.elsewhere import inside
from sweeps.tracking.store import Store, StoredTrial, known, lost
from trainables.config import Trial
from trainables.errors import UserError

if TYPE_CHECKING:
    from analysis.report import Section


def write_report(study: Study, options: RunOptions, console: Console) -> int:
    """Write what came of a study again, from what MLflow has, and return the exit status: 0, or 1 if that is kept from
    it.

    Raises UserError for what the user can mend.
    """
    store, name = Store(resolve_uri(options.tracking_uri)), preparing.name_of(study, options)
    with busy(console, f"asking MLflow for the data of {name}"):
        acts = taken(store, name, console.print)
        options = preparing.steered(study, options, Steered.of(acts))
        prepared = preparing.to_report(preparing.chosen(study, options), options, store, console)
    return Course(prepared, store, console, acts).rewrite()


@dataclass(frozen=True)
class Stored:
    """What earlier commands have left of a study; `more` finds what they have left of other trials, by key."""

    known: dict[str, Known]  # by key
    drawn: Mapping[str, Sequence[Drawn]]  # by a search's name
    decided: Mapping[str, Sequence[Decision]]  # likewise
    more: LookUp

    @property
    def earlier(self) -> tuple[Mapping[str, Known], Mapping[str, Sequence[Drawn]], Mapping[str, Sequence[Decision]]]:
        """All three, as an Agenda takes them."""
        return self.known, self.drawn, self.decided

    @cached_property
    def runs(self) -> dict[str, str]:
        """The trials' runs in MLflow, by key; also of those that were looked up since."""
        return {key: entry.run_id for key, entry in self.known.items()}

    def look_up(self, keys: Collection[str]) -> Mapping[str, Known]:
        """Return what earlier commands have left of more trials, and keep in mind which runs these are."""
        found = self.more(keys)
        self.runs.update({key: entry.run_id for key, entry in found.items()})
        return found


@dataclass(frozen=True)
class Course:
    """One command's way through a study, as far as it reads and reports."""

    prepared: Prepared
    store: Store
    console: Console
    acts: list[Act]  # that others have asked for, and that were carried out

    @cached_property
    def source(self) -> Source:
        """Where the study's trials come from."""
        return Source(self.store, self.study.name, self.say)

    @cached_property
    def album(self) -> Album:
        """The report's figures."""
        return Album(self.folder)

    @property
    def study(self) -> Study:
        """The study, as it was prepared."""
        return self.prepared.study

    @property
    def terms(self) -> Terms:
        """What holds for all its trials."""
        return self.prepared.terms

    @property
    def options(self) -> RunOptions:
        """The command's options."""
        return self.prepared.options

    @property
    def folder(self) -> Path:
        """The folder of results."""
        return self.prepared.folder

    def say(self, line: str) -> None:
        """Print a line as it stands."""
        self.console.print(line, highlight=False, soft_wrap=True)

    def warn(self, left: Iterable[str], problems: Iterable[str]) -> None:
        """Print what could not be delivered, and what else went wrong."""
        for line in dict.fromkeys([*left, *problems]):  # a trial left for its error is in both
            self.say(f"warning: {line}")

    def rewrite(self) -> int:
        """Write the report of what MLflow has, and return the exit status. Raises UserError where it has nothing."""
        with busy(self.console, "asking MLflow for the trials"):
            stored = self.stored()
            if not stored.known:  # an empty report would take the place of one that is there
                raise UserError(f"{self.store.uri} has no trial of {self.study.name} on this data")
            steered, look_up = Steered.of(self.acts), stored.look_up
            agenda = Agenda(self.study, self.terms, lambda _: None, *stored.earlier, steered=steered, look_up=look_up)
            take_as_it_stands(agenda)
            trials = examining.winners(self.store, agenda) if self.prepared.jobs else {}
            asked = examining.questions(agenda, self.prepared.jobs, trials)
            answers = examining.known(asked, self.store, self.folder, self.say)
        with busy(self.console, "writing the report"):
            written = self.write(agenda, stored.runs, examining.sections(answers))
        self.say(f"report: {self.folder / 'report.html'}")
        return 0 if written else 1

    def stored(self) -> Stored:
        """Return what MLflow has of the study, and what its searches decided. Raises UserError."""
        drawn, trials = self.store.patiently(self._stored, self.say)
        self.store.patiently(self.source.read, self.say)
        decided = decision_files.read(self.folder, [stage.name for stage in self.study.all_stages], self.say)
        if self.options.fresh:
            drawn, decided = {}, {}
        return Stored(self._taken(trials), drawn, decided, self._more)

    def others(self, drawn: Mapping[str, Sequence[Drawn]], stage: Search, start: Trial) -> Sequence[Other]:
        """Return the stored trials that a search from a start may make use of besides those that it has `drawn`.

        There are none for one that has all its trials, or begins afresh. Raises UserError.
        """
        has = drawn.get(stage.name, ())
        if self.options.fresh or len(has) >= stage.trials or not shares(stage):
            return ()
        look = partial(inside, self.store, stage.space, start, self.terms.key, {each.key for each in has})
        return self.store.patiently(look, self.say)

    def write(self, agenda: Agenda, runs: Mapping[str, str], findings: Sequence[Section] = ()) -> bool:
        """Write tables, figures and report.

        Where the disk has no room for them, say so and return False: what was trained is in MLflow.
        """
        try:
            with held():
                facts, summary = self.prepared.facts(runs), self.prepared.known.summary
                source = replace(self.source.known, acts=tuple(self.acts))
                results.write(self.folder, agenda, facts, summary, findings, source, self.album)
        except OSError as error:
            self.say(
                f"warning: the results cannot be written to {self.folder}: {error.strerror}; once they can, the same "
                "command does it"
            )
            return False
        return True

    def _more(self, keys: Collection[str]) -> dict[str, Known]:
        """Return what MLflow has of trials that no plan could foresee, as they follow a search. Raises UserError."""
        return self._taken(self.store.patiently(lambda: self.store.trials(keys), self.say) if keys else {})

    def _taken(self, trials: Mapping[str, StoredTrial]) -> dict[str, Known]:
        """Return stored trials as an agenda takes them; none where all begins afresh, which sets them aside."""
        if self.options.fresh:
            self.store.patiently(lambda: self.store.supersede(trials), self.say)
            return {}
        self.warn(lost(trials.values()), ())
        return {key: known(trial) for key, trial in trials.items()}

    def _stored(self) -> tuple[dict[str, list[Drawn]], dict[str, StoredTrial]]:
        """Return what MLflow has: a search's draws by stage, and trials by key."""
        drawn = self.store.drawn(self.study.name) if self.study.open_ended else {}
        stored = self.store.trials(self.prepared.reachable)
        if drawn:  # of a search its own runs alone count: it goes on where it stood
            stored |= self.store.trials({each.key for draws in drawn.values() for each in draws}, self.study.name)
        return drawn, stored
