from dataclasses import replace

import numpy as np
import pytest

from analysis import figures
from sweeps.decisions.records import StageResult
from sweeps.decisions.status import Status
from sweeps.reporting.album import Album
from sweeps.reporting.short_tables import head
from sweeps.reporting.stage_figures import LEADERS, MOST_CURVES, StageFigures
from sweeps.reporting.stage_report import report_on
from sweeps.study import Stage
from tests.sweeps.outcomes import outcome
from tests.sweeps.reporting.materials import material


@pytest.fixture
def drawn(monkeypatch):
    """Return what is drawn, by its title, without drawing it."""
    calls = {}

    def spy(what, *, title, **how):
        calls[title] = (what, how)
        return b"\x89PNG"

    monkeypatch.setattr(figures, "curves", spy)
    monkeypatch.setattr(figures, "forest", spy)
    monkeypatch.setattr(figures, "svg", lambda _: b"<svg/>")
    return calls


def drawn_from(result, tmp_path, found):
    return StageFigures(result, report_on(result), found, Album(tmp_path)).all()


def test_effects_are_the_distances_to_the_winner_with_their_intervals(drawn, tmp_path):
    found = material()
    depth = found.results[0]
    first = drawn_from(depth, tmp_path, found)[0]
    assert first.caption.endswith("against conv_layers = 3: simultaneous 95 % intervals over seeds and images.")
    effects, how = drawn["depth (conv_layers): distance to the winner"]
    assert how["xlabel"] == "validation accuracy less that of conv_layers = 3, points"
    lead = depth.winner.contest.difference(depth.outcomes[0], depth.winner.outcome)
    assert (effects[0].label, effects[0].low, effects[0].high) == (
        *("conv_layers = 1", pytest.approx(100 * lead.low)),
        pytest.approx(100 * lead.high),
    )
    assert effects[0].value == pytest.approx(100 * lead.value)
    assert (effects[2].value, effects[2].low) == (0.0, None)
    assert [effect.number for effect in effects] == [found.looks[each.key] for each in depth.outcomes]


def test_validation_is_solid_and_training_dashed_and_published_points_stand_with_the_test_scores(drawn, tmp_path):
    found = material()
    depth = found.results[0]
    drawn_from(depth, tmp_path, found)
    curves, how = drawn["depth (conv_layers): accuracy"]
    assert (how["pair"], how["percent"], how["head"]) == (("validation", "train"), True, "conv_layers")
    assert np.array_equal(curves[0].values, depth.outcomes[0].history.curve("val_score"))
    assert np.array_equal(curves[0].beside, depth.outcomes[0].history.curve("train_score"))
    curves, how = drawn["depth (conv_layers): loss"]
    assert np.array_equal(curves[0].values, depth.outcomes[0].history.curve("val_loss"))
    assert (how["percent"], how["reference"]) == (False, ())
    curves, how = drawn["depth (conv_layers): test accuracy"]
    assert (curves[0].beside, how["pair"]) == (None, None)
    assert how["reference"] == [("1", 3, 0.4), ("2", 9, 0.71)]


def test_curves_tell_apart_what_ended_how(drawn, tmp_path):
    some = [outcome("1", [0.5, 0.7]), outcome("2", [0.5], status="censored"), outcome("3", [0.4], status="failed")]
    result = StageResult(Stage("lr", {"training.lr": (1, 2, 3, 4)}), (*some, outcome("4", status="failed")))
    pictures = drawn_from(result, tmp_path, material())
    assert [picture.file.stem for picture in pictures] == ["lr-learning", "lr-loss", "lr-accuracy"]
    curves, _ = drawn["lr: loss"]
    assert [(each.label, each.censored) for each in curves] == [("1", False), ("2", True), ("3 (failed)", False)]
    assert curves[2].values.shape == (1, 1)
    nothing = StageResult(result.stage, (outcome("4", status="failed"),))
    assert drawn_from(nothing, tmp_path, material()) == []


def test_of_many_trials_the_leaders_are_drawn_and_it_is_said(drawn, tmp_path):
    some = tuple(outcome(str(at), [at / 100]) for at in range(MOST_CURVES + 1))
    pictures = drawn_from(StageResult(Stage("lr"), some), tmp_path, material())
    assert [each.label for each in drawn["lr: loss"][0]] == [str(at) for at in range(MOST_CURVES + 1)][-LEADERS:]
    assert pictures[0].caption.endswith(f"Lines: the best {LEADERS} of {MOST_CURVES + 1} trials.")


def test_behind_the_leaders_is_how_the_others_are_spread(drawn, tmp_path):
    some = [outcome(str(at), [at / 100, at / 50]) for at in range(MOST_CURVES + 1)]
    some[0] = outcome("0", [0.0, 0.01], [0.02, 0.03])  # two seeds, of which the mean counts
    some[1] = outcome("1", [0.01], status="censored")
    drawn_from(StageResult(Stage("lr"), (*some, outcome("none", status="failed"))), tmp_path, material())
    others = drawn["lr: accuracy"][1]["others"]
    np.testing.assert_allclose(others, [[0.01, 0.02], [0.01, np.nan], [0.02, 0.04]])
    few = tuple(some[:MOST_CURVES])
    drawn_from(StageResult(Stage("few"), few), tmp_path, material())
    assert drawn["few: accuracy"][1]["others"] is None


def test_with_nothing_told_there_is_no_interval(drawn, tmp_path):
    some = [replace(outcome(label, [0.5]), status=Status.DONE) for label in "ab"]
    found = material()
    winner = found.terms.choose(some, None)
    result = StageResult(Stage("lr"), tuple(some), winner)
    first = drawn_from(result, tmp_path, found)[0]
    assert first.caption.endswith(": intervals are not known.")
    assert {each.low for each in drawn["lr: distance to the winner"][0]} == {None}
    assert head(result) == "trial"
