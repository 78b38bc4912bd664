"""Where models stand: shares by hand, intervals that hold, and what the sentences say was beaten."""

from dataclasses import replace

import numpy as np
import pytest

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
    assert "not told apart from untrained (" in line
    assert "untrained" not in standing(shares("net", 0.3, 0), untrained=None).text[0]


def test_further_models_are_set_beside_the_first():
    text = standing(shares("a", 0.5, 0, 3), shares("b", 0.7, 1, 3), shares("c", 0.5, 2, 3)).text
    assert text[3].startswith("b over a: +")
    assert "not told apart" not in text[3]
    assert text[4].endswith("not told apart.")
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
