import pytest

from analysis.page import Beside, Heading, Pictures, Words
from analysis.report import Table
from sweeps.decisions.records import StageResult
from sweeps.reporting.album import Album
from sweeps.reporting.factor_chapters import question, stage_chapter
from sweeps.study import Choice, Search, Space, Stage
from tests.sweeps.reporting.materials import DEPTH, SCORES, material, over


def test_a_chapter_asks_shows_and_says_what_is_told_and_what_is_not(tmp_path):
    found = material()
    chapter = stage_chapter(found.results[0], found, Album(tmp_path))
    assert chapter.title == "depth (conv_layers): conv_layers = 3 leads; conv_layers = 2 may be as good"
    assert [type(block) for block in chapter.blocks] == [
        *(Words, Pictures, Table, Heading, Words, Words, Words, Heading, Words, Words, Beside)
    ]
    said = [block.text for block in chapter.blocks if isinstance(block, Words | Heading)]
    assert said[0] == "What is the effect of conv_layers, all else being equal?"
    assert said[1] == "What the data says"
    assert said[2].startswith("Winner on validation (2,000 images): conv_layers = 3 at ")
    assert said[3].endswith(" May be best: conv_layers = 2 and 3.")
    assert said[5] == "What it does not say"
    assert said[6].startswith("Differences below ")
    assert [picture.file.stem for picture in chapter.blocks[1].pictures] == [
        f"depth-{end}" for end in ("effects", "learning", "loss", "accuracy")
    ]


def test_a_stage_that_is_skipped_says_why(tmp_path):
    skipped = StageResult(DEPTH, skipped="stage x has no winner to start from")
    found = material(over(SCORES[:3]))
    found.agenda._results["depth"] = skipped
    chapter = stage_chapter(skipped, found, Album(tmp_path))
    assert chapter.title == "depth (conv_layers): not run"
    assert chapter.blocks[-1] == Words("Not run: stage x has no winner to start from.")


@pytest.mark.parametrize(
    ("stage", "asked"),
    [
        (Stage("s", {"training.lr": (1,)}, question="Why?"), "Why?"),
        (
            Stage("s", {"training.lr": (1,), "training.flip": (True,)}),
            "What is the effect of lr and flip, all else being equal?",
        ),
        (Stage("s"), ""),
        (
            Search("s", Space({"training.batch_size": Choice((16, 32))})),
            "Which combination of these 1 settings is best?",
        ),
    ],
)
def test_the_question_is_the_study_s_own_or_made_of_the_fields(stage, asked):
    assert question(StageResult(stage)) == asked
