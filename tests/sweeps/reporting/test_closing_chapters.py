from dataclasses import replace

import pytest

from analysis.page import Code, Folded, Heading, Heat, Words
from analysis.report import Column, Section, Table
from sweeps.reporting.closing_chapters import (
    MOST_ROWS,
    appendix_chapter,
    final_chapter,
    learned_chapter,
    limits_chapter,
    reproduce_chapter,
)
from sweeps.reporting.material import percent
from sweeps.reporting.provenance import Provenance
from tests.sweeps.reporting.materials import material, over

PNG = b"\x89PNG"
TABLE = Table("raw", (Column("a"),), ((1,),))


@pytest.fixture
def found(tmp_path):
    (tmp_path / "mistakes").mkdir()
    for name in ("mistakes/confusion.png", "tsne.png"):
        (tmp_path / name).write_bytes(PNG)
    mistakes = Section("Mistakes: m", ("Right.",), (TABLE,), ((tmp_path / "mistakes" / "confusion.png", "c"),))
    other = Section("Map: m", ("Near.",), (TABLE,), ((tmp_path / "tsne.png", "t"),))
    return material(findings=(mistakes, other))


def test_the_final_model_has_its_test_score_its_classes_and_its_mistakes(found):
    words, heat, heading, right, _, folded = final_chapter(found, found.best).blocks
    assert words.text == (
        f"conv_layers = 3 and channels = 6: test accuracy {percent(found.best, 'test_score')}, validation "
        f"accuracy {percent(found.best, 'val_score')}, at epoch 1 of 1; 878 parameters, 0.41 MFLOPs an image."
    )
    assert isinstance(heat, Heat)
    assert heat.rows[0][1][0] == pytest.approx(100 * found.best.chosen("test_score").mean())
    assert (heading, right) == (Heading("Mistakes: m"), Words("Right."))
    assert isinstance(folded, Folded)


def test_what_else_was_found_has_a_chapter_with_its_raw_tables_folded(found):
    chapter = learned_chapter(found)
    assert [type(block).__name__ for block in chapter.blocks] == ["Heading", "Words", "Pictures", "Folded"]
    assert learned_chapter(replace(found, findings=())) is None


def test_limits_name_what_is_open_and_what_it_would_cost(found):
    chapter = limits_chapter(found)
    [table] = (block for block in chapter.blocks if block.block == "table")
    depth = found.results[0]
    best, second = depth.outcomes[2], depth.outcomes[1]
    contest = depth.winner.contest
    lead = contest.difference(best, second).value
    needed = contest.comparison.seeds_for(lead, (contest.place(best), contest.place(second)))
    assert table.rows == (
        ("depth (conv_layers)", "conv_layers = 3 and 2", f"+{100 * lead:.1f}", needed, 2.0 * (needed - 3)),
    )
    assert chapter.blocks[0].text.startswith("3 seeds per trial and one data set")
    assert any(block.text.startswith("Factors were varied one at a time") for block in chapter.blocks[:2])
    assert len(limits_chapter(material(over(()))).blocks) == 1


def test_it_is_said_how_to_do_it_again():
    source = Provenance(command="python sweeps/x.py --seeds 3", commit="abc", versions={"torch": "2.11"})
    found = material(source=source)
    command, table, words, code = reproduce_chapter(found).blocks
    assert command == Code("python sweeps/x.py --seeds 3")
    assert dict(table.rows) == {"commit": "abc", "versions": "torch 2.11", "SHA-256 of shapes": "d1ge57"}
    assert f"(MLflow run run of {found.best.key})" in words.text
    assert code.text == 'from sweeps import best\nbest("small").predict("image.png")'


def test_the_appendix_has_all_tables_folded_and_tells_of_failures():
    agenda = over(())
    task = agenda.next()
    agenda.ledger.restarted(task.key, "it hung")
    agenda.finish(task.key, material().best.history, reason="it broke")
    blocks = appendix_chapter(material(agenda)).blocks
    assert [block.title for block in blocks if isinstance(block, Folded)] == ["depth (conv_layers): full tables"]
    assert [block.text for block in blocks if isinstance(block, Words)][1:] == [
        "Restarted from its last snapshot: conv_layers = 1 (it hung).",
        "Failed: conv_layers = 1: it broke.",
    ]
    whole = appendix_chapter(material()).blocks
    assert [len(block.blocks) for block in whole if isinstance(block, Folded)] == [2, 2]
    assert whole[-1] == Words("No trial failed or had to be restarted.")
    assert all(len(table.rows) <= MOST_ROWS for block in whole if isinstance(block, Folded) for table in block.blocks)
