"""A search under way: who runs on, and at last the best confirmed in full with several seeds. Pure.

First the screening: trials with one seed, drawn by the sampler and paused or run on by the rule. Then the confirmation:
the most promising of them (see candidates.py) run with all seeds, in a race (see race.py) or all in full, and the
winner is the best that has.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from sweeps.decisions import rules
from sweeps.decisions.candidates import candidates
from sweeps.decisions.confirmation import Confirmation
from sweeps.decisions.drawing import SCREENING, Draw, Drawing
from sweeps.decisions.labels import counted
from sweeps.decisions.ledger import Ledger
from sweeps.decisions.others import Other, for_model, learned, learns, lent, lessons
from sweeps.decisions.outcome import Outcome, diverged
from sweeps.decisions.records import Decision, Drawn, StageResult, Task
from sweeps.decisions.screening import Screening
from sweeps.decisions.seeding import DECIDED, Seeding
from sweeps.decisions.stages import Search
from sweeps.decisions.told import Told
from sweeps.decisions.winner import BEST
from trainables.config import Trial
from trainables.errors import UserError
from trainables.history import History


class SearchRun:
    """The trials of a search, each drawn when a worker takes it.

    `earlier` are those that earlier runs drew, `decided` what these decided; `asked` are points to be drawn next,
    `hinders` as a Drawing has it.
    """

    judges: ClassVar[bool] = True

    def __init__(
        self,
        stage: Search,
        start: Trial,
        ledger: Ledger,
        earlier: Sequence[Drawn] = (),
        decided: Sequence[Decision] = (),
        asked: Sequence[Mapping[str, Any]] = (),
        hinders: Callable[[Trial], str | None] = lambda _: None,
    ) -> None:
        self.stage, self.ledger = stage, ledger
        # of the confirmation: a score of the seed that chose would be too high
        first = len(SCREENING)
        self.seeds = tuple(range(first, first + max(stage.seeds, len(ledger.terms.seeds))))
        self.drawing = Drawing(stage, start, ledger.terms, asked, hinders)
        # a search may have had more trials in earlier runs than it is to have now
        trials = max([stage.trials, *(drawn.number + 1 for drawn in earlier)])
        self.screening = Screening(rules.make(stage.rule, start.training.epochs, trials, stage.space), self.draws)
        # one by its price is chosen among several in full, and so are those that are to be told apart
        self.raced = stage.raced and ledger.terms.winner == BEST and ledger.terms.seeding != DECIDED
        self.confirmation: Confirmation | None = None  # None while trials are screened
        self._waiting: list[tuple[Draw, tuple[int, ...]]] = []  # what is to run next, and its seeds
        _recall(self, earlier)
        self._made_before = decided if self.draws else ()  # of another search they say nothing
        ledger.reused += [key for key, draw in self.draws.items() if draw.scores]
        self._move_on()

    @property
    def confirmed(self) -> Sequence[Draw] | None:
        """The trials that are confirmed, or to be; None while trials are screened."""
        return self.confirmation.candidates if self.confirmation else None

    @property
    def draws(self) -> Mapping[str, Draw]:
        """The trials by key, in the order drawn."""
        return self.drawing.draws

    @property
    def decisions(self) -> list[Decision]:
        """All decisions in order, those of earlier runs first."""
        made = [*self.screening.decisions, *(self.confirmation.decisions if self.confirmation else ())]
        resumed: list[Decision] = [{"decision": "resumed"}] if self._made_before and made else []
        return [*self._made_before, *resumed, *made]

    @property
    def told(self) -> list[Told]:
        """All draws as samplers know them, in the order drawn."""
        return self.drawing.told

    def next(self) -> Task | None:
        """Return the trial to run now; None where there is none before a running trial ends.

        First come those that the rule has run on, then new ones, drawn with all that has been told by now. What other
        studies have trained of these is taken over, and only run where the rule wants more of it.
        """
        self.screening.something_happened()
        if not self._waiting and not self.confirmation:
            while (draw := self.screening.promoted() or self._new()) and _take_over(self, draw):
                pass
            self._waiting += [(draw, SCREENING)] if draw else []
        self._move_on()
        if not self._waiting:
            return None
        draw, seeds = self._waiting.pop(0)
        self.drawing.begin(draw)
        self.ledger.forget(draw.key)  # it may have been paused before
        self.ledger.tasks[draw.key] = _task(self, draw, seeds)
        return self.ledger.tasks[draw.key]

    def ready(self) -> int:
        """Return how many trials next() could give out now; fewer where the space holds no more."""
        if self.confirmation:
            return len(self._waiting)
        return len(self._waiting) + self.screening.ready() + self.drawing.left

    def goes_on(self, key: str, epoch: int, score: float) -> bool:
        """Take a running trial's newest score; return whether it runs on, or is paused."""
        draw = self.draws[key]
        if self.confirmation:
            return self.confirmation.goes_on(draw, epoch)
        draw.scores[epoch] = max(score, draw.scores.get(epoch - 1, score))
        return self.screening.goes_on(draw, epoch)

    def waits(self, key: str) -> bool:  # noqa: ARG002
        """Return False: a trial that is paused has ended for now, and may be run on later."""
        return False

    def let_go(self) -> Sequence[str]:
        """Return none, likewise."""
        return ()

    def ended(self, key: str, history: History, reason: str | None) -> None:
        """Take a trial's end or pause; one that was called due meanwhile is run on."""
        draw = self.draws[key]
        self.drawing.end(draw, history, reason)
        self._waiting = [each for each in self._waiting if not (reason and each[0] is draw)]
        if why := self.drawing.broken(draw):
            self.screening.beyond(draw, why)
        self.screening.something_happened()
        if self.confirmation:
            self.confirmation.look()
        elif self.screening.ended(draw):
            self._waiting.append((draw, SCREENING))
        self._move_on()

    def blames(self, outcome: Outcome) -> bool:
        """Return whether a failure is one of the study: that a trial diverges is a finding."""
        return not outcome.diverged

    def result(self) -> StageResult | None:
        """Return the trials, best first, once the best are confirmed; the winner is the best of these."""
        if not self.confirmation or self._waiting or self.drawing.running:
            return None
        ranked = self.ranking()
        outcomes = self._outcomes(ranked)
        entered = [each for each, draw in zip(outcomes, ranked, strict=True) if self.is_confirmed(draw)]
        winner = self.ledger.terms.choose(entered, before=None)
        return SearchResult(self.stage, tuple(outcomes), winner, search=self)

    def so_far(self) -> StageResult:
        """Return the trials that do not run now, best first."""
        return SearchResult(self.stage, tuple(self._outcomes(d for d in self.ranking() if not d.running)), search=self)

    def ranking(self) -> list[Draw]:
        """Return the trials best first.

        First those confirmed, by their score over all seeds; then those that are in the race, and who left it last;
        then the others, by how far they came and their score; last those that break one of the search's bounds.
        """
        numbered = {draw.number: draw for draw in self.draws.values()}
        order = [numbered[number] for number in self.screening.rule.ranking()]
        first = self.confirmation.ranking() if self.confirmation else ()
        return self.drawing.within_first(dict.fromkeys((*first, *order, *self.draws.values())))

    def is_confirmed(self, draw: Draw) -> bool:
        """Tell whether a trial has run in full with all seeds of the confirmation."""
        return self.confirmation is not None and self.confirmation.covers(draw)

    def seeds_of(self, draw: Draw) -> tuple[int, ...]:
        """Return the seeds that a trial is judged by."""
        taken = self.confirmation and self.confirmation.takes(draw)
        return self.confirmation.seeds_of(draw) if self.confirmation and taken else SCREENING

    def value(self, draw: Draw, objective: str) -> float:
        """Return an objective's value for a trial run in full; see Drawing.value().

        Its score is that of all seeds where it was confirmed with them, else that of the one that it was screened with.
        """
        if objective == "score":
            seeds = self.seeds_of(draw) if self.is_confirmed(draw) else SCREENING
            return draw.history.cut(seeds, draw.epochs).score()
        return self.drawing.value(draw, objective)

    def _outcomes(self, draws: Iterable[Draw]) -> list[Outcome]:
        outcome = self.ledger.outcome
        return [outcome(each.cell, each.key, each.history, self.seeds_of(each), each.reason) for each in draws]

    def _move_on(self) -> None:
        """When nothing is left to screen, have the best confirmed."""
        if not self.confirmation:
            if self.drawing.running or self.ready():
                return
            self.confirmation = _confirmation(self)
        while True:
            lined_up, seeds_of = [draw for draw, _ in self._waiting], self.confirmation.seeds_of
            self._waiting += [(draw, seeds_of(draw)) for draw in self.confirmation.due() if draw not in lined_up]
            if self._waiting or self.drawing.running or not _give_seeds(self, self.confirmation):
                return

    def _new(self) -> Draw | None:
        """Draw a new trial where there are not enough; one to run on where the space turns out to hold no more."""
        if not self.drawing.left:
            return None
        given = len(self.draws) < len(self.stage.first)
        draw = self.drawing.new(() if given else (*self.drawing.missing(), *self.screening.rule.wants()))
        if draw:
            self.screening.begin(draw)
            return draw
        self.screening.rule.no_more()
        return self.screening.promoted()


@dataclass(frozen=True, kw_only=True)
class SearchResult(StageResult):
    """What a search came to, with its own course."""

    search: SearchRun


def ask(run: SearchRun, values: Mapping[str, Any]) -> dict[str, Any]:
    """Have a search draw a point next: these values, and the others as the best trial so far has them. Return it.

    Raises UserError where it is outside the space or a bound, was drawn already, or no trial is left to be drawn.
    """
    stage, drawing = run.stage, run.drawing
    if run.confirmation or not drawing.left:
        raise UserError(f"all {counted(len(run.draws), 'trial')} of {stage.name} are drawn: `add 1` first")
    best = next((draw.values for draw in run.ranking() if not draw.reason), {})
    point = stage.space.changed(best, values)
    if wrong := drawing.wrong_with(point):
        raise UserError(f"{stage.name} cannot draw that: {wrong}")
    drawing.asked.append(point)
    return point


def share(run: SearchRun, others: Sequence[Other], study: str) -> None:
    """Have a search of a study learn from others' trials, note from whose, and train none of other studies' again."""
    run.ledger.lent = lent(run.stage, others, study, run.drawing.start.training.epochs)
    if learns(run.stage):
        run.drawing.lessons = lessons(run.drawing, others)
        run.screening.rule.teach(for_model(run.drawing))
        run.screening.decisions += learned(others, run.drawing.lessons)


def ends_used_up(run: SearchRun) -> bool:
    """Have a search that nobody is to draw for go on to its end where its space holds no more; return whether it does.

    So it may be where earlier runs have had the best of these very draws confirmed.
    """
    had_all = run.drawing.left and any(draw.among == len(run.draws) for draw in run.draws.values())
    if not had_all or copy.deepcopy(run.drawing).new():
        return False
    run.drawing.used_up = True
    run._move_on()
    return True


def tasks(run: SearchRun) -> list[Task]:
    """Return the trials that a search has drawn so far, as they are screened."""
    return [_task(run, draw, SCREENING) for draw in run.draws.values()]


def _take_over(run: SearchRun, draw: Draw) -> bool:
    """Take a new draw over as another study has trained it; return False where none has, or this one has it already."""
    ledger, key = run.ledger, draw.key
    known = ledger.lent.get(key)
    if known is None or draw.scores or key in ledger.known or key in ledger.tasks:
        return False
    run.drawing.end(draw, known.history, None)
    draw.taken = len(draw.scores)
    run.screening.adopt(draw, {"study": known.study, "trained": known.history.count})
    ledger.reused.append(key)
    ledger.taken.append(_task(run, draw, SCREENING))
    return True


def _recall(run: SearchRun, earlier: Sequence[Drawn]) -> None:
    """Take over what earlier runs drew, with how far it has come."""
    rule = run.screening.rule
    reached: dict[int, Mapping[int, float]] = {}
    points: dict[int, Mapping[str, Any]] = {}
    for drawn in sorted(earlier, key=lambda drawn: drawn.number):
        draw = run.drawing.recall(drawn, run.ledger.known.get(drawn.key))
        if draw is None:
            continue
        draw.reason = run.ledger.dropped.get(draw.key, draw.reason)
        if draw.reason:
            rule.first(draw.number, draw.values)
            rule.drop(draw.number)
        elif draw.taken and draw.taken == len(draw.scores):  # this search has run none of it
            rule.adopt(draw.number, draw.scores, draw.values)
        elif draw.scores:
            reached[draw.number], points[draw.number] = draw.scores, draw.values
        else:
            run.screening.begin(draw)
            run._waiting.append((draw, SCREENING))
    rules.resume(rule, reached, points)


def _confirmation(run: SearchRun) -> Confirmation:
    how = Seeding(run.seeds, DECIDED) if run.ledger.terms.seeding == DECIDED else None
    epochs = run.drawing.start.training.epochs
    return Confirmation(_to_confirm(run), run.seeds, epochs, raced=run.raced, seeding=how)


def _give_seeds(run: SearchRun, to: Confirmation) -> bool:
    """Give one more seed to each trial that may be best, where they come one by one; return whether any has got one."""
    return bool(to.seeding and to.seeding.further(run._outcomes(to.candidates), run.ledger.terms.yardstick))


def _to_confirm(run: SearchRun) -> list[Draw]:
    """Return the trials to be confirmed, and note it with them: those that were so among as many draws remain so, as
    other stages may have run them on since. With several objectives no single score tells which these are together.
    """
    among, count = len(run.draws), run.stage.confirm
    before = [draw for draw in run.draws.values() if draw.among == among]
    if len(before) == count:
        return before
    ranked = [d for d in run.ranking() if not d.reason and d.scores and not run.drawing.broken(d)]
    bad = [draw for draw in run.draws.values() if diverged(draw.reason)]
    several = len(run.stage.objectives) > 1
    known = for_model(run.drawing)
    chosen = ranked[:count] if several else candidates(run.stage.space, ranked, bad, count, known)
    if set(chosen) != set(before):
        run.screening.decisions.append({"decision": "confirm", "numbers": [draw.number for draw in chosen]})
    for draw in chosen:
        draw.among = among
    return chosen


def _task(run: SearchRun, draw: Draw, seeds: tuple[int, ...]) -> Task:
    ledger, key = run.ledger, draw.key
    known = ledger.known.get(key) or ledger.lent.get(key)
    return Task(run.stage.name, draw.cell, key, known, seeds, drawn=draw.drawn)
