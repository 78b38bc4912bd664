"""Where models stand: shares by hand, intervals that hold, and what the sentences say was beaten."""

from dataclasses import replace

import numpy as np
import pytest

from analysis import figures
from analysis.inference.standing import Shares, Standing, network, networks, standing_of
from analysis.report import Measured
from tests.analysis.filters.test_naming import SMALL, make_subject

IMAGES = 400


def shares(name: str, chance: float, seed: int, seeds: int = 1, count: int = IMAGES) -> Shares:
    """Return of how many of eight neighbours is true what is true by this chance."""
    return Shares(name, "fc (2-d)", np.random.default_rng(seed).binomial(8, chance, (seeds, count)) / 8)


def standing(*models: Shares, untrained: float | None = 0.3, pixels: float = 0.25) -> Standing:
    others = [None if untrained is None else shares(f"{each.name}, untrained", untrained, 90) for each in models]
    fixed = replace(shares("pixels", pixels, 91), seeded=False)
    return Standing(models, tuple(others), fixed, 10.0)


def test_what_was_beaten_is_said_with_how_much():
    [line, brackets, reach] = standing(shares("net", 0.7, 0)).text
    mean = 100 * shares("net", 0.7, 0).each.mean()
    assert line.startswith(f"net, fc (2-d): {mean:.1f} % [")
    assert " of the neighbours share a class, more than pixels (2" in line
    assert " %) and untrained (" in line
    assert line.endswith("; by chance 10.0 %.")
    assert brackets == "In brackets: 95 % intervals over images, simultaneous ones for differences."
    assert reach.startswith("One seed each")


def test_what_was_not_beaten_is_said_too():
    [line, *_] = standing(shares("net", 0.3, 0), pixels=0.6).text
    assert "less than pixels (" in line
    assert "not significantly different from untrained (" in line
    assert "untrained" not in standing(shares("net", 0.3, 0), untrained=None).text[0]


def test_further_models_are_set_beside_the_first():
    text = standing(shares("a", 0.5, 0, 3), shares("b", 0.7, 1, 3), shares("c", 0.5, 2, 3)).text
    assert text[3].startswith("b over a: +")
    assert "not significant" not in text[3]
    assert text[4].endswith("not significant.")
    assert text[-1] == "In brackets: 95 % intervals over seeds and images, simultaneous ones for differences."


def test_the_interval_is_that_of_a_mean_over_images():
    model = shares("net", 0.7, 0)
    [row, *_, chance] = standing(model).rows
    error = 100 * model.each.std() / np.sqrt(IMAGES)
    assert row[:3] == ("net", "fc (2-d)", Measured(pytest.approx(100 * model.each.mean()), None, 1))
    assert (row[4] - row[3]) / 2 == pytest.approx(1.97 * error, rel=0.06)  # a thousand resamples
    assert chance == ("by chance", "", 10.0, None, None, IMAGES)


def test_differences_are_paired():
    """Two that differ on few images are told apart where their own intervals overlap by far."""
    base = shares("a", 0.5, 0)
    better = Shares("b", base.space, np.minimum(base.each + (np.arange(IMAGES) % 8 == 0) / 8, 1))
    found = standing(base, better)
    first, second, *_ = found.rows
    assert first[4] > second[3]
    [gain] = [row for row in found.gains if row[:2] == ("b", "a")]
    assert gain[3] > 0
    assert gain[2] == pytest.approx(100 * (better.each - base.each).mean())


def test_of_equal_models_few_are_told_apart():
    told = 0
    for trial in range(100):
        found = standing(shares("a", 0.5, 200 + trial, 2, 60), shares("b", 0.5, 400 + trial, 2, 60), untrained=None)
        found = replace(found, pixels=replace(shares("pixels", 0.25, trial, count=60), seeded=False))
        [gain] = [row for row in found.gains if row[:2] == ("b", "a")]
        told += gain[3] > 0 or gain[4] < 0
    assert told <= 8  # the three intervals are simultaneous


def test_images_without_a_class_do_not_count():
    model = shares("net", 0.7, 0)
    model.each[:, ::2] = np.nan
    found = standing(model)
    found.pixels.each[:, ::2] = np.nan
    assert found.rows[0][2].mean == pytest.approx(100 * model.each[0, 1::2].mean())
    assert found.rows[0][5] == IMAGES / 2


def test_shares_are_counted_of_all_networks():
    subject = make_subject(SMALL, count=5)
    subject = replace(subject, others=(subject.untrained(4),))
    assert networks(subject) == 3
    assert network(subject, 0) is subject
    assert network(subject, 1) is subject.others[0]
    assert network(subject, 2).seed == subject.seed
    present = np.eye(2, dtype=bool)[[0, 0, 1, 1, 1]]
    right, wrong = np.array([[1], [0], [3], [2], [2]]), np.array([[2], [2], [0], [0], [0]])
    found = standing_of([subject], ["space"], present, [[right, wrong, wrong]], right)
    np.testing.assert_array_equal(found.models[0].each, [[1] * 5, [0] * 5])
    assert found.untrained[0].each.tolist() == [[0] * 5]
    assert found.pixels.each.tolist() == [[1] * 5]
    assert found.chance == pytest.approx(100 * (2 * 1 / 4 + 3 * 2 / 4) / 5)


def test_the_table_has_the_gains_under_their_heads():
    found = standing(shares("net", 0.7, 0, 2))
    table = found.table()
    assert table.title == (
        "Neighbours that share a class: what models have over the pixels, an untrained network, each other, with "
        "simultaneous 95 % intervals over seeds and images"
    )
    assert [column.name for column in table.columns] == ["model", "over", "gain, points", "from", "to"]
    assert [column.digits for column in table.columns] == [None, None, 1, 1, 1]
    assert table.rows == tuple(found.gains)
    assert [row[:2] for row in table.rows] == [("net", "pixels"), ("net", "net, untrained")]
    assert table.rows[0][2] == pytest.approx(100 * (found.models[0].each.mean() - found.pixels.each.mean()))


def test_the_figure_shows_each_share_with_half_its_interval(monkeypatch):
    drawn = []
    monkeypatch.setattr(figures, "bars", lambda labels, series, **how: drawn.append((labels, series, how)) or b"png")
    found = standing(shares("a", 0.7, 0), shares("b", 0.5, 1))
    figure = found.drawn("Ten nearest.")
    [(labels, series, how)] = drawn
    assert (figure.png, figure.caption) == (b"png", "Ten nearest. Lines: 95 % intervals over images.")
    assert labels == ["a", "b"]
    assert list(series) == ["model", "untrained", "pixels", "by chance"]
    for kind, number in (("model", 0), ("untrained", 2), ("pixels", 4)):
        row = found.rows[number]
        assert 100 * series[kind][0] == pytest.approx(row[2].mean)
        assert 100 * how["errors"][kind][0] == pytest.approx((row[4] - row[3]) / 2)
    assert series["by chance"].tolist() == [0.1, 0.1]
    assert (how["title"], how["ylabel"], how["percent"]) == ("Neighbours that share a class", "share a class, %", True)
    assert how["caption"] == figure.caption
    assert list(replace(found, untrained=(None, None)).drawn("").png) == list(b"png")
    assert list(drawn[1][1]) == ["model", "pixels", "by chance"]


def test_a_gain_of_less_than_a_point_that_is_certain_is_told():
    base = Shares("a", "s", np.zeros((1, IMAGES)))
    better = Shares("b", "s", np.full((1, IMAGES), 0.005))
    found = replace(standing(base, better, untrained=None), pixels=Shares("pixels", "p", np.zeros((1, IMAGES)), False))
    assert "b over a: +0.5 points [" in found.text[2]
    assert "not significant" not in found.text[2]
    behind = replace(found, models=(better, base))
    assert "a over b: -0.5 points [" in behind.text[2]
    assert "not significant" not in behind.text[2]


def test_the_heading_of_one_model_says_what_it_beats():
    found = standing(shares("net", 0.7, 0))
    mean = 100 * shares("net", 0.7, 0).each.mean()
    assert found.headline.startswith(f"{mean:.0f} % of the neighbours share a class, more than pixels (")
    assert "less than pixels (" in standing(shares("net", 0.3, 0), pixels=0.6).headline
    unknown = replace(found, pixels=Shares("pixels", "p", np.full((1, IMAGES), np.nan), False))
    assert unknown.headline == "no image is known to have a class"


def test_the_heading_of_several_models_says_whether_they_are_told_apart():
    apart = standing(shares("a", 0.5, 0, 3), shares("b", 0.7, 1, 3)).headline
    assert apart.endswith(" % (b) of the neighbours share a class")
    assert " % (a) and " in apart
    alike = standing(shares("a", 0.5, 0, 3), shares("b", 0.5, 1, 3))
    assert alike.headline.endswith(" of the neighbours share a class; the difference is not significant")
