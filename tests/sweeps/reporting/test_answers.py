from dataclasses import replace

import pytest

from sweeps.decisions.records import StageResult
from sweeps.reporting.answers import answers_chapter, confidence, headline, recommendation
from sweeps.reporting.material import percent
from sweeps.study import Choice, Search, Space, Stage
from tests.sweeps.outcomes import outcome
from tests.sweeps.reporting.materials import SCORES, STUDY, material, over

SIZE = (27 * 6 + 6) + 2 * (54 * 6 + 6) + (6 * 2 * 2 * 2 + 2)  # three convolutions of 6 channels, pooled to 2×2; a head


@pytest.fixture(scope="module")
def found():
    return material()


def test_one_sentence_says_what_to_use_and_what_it_reaches(found):
    best = found.best
    assert recommendation(found, best) == (
        f"Use conv_layers = 3 and channels = 6: test accuracy {percent(best, 'test_score')}, validation "
        f"accuracy {percent(best, 'val_score')}; {SIZE} parameters, 1 s of training."
    )
    partial = material(over(SCORES[:3]))
    assert recommendation(partial, partial.best).startswith("Best so far: conv_layers = 3: test accuracy ")


def test_each_stage_that_compares_has_a_row(found):
    chapter = answers_chapter(found)
    assert chapter.title == "Answers"
    words, table = chapter.blocks
    assert words.text == recommendation(found, found.best)
    depth, width = table.rows
    contest, best = found.results[0].winner.contest, found.results[0].winner.outcome
    second, worst = (contest.difference(best, each).words for each in found.results[0].outcomes[1::-1])
    assert depth[:5] == (
        "depth (conv_layers)",
        "conv_layers = 3",
        f"{second} over conv_layers = 2",
        f"{worst} over conv_layers = 1",
        "not significantly ahead of conv_layers = 2",
    )
    assert width[1:5] == ("channels = 6", f"{_lead(found)} over channels = 4", None, "ahead of the other")


def _lead(found):
    width = found.results[1]
    return width.winner.contest.difference(width.winner.outcome, width.outcomes[0]).words


def test_a_study_without_a_decided_stage_says_so():
    chapter = answers_chapter(material(over(())))
    assert (chapter.title, [block.text for block in chapter.blocks]) == ("Answers so far", ["No stage is decided yet."])


def test_a_heading_says_no_more_than_the_data(found):
    depth, width = found.results
    assert headline(depth) == "conv_layers = 3 leads; conv_layers = 2 may be as good"
    assert headline(width) == "channels = 6 is ahead of all others"
    assert headline(StageResult(STUDY.stages[0], skipped="why")) == "not run"
    assert headline(StageResult(STUDY.stages[0], (outcome("a", [0.5], status="failed"),))) == "no winner"
    one = [outcome(label, [score]) for label, score in (("a", 0.5), ("b", 0.6))]
    apart = StageResult(Stage("s"), tuple(one), found.terms.choose(one, None))
    assert headline(apart) == "b leads; its lead cannot be tested"
    assert headline(StageResult(Stage("s"), tuple(one[:1]), found.terms.choose(one[:1], None))) == "a"


def test_how_sure_it_is_counts_what_is_not_ranked(found):
    depth = found.results[0]
    stopped = replace(depth, outcomes=(*depth.outcomes, outcome("x", [0.3], status="censored")))
    assert confidence(stopped) == "not significantly ahead of conv_layers = 2; 1 not ranked"
    assert confidence(found.results[1]) == "ahead of the other"
    assert confidence(StageResult(Stage("s"))) == ""


def test_a_search_s_winner_is_held_against_those_confirmed_alone(found):
    width = found.results[1]
    sought = replace(width, stage=Search("find", Space({"training.batch_size": Choice((16, 32))})))
    assert headline(sought) == "channels = 6 is ahead of all other confirmed trials"
    assert confidence(sought) == "ahead of the other confirmed trial"
