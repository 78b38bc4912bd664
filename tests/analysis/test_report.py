"""The tables and the report against values worked out by hand."""

import csv
import io
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from analysis import report
from analysis.page.writing import table_html
from analysis.report import Column, Measured, Section, Table, write_json

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))

# The first two accuracies print alike; the first three losses tie; the last row would win everything, but was stopped
# early.
TABLE = Table(
    "conv_layers",
    (
        Column("layers"),
        Column("acc", best="max", digits=1),
        Column("loss", best="min", digits=2),
        Column("runs"),
        Column("key", show=False),
    ),
    (
        ("0 <b>&", Measured(68.31, 0.42, 3), 0.5, 3, "a"),
        ("1", Measured(68.34, 0.05, 3), 0.5, 12345, "b"),
        ("2 | x", Measured(60.0, None, 1), 0.5, None, "c"),
        ("3", None, float("nan"), 1, "d"),
        ("4", Measured(99.0, 1.0, 3), 0.1, 1, "e"),
    ),
    (True, True, True, True, False),
)


def column(table: Table, col: int) -> list[str]:
    return [table.text(row, col) for row in range(len(table.rows))]


def printed(table: Table, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, record=True)
    console.print(table.to_rich())
    return console.export_text(styles=True)


def test_the_best_are_decided_before_rounding_with_ties_among_eligible_rows():
    assert TABLE.best == {(1, 1), (0, 2), (1, 2), (2, 2)}


def test_nothing_is_best_where_no_eligible_row_has_a_number():
    assert Table("t", (Column("x", best="max"),), ((1.0,), (None,), ("n/a",)), (False, True, True)).best == set()


@pytest.mark.parametrize("best", ["max", "min"])
def test_what_diverged_is_never_best(best: str):
    cells = (float("nan"), float("inf"), -float("inf"), Measured(float("nan"), 1.0, 2), 2.0)
    assert Table("t", (Column("x", best=best),), tuple((cell,) for cell in cells)).best == {(4, 0)}


def test_the_best_are_found_once_however_large_the_table(monkeypatch: pytest.MonkeyPatch):
    columns, seen = (Column("x", best="max"), Column("y", best="min")), []
    monkeypatch.setattr(report, "_rank", lambda cell: seen.append(cell) or cell)
    table = Table("t", columns, tuple((row, row) for row in range(50)))
    table_html(table), table.to_rich(), table.to_json()
    assert len(seen) == 2 * 50
    assert table.best == {(49, 0), (0, 1)}


def test_a_mean_comes_with_the_sd_of_a_sample_and_n():
    assert Measured.of([1.0, 2.0, 6.0]) == Measured(3.0, pytest.approx(7**0.5), 3)  # 4 + 1 + 9, over 3 − 1
    assert Measured.of(np.array([1, 3])) == Measured(2.0, pytest.approx(2**0.5), 2)
    assert Measured.of([5.0]) == Measured(5.0, None, 1)
    assert math.isnan(Measured.of([1.0, float("nan")]).mean)  # a mean over the rest would flatter
    with pytest.raises(ValueError, match="there are no values"):
        Measured.of([])


def test_a_mean_in_words_says_what_it_is_over():
    assert f"{Measured(77.006, 0.318, 3):.2f} %" == "77.01 ± 0.32 (3) %"
    assert f"{Measured(77.006, None, 1):.1f}" == "77.0"


def test_a_mean_of_the_finite_is_asked_for_by_name():
    values = np.array([1.0, np.nan, 2.0, np.inf, 6.0])
    assert Measured.of_finite(values) == Measured.of([1.0, 2.0, 6.0])
    assert Measured.of_finite(values[:2]) == Measured(1.0, None, 1)
    assert Measured.of_finite(values[1:2]) is None


def test_cells_are_printed_with_spread_and_n_and_the_missing_as_a_dash():
    assert column(TABLE, 1) == ["68.3 ± 0.4 (3)", "68.3 ± 0.1 (3)", "60.0", "–", "99.0 ± 1.0 (3)"]
    assert column(TABLE, 2) == ["0.50", "0.50", "0.50", "nan", "0.10"]
    assert column(TABLE, 3) == ["3", "12,345", "–", "1", "1"]


def test_a_spread_of_zero_over_several_replicates_is_known_and_printed():
    assert Table("t", (Column("x", digits=1),), ((Measured(1.0, 0.0, 3),),)).text(0, 0) == "1.0 ± 0.0 (3)"


def test_a_rounded_zero_has_no_sign():
    assert Table("t", (Column("x", digits=1),), ((-0.04,),)).text(0, 0) == "0.0"


def test_csv_reads_back_in_full_precision():
    header, *rows = csv.reader(io.StringIO(TABLE.to_csv()))
    assert header == ["layers", "acc", "acc_sd", "acc_n", "loss", "runs", "key"]
    assert rows[0] == ["0 <b>&", "68.31", "0.42", "3", "0.5", "3", "a"]
    assert rows[2] == ["2 | x", "60.0", "", "1", "0.5", "", "c"]
    assert rows[3] == ["3", "", "", "", "nan", "1", "d"]
    third = Table("t", (Column("x", digits=1),), ((1 / 3,),)).to_csv()
    assert float(third.splitlines()[1]) == 1 / 3


def test_json_keeps_the_missing_as_null():
    data = json.loads(json.dumps(TABLE.to_json(), allow_nan=False))
    assert data["columns"] == ["layers", "acc", "loss", "runs", "key"]
    assert data["rows"][0] == ["0 <b>&", {"mean": 68.31, "sd": 0.42, "n": 3}, 0.5, 3, "a"]
    assert data["rows"][2] == ["2 | x", {"mean": 60.0, "sd": None, "n": 1}, 0.5, None, "c"]
    assert data["rows"][3] == ["3", None, None, 1, "d"]
    assert data["eligible"] == [True, True, True, True, False]
    assert data["best"] == [[0, 2], [1, 1], [1, 2], [2, 2]]


@pytest.mark.parametrize(("columns", "heads"), [(12, 12), (13, 2)])
def test_a_table_of_one_row_is_turned_from_13_columns_on(columns, heads):
    table = Table("t", tuple(Column(f"c{n}") for n in range(columns)), (tuple(range(columns)),))
    assert len(table.to_rich().columns) == heads


def test_the_terminal_shows_the_best_in_bold_green_and_takes_labels_literally():
    text = printed(Table("[red]t", (Column("[b]"), Column("x", best="max")), (("[i]", 1), ("b", 2))))
    assert "[red]t" in text
    assert "[b]" in text
    assert "[i]" in text
    assert re.search(r"\x1b\[1;32m *2", text)
    assert not re.search(r"\x1b\[1;32m *1", text)


def test_the_terminal_dims_what_is_not_ranked():
    text = printed(Table("t", (Column("a"),), (("one",), ("two",)), (True, False)))
    assert re.search(r"\x1b\[2m *two", text)
    assert not re.search(r"\x1b\[2m *one", text)


def test_a_table_with_many_columns_is_turned_in_the_terminal():
    classes = tuple(Column(f"class {i}", digits=1) for i in range(20))
    rows = tuple(
        (name, *(Measured(10.0 * row + i, 1.5, 3) for i in range(20))) for row, name in enumerate(("one", "two"))
    )
    turned = Table("t", (Column("layers"), *classes), rows).to_rich()
    assert [str(column.header) for column in turned.columns] == ["layers", "one", "two"]
    assert turned.row_count == 20
    assert "29.0 ± 1.5 (3)" in printed(Table("t", (Column("layers"), *classes), rows), width=60)


def test_a_narrow_terminal_breaks_numbers_rather_than_cutting_them():
    text = printed(Table("t", (Column("a"), Column("b")), ((123456789, 987654321),)), width=12)
    assert sorted(re.sub(r"\x1b\[[0-9;]*m|[^0-9]", "", text)) == sorted("123456789987654321")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Column("x", best="most"), "'most'"),
        (lambda: Measured(1.0, 0.0, 1), "n is 1"),
        (lambda: Measured(1.0, None, 0), "n is 0"),
        (lambda: Table("t", (Column("x"),), ((1, 2),)), "row 0 has 2 cells, but there are 1 columns"),
        (lambda: Table("t", (Column("x"),), ((1,),), ()), "0 entries, but there are 1 rows"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.fixture
def sections(tmp_path: Path) -> list[Section]:
    (tmp_path / "loss.png").write_bytes(PNG)
    return [
        Section("A & <B>", ("x < y",), (TABLE,), ((tmp_path / "loss.png", 'the "loss"'),)),
        Section("Skipped", ("Not run.",)),
    ]


def test_a_text_that_a_spreadsheet_would_take_for_a_formula_is_quoted_and_a_number_is_not():
    cells = ("=1+1", "+a", "-a", "@a", "\ta", "-5", "+1e3", "a=b")
    written = list(csv.reader(io.StringIO(Table("t", (Column("x"),), tuple((cell,) for cell in cells)).to_csv())))
    assert [row[0] for row in written[1:]] == ["'=1+1", "'+a", "'-a", "'@a", "'\ta", "-5", "+1e3", "a=b"]


def test_in_the_terminal_words_stand_left_and_numbers_right():
    shown = Table("t", (Column("a"), Column("b")), (("x", 1), ("y", 2))).to_rich()
    assert [column.justify for column in shown.columns] == ["left", "right"]
    assert shown.title_justify == "left"


def test_the_report_as_data_is_a_text_that_people_can_read(tmp_path: Path):
    write_json(tmp_path / "report.json", "größer", [], [])
    text = (tmp_path / "report.json").read_text()
    assert text.startswith('{\n "title": "größer",\n')
    assert text.endswith("}\n")


def test_the_report_as_data_has_the_same_content(tmp_path: Path, sections: list[Section]):
    write_json(tmp_path / "report.json", "part_a", ["intro"], sections)
    data = json.loads((tmp_path / "report.json").read_text())
    assert (data["title"], data["intro"], [section["title"] for section in data["sections"]]) == (
        "part_a",
        ["intro"],
        ["A & <B>", "Skipped"],
    )
    assert data["sections"][0]["figures"] == [{"file": "loss.png", "caption": 'the "loss"'}]
    assert data["sections"][0]["tables"] == [json.loads(json.dumps(TABLE.to_json()))]
