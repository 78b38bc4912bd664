"""Claims about filters whose truth is known: one that is blue, one that knows the class, one of noise."""

import numpy as np
import pytest
from scipy.stats import hypergeom

from analysis.filters.claims import MIX, Claims, Nulls, Untrained, claims_table, sentence
from analysis.inference.mcnemar import mcnemar

NAMES = ("plane", "car", "cat")
N, TOP = 1500, 100
CHANCE = 43


@pytest.fixture(scope="module")
def world() -> tuple[Nulls, np.ndarray, np.ndarray]:
    """Return nulls of images whose planes are blue and cats more red than green, their mean colours and classes."""
    rng = np.random.default_rng(0)
    labels = np.arange(N) % 3
    levels = rng.uniform(90, 150, (N, 1)) + rng.uniform(-20, 20, (N, 3))
    levels += 5 * np.array([[0, 0, 2], [0, 0, 0], [1, -1, 0]])[labels]
    images = np.broadcast_to(levels[:, None, None], (N, 4, 4, 3)).astype(np.uint8)
    return Nulls(images, labels[:, None] == np.arange(3), TOP), images.mean(axis=(1, 2)), labels


@pytest.fixture(scope="module")
def judged(world) -> Claims:
    nulls, colours, labels = world
    rng = np.random.default_rng(1)
    blue = colours[:, 2]
    mix = colours @ [1.0, -1.0, 0.0]
    knows = (labels == 1) + rng.normal(0, 0.3, N)
    return nulls.judge(np.stack([blue, mix, knows, rng.normal(size=N)], axis=1))


def said(world, judged, at, untrained=None):
    return sentence("conv1:0", judged, at, world[0], NAMES, untrained)


def test_counts_are_those_of_the_highest_images(world, judged):
    nulls, colours, labels = world
    blue = np.bincount(labels[np.argsort(-colours[:, 2], kind="stable")[:TOP]], minlength=3)
    assert judged.counts[0].tolist() == blue.tolist() == nulls.colour[nulls.rankings.index("high mean blue")].tolist()
    assert (judged.counts.sum(axis=1) == TOP).all()
    assert (nulls.colour.sum(axis=1) == TOP).all()


def test_a_filter_that_is_blue_beats_chance_but_not_blue(world, judged):
    assert judged.leading[0] == 0
    assert judged.own[0] > world[0].chance[0]
    assert judged.p[0] == pytest.approx(3 * hypergeom.sf(judged.own[0] - 1, N, N // 3, TOP))
    assert world[0].rankings[judged.ranking[0]] == "high mean blue"
    assert judged.colour[0] == judged.own[0]
    assert judged.explained[0] == pytest.approx(1)
    assert (judged.beats_chance[0], judged.beats_colour[0]) == (True, False)
    count = judged.own[0]
    assert said(world, judged, 0) == (
        f"conv1:0: plane {count} of 100, more than chance ({CHANCE}), but no more than high mean blue alone ({count}): "
        "it answers to colour, which explains 100 % of its response."
    )


def test_a_mix_of_colours_is_no_more_than_colour_although_it_beats_each_alone(world, judged):
    nulls = world[0]
    assert judged.leading[1] == 2
    assert judged.own[1] > nulls.colour[:, 2].max()
    assert judged.ranking[1] == len(nulls.rankings)
    assert not judged.beats_colour[1]
    assert f"more than {MIX} alone ({judged.colour[1]})" in said(world, judged, 1)


def test_a_filter_that_knows_the_class_beats_all(world, judged):
    nulls = world[0]
    assert judged.leading[2] == 1
    assert judged.explained[2] < 0.1
    assert (judged.beats_chance[2], judged.beats_colour[2]) == (True, True)
    reached = Untrained(np.array([100, judged.own[2] - 1, 100]), "9 untrained filters")
    assert judged.beats_untrained(reached.largest)[2]
    by = (*nulls.rankings, MIX)[judged.ranking[2]]
    count = judged.own[2]
    assert said(world, judged, 2, reached) == (
        f"conv1:0: car {count} of 100, more than chance ({CHANCE}), colour alone ({judged.colour[2]}, {by}) and "
        f"the most of 9 untrained filters ({count - 1})."
    )
    as_many = Untrained(np.array([0, judged.own[2], 0]), "9 untrained filters")
    assert said(world, judged, 2, as_many).endswith(
        f"but no more than the most of 9 untrained filters ({judged.own[2]})."
    )
    assert said(world, judged, 2).endswith(f"more than chance ({CHANCE}) and colour alone ({judged.colour[2]}, {by}).")


def test_noise_beats_nothing(world, judged):
    assert not judged.beats_chance[3]
    assert said(world, judged, 3).endswith(f"of 100, no more than chance ({world[0].chance[judged.leading[3]]}).")


def test_p_against_colour_is_mcnemars_with_the_ranking_that_comes_closest(world, judged):
    """By hand, for each ranking: the cars that only the filter has among its highest, and those that only it has."""
    _, colours, labels = world
    knows = (labels == 1) + np.random.default_rng(1).normal(0, 0.3, N)
    own = set(np.argsort(-knows, kind="stable")[:TOP].tolist())
    terms = np.column_stack([colours, np.ones(N)])
    brightness = colours.mean(axis=1)
    measured = [brightness, -brightness, *(sign * channel for channel in colours.T for sign in (1, -1))]
    measured.append(terms @ np.linalg.lstsq(terms, knows, rcond=None)[0])
    tests = []
    for values in measured:
        theirs = set(np.argsort(-values, kind="stable")[:TOP].tolist())
        only = [int((labels[list(images)] == 1).sum()) for images in (own - theirs, theirs - own)]
        tests.append(mcnemar(*only))
    assert judged.colour_p[2] == pytest.approx(max(tests))


def test_holm_is_over_the_rows(judged):
    order = np.argsort(judged.p)
    assert judged.adjusted[order[0]] == pytest.approx(4 * judged.p[order[0]])
    assert (judged.adjusted >= judged.p).all()
    assert (judged.colour_adjusted >= judged.colour_p).all()


def test_more_but_not_by_enough_is_said_so(world, judged):
    close = judged._replace(colour=judged.own - 1, explained=np.zeros(4))
    assert "but not clearly more than high mean blue alone" in said(world, close, 0)
    assert said(world, close, 0).endswith(").")  # no word of colour where that explains little


def test_the_table_says_what_each_row_is_beyond(world, judged):
    rows = ["blue", "mix", "knows", "noise"]
    none = claims_table(rows, judged, world[0], NAMES, [None] * 4, "t")
    assert [row[-1] for row in none.rows] == ["chance", "chance", "chance, colour", "nothing"]
    assert [row[1] for row in none.rows][:3] == ["plane", "cat", "car"]
    assert none.rows[0][-3:-1] == (pytest.approx(100), None)
    dead = judged._replace(explained=np.full(4, np.nan))
    assert claims_table(rows, dead, world[0], NAMES, [None] * 4, "t").rows[0][-3] is None
    reached = [Untrained(np.array([100, 0, 0]), "x")] * 4
    assert claims_table(rows, judged, world[0], NAMES, reached, "t").rows[2][-2:] == (0, "chance, colour, untrained")


def test_of_several_labels_each_class_is_set_against_its_own_size():
    rng = np.random.default_rng(2)
    present = rng.random((N, 3)) < [0.9, 0.3, 0.05]
    nulls = Nulls(rng.integers(0, 256, (N, 2, 2, 1), dtype=np.uint8), present, TOP)
    claims = nulls.judge((present[:, 2] + rng.normal(0, 0.2, N))[:, None])
    assert claims.counts[0, 0] > claims.counts[0, 2]  # most of the images have the common class
    assert claims.leading[0] == 2
    assert claims.beats_chance[0]
    assert (np.diff(nulls.chance) < 0).all()
    assert nulls.rankings == ("high mean brightness", "low mean brightness")


def test_where_all_images_are_among_the_highest_nothing_is_beyond_anything():
    images = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1)
    nulls = Nulls(images, np.arange(6)[:, None] % 2 == [0, 1], 100)
    claims = nulls.judge(np.arange(6.0)[:, None])
    assert (nulls.top, nulls.chance.tolist(), claims.p.tolist()) == (6, [3, 3], [1.0])
    assert not claims.beats_chance[0]
