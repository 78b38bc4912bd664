import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from sweeps.decisions.records import StageResult
from sweeps.decisions.stages import FINAL, Cell, Recheck, Swap
from sweeps.decisions.status import Status
from sweeps.decisions.winner import choose
from sweeps.reporting.short_tables import short_table
from sweeps.reporting.stage_report import ON_SCREEN, RecheckReport, SearchReport, StageReport, report_on
from sweeps.reporting.tables import Facts
from sweeps.study import Published, Stage
from tests.sweeps.decisions.test_search_run import Cluster, search
from tests.sweeps.outcomes import outcome, terms
from tests.sweeps.reporting.materials import material

TERMS = terms(images=100)
BY = TERMS.yardstick
STAGE = Stage("depth", {"model.conv_layers": (1, 2, 3)})
FACTS = Facts(("cat", "dog"), (3, 32, 32), BY, {})


def result(*outcomes, stage=STAGE):
    return StageResult(stage, outcomes, choose(outcomes, BY))


def seen_by():
    return replace(material(), facts=FACTS)


FULL = outcome("1", [0.5, 0.75])
SHORT = outcome("2", [0.5], status="censored")
BROKEN = outcome("3", [0.4], status="failed")


@pytest.fixture(scope="module")
def found():
    return Cluster(search(27, seeds=2, confirm=2)).search


def test_the_words_name_the_winner_what_was_stopped_and_every_failure():
    words = report_on(result(FULL, SHORT, BROKEN)).words(TERMS)
    assert words == [
        "Winner on validation (100 images): 1 at 75.0 % accuracy (1 seed).",
        "Not compared: 2 (stopped at epoch 1, when level). Later epochs are unknown (--no-early-stopping runs them).",
        "Not compared: 1, as no results per image were kept (--fresh trains again).",
        "Failed: 3: it broke.",
    ]


def test_what_was_dropped_is_shown_with_who_did_it_and_why_and_is_not_ranked():
    dropped = replace(outcome("2", [0.9]), status=Status.DROPPED, reason="maria, 2026-11-27 07:00 UTC: too slow")
    shown = result(FULL, dropped)
    line = "Dropped, and not ranked: 2 (maria, 2026-11-27 07:00 UTC: too slow)."
    assert report_on(shown).words(TERMS)[-1] == line
    assert line in report_on(shown).in_two(TERMS)[1]
    assert shown.winner.outcome == FULL
    assert short_table(shown, seen_by()).rows[1][0] == "2 (dropped)"


def test_the_words_begin_with_the_stage_s_note_and_tell_of_restarts():
    restarted = replace(FULL, restarts=("its process was lost", "it hung"))
    words = report_on(result(restarted, stage=replace(STAGE, note="Why."))).words(TERMS)
    assert words[0] == "Why."
    assert words[-1] == "Restarted from the last snapshot: 1 (its process was lost; it hung)."


def test_a_stage_without_a_full_trial_has_no_winner_and_one_that_was_skipped_says_why():
    assert report_on(result(BROKEN, SHORT)).words(TERMS) == [
        "No winner: no trial ran in full.",
        "Stopped early, and not ranked: 2. Their later epochs are unknown (--no-early-stopping runs them).",
        "Failed: 3: it broke.",
    ]
    skipped = StageResult(STAGE, skipped="stage x has no winner to start from")
    assert report_on(skipped).words(TERMS) == ["Not run: stage x has no winner to start from."]


def test_references_are_the_published_test_scores_whose_epoch_is_known():
    def published(label, *numbers, **more):
        found = outcome(label, [0.5, 0.6])
        return replace(found, cell=replace(found.cell, published=Published(*numbers, **more)))

    some = [
        published("1", 0.5, 61, 10),
        published("2", 0.5, 62, None),
        published("3", 0.5, 63, 9, part="validation"),
        FULL,
    ]
    assert report_on(result(*some)).reference() == [("1", 10, 0.61)]


def test_curves_say_what_they_are_means_of():
    shown = report_on(result(FULL))
    assert (shown.spread("1 seed"), shown.spread("3 seeds")) == ("1 seed", "mean of 3 seeds, band ± 1 sd")


def test_a_grid_has_no_files_beside_its_table():
    shown = report_on(result(FULL))
    assert type(shown) is StageReport
    assert shown.files() == {}
    assert shown.tables(seen_by()) == [shown.table(FACTS)] == shown.on_screen(FACTS)


def test_a_recheck_tells_what_one_factor_at_a_time_missed_and_has_a_table_of_its_trials():
    stage = Recheck(("depth",), "width 8", (Swap(Cell("depth 1", (1,), BROKEN.cell.trial), behind=False),))
    shown = report_on(result(outcome(FINAL, [0.5, 0.75]), outcome("depth 1", [0.5], status="failed"), stage=stage))
    assert type(shown) is RecheckReport
    assert shown.words(TERMS) == [
        Recheck.note,
        "Final winner on validation (100 images): width 8 at 75.0 % accuracy (1 seed).",
        f"Not compared: {FINAL}, as no results per image were kept (--fresh trains again).",
        "Whether varying one factor at a time missed an interaction cannot be tested.",
        "Failed: depth 1: it broke.",
    ]
    assert [row[0] for row in shown.table(FACTS).rows] == [FINAL, "depth 1"]
    ended = report_on(result(outcome(FINAL, [0.5, 0.75]), outcome("depth 1", [0.5, 0.6]), stage=stage))
    assert ended.tables(seen_by()) == [ended.table(FACTS)]
    assert ended.effects(FACTS) is None
    assert not any(line.startswith("Each effect holds") for line in ended.words(TERMS))
    skipped = StageResult(Recheck(("depth",)), skipped="no stage has a winner")
    assert report_on(skipped).words(TERMS) == ["Not run: no stage has a winner."]


def test_a_search_shows_its_leaders_and_keeps_optuna_s_view(found):
    shown = report_on(found.result())
    assert type(shown) is SearchReport
    table = shown.table(FACTS)
    assert len(table.rows) == 27
    assert {"model.conv_layers", "training.lr", "training.batch_size"} <= {column.name for column in table.columns}
    [short, *_], [whole, *_] = shown.on_screen(FACTS), shown.tables(seen_by())
    assert (len(short.rows), len(whole.rows)) == (ON_SCREEN, 15)
    assert not any("stopped at epoch" in line for line in shown.words(TERMS))  # its account has them
    assert shown.spread(1) == "2 seeds (mean, band ± 1 sd) of those confirmed, 1 of the others"


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_search_s_files_are_each_decision_and_optuna_s_view(found, tmp_path):
    files = report_on(found.result()).files()
    assert set(files) == {"find-optuna.db"}
    (tmp_path / "optuna.db").write_bytes(files["find-optuna.db"])
    with closing(sqlite3.connect(tmp_path / "optuna.db")) as database:
        drawn = 27 + len(found.drawing.unbuildable)  # those that were drawn before are in it, too, as failed
        assert database.execute("select count(*) from trials").fetchone() == (drawn,)
        [best, *others] = database.execute("select value from trial_values order by value desc").fetchall()
        assert best == pytest.approx((found.value(found.ranking()[0], "score"),))
        assert len(others) == 1  # both that were confirmed are complete


def test_what_the_data_says_stands_apart_from_what_it_does_not():
    says, leaves = report_on(result(FULL, SHORT, BROKEN)).in_two(TERMS)
    assert says == ["Winner on validation (100 images): 1 at 75.0 % accuracy (1 seed)."]
    assert [line.partition(":")[0] for line in leaves] == ["Not compared", "Not compared", "Failed"]
    assert report_on(StageResult(STAGE, skipped="no winner")).in_two(TERMS) == (["Not run: no winner."], [])
    so_far = StageResult(STAGE, (FULL, BROKEN))
    assert report_on(so_far).in_two(TERMS, decided=False) == ([], ["Failed: 3: it broke."])


def test_a_recheck_says_its_standing_and_what_follows():
    stage = Recheck(("depth",), "width 8", (Swap(Cell("depth 1", (1,), BROKEN.cell.trial), behind=False),))
    says, leaves = report_on(result(outcome(FINAL, [0.5, 0.75]), outcome("depth 1", [0.5]), stage=stage)).in_two(TERMS)
    assert says[0].startswith("Final winner on validation (100 images): width 8")
    assert says[1:] == ["Whether varying one factor at a time missed an interaction cannot be tested."]
    assert [line.partition(":")[0] for line in leaves] == ["Not compared"]


def test_of_more_than_a_screenful_the_terminal_has_the_best_and_the_worst_and_the_table_all():
    some = [outcome(str(at), [at / 100]) for at in range(21)]
    shown = report_on(result(*some))
    [table] = shown.on_screen(FACTS)
    assert [row[0] for row in table.rows] == [str(at) for at in (*range(20, 10, -1), *range(4, -1, -1))]
    assert table.title == f"{STAGE.title}: the best 10 and the worst 5 of 21 trials; depth.csv has all"
    assert len(shown.table(FACTS).rows) == 21
    [whole] = report_on(result(*some[:20])).on_screen(FACTS)
    assert (len(whole.rows), whole.title) == (20, STAGE.title)


def test_of_many_that_failed_the_first_are_named():
    some = [outcome(str(at), [0.4], status="failed") for at in range(23)]
    words = report_on(result(*some)).words(TERMS)
    assert words[-2:] == ["Failed: 19: it broke.", "Failed: 3 more trials."]
    assert len([line for line in words if line.startswith("Failed: ")]) == 21


def test_where_every_trial_is_beyond_a_bound_that_is_why_none_won():
    cluster = Cluster(search(4, constraint={"seconds": 8}))
    says, leaves = report_on(cluster.result).in_two(TERMS)
    assert "No winner: every trial that ran is beyond a bound." in says
    assert leaves == []
    assert cluster.result.winner is None
