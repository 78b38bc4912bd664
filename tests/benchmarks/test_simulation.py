"""The simulator of searches against tables that are worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from sweeps.decisions.space import unbuildable
from sweeps.study import Choice, Space
from tests.benchmarks import real_curves
from tests.benchmarks.contestants import CONTESTANTS, PEER, SIMPLE, Ours, Random, ours
from tests.benchmarks.crossings import Crossing, crossings
from tests.benchmarks.made_up_curves import make_up
from tests.benchmarks.search import builder, searched
from tests.benchmarks.search_tables import GRID, Roles, Table, lent, load, on_grid
from tests.benchmarks.simulation import Seen, simulate
from trainables.config import CNN, Training, Trial
from trainables.datasets import Split
from trainables.plan import plan_of

BATCHES = (16, 32, 64)
ALL_SEEDS = {"race": False}  # those confirmed run in full with all seeds
EARLY, LATE, MIDDLE = range(3)  # the networks
CURVES = ((0.5, 0.55, 0.6), (0.2, 0.6, 0.8), (0.3, 0.5, 0.7))


def table(val=None, ends=None, made=None):
    """Three networks with six seeds that are all alike; the one that starts worst ends best."""
    val = np.tile(CURVES, (6, 1, 1)) if val is None else val
    ends = val[:, :, -1].copy() if ends is None else ends
    ends[~(np.ones((6, 3), bool) if made is None else made)] = np.nan
    return Table(
        Space({"training.batch_size": Choice(BATCHES)}),
        Trial("fashion_mnist", CNN(), Training(epochs=3)),
        lambda values: BATCHES.index(values["training.batch_size"]),
        val,
        ends,
        np.array([1.0, 2.0, 4.0]),
    )


def search(of, repetition=0, **options):
    return searched(ours(**{"trials": 3, "confirm": 2, "sampler": "grid"} | ALL_SEEDS | options), of, repetition)


def test_all_in_full_finds_the_best_and_counts_the_confirmation():
    found = search(table(), rule="none")
    assert found.course.winner() == LATE
    assert found.at() == pytest.approx((0, 0))
    assert found.course.epochs == 3 * 3 + 2 * 3 * 3  # three trials with one seed, two with three more
    assert found.course.work == 3 * (1 + 2 + 4) + 3 * 3 * (2 + 4)
    assert found.course.now == 3 * 4 + 3 * 3 * 4  # the slowest screened, then the slower confirmed


@pytest.mark.parametrize(("first", "winner"), [(0.1, LATE), (0.5, MIDDLE)])
def test_in_a_race_who_stands_behind_after_the_first_epoch_is_let_go(first, winner):
    """Late stands at (3 · 0.8 + 3 · 0.2) / 6, the middle one, which was screened at 0.7, at 0.4 or 0.6."""
    val = np.tile(CURVES, (6, 1, 1))
    val[:, MIDDLE, 0] = first
    found = search(table(val), rule="none", race=True)
    assert found.course.winner() == winner
    assert found.course.epochs == 3 * 3 + 2 * 3 + 2 * 3


@pytest.mark.usefixtures("thirds")
def test_asha_runs_one_of_three_on_and_misses_the_late_one():
    found = search(table(), rule="asha")  # rungs 1 and 3: the one that is best at epoch 1 runs on
    assert found.course.epochs == 3 + 2 + 2 * 3 * 3
    assert found.course.winner() == MIDDLE  # confirmed beside the early one
    assert found.at() == pytest.approx((10, 100))  # 0.8 against 0.7, which is the median


@pytest.mark.usefixtures("thirds")
def test_with_one_confirmed_it_is_the_one_that_came_furthest():
    found = search(table(), rule="asha", confirm=1)
    assert (found.course.winner(), found.course.epochs) == (EARLY, 3 + 2 + 3 * 3)
    assert found.at() == pytest.approx((20, 200))


def test_one_epoch_and_random_in_full_are_counted_likewise():
    short, full = (searched(CONTESTANTS[name], table(), 0) for name in (SIMPLE, "random, all in full"))
    assert (short.course.epochs, short.course.winner()) == (64 + 3 * 3 * 3, EARLY)
    assert (full.course.epochs, full.course.winner()) == (64 * 3 + 3 * 3 * 3, LATE)


def test_on_one_worker_seconds_add_up():
    seen = Seen(table(), Roles.of(table(), 0))
    course = simulate(Ours(seen, 0, rule="none", sampler="grid", trials=3, confirm=1, **ALL_SEEDS), workers=1)
    assert course.now == course.work == 3 * (1 + 2 + 4) + 3 * 3 * 2


def test_the_incumbent_is_known_at_any_time():
    found = search(table(), rule="none")
    # the early one ends after 3 seconds, when the late one is in its second epoch and the middle one in its first
    assert found.course.points[0] == (3 + 2 + 1, 3 + 4 + 4, 3, EARLY)
    assert found.at(5) == pytest.approx((10, 100))  # nothing had ended: a median network
    assert found.at(6) == found.at(11.9, by=1) == found.at(3, by=2) == pytest.approx((20, 200))
    assert found.at(6, by=2) == pytest.approx((0, 0))


def test_what_diverges_has_no_rank():
    val = np.tile(CURVES, (6, 1, 1))
    val[:, LATE, 1:] = np.nan
    found = search(table(val, np.where(np.isnan(val[:, :, -1]), 0.1, val[:, :, -1])), rule="none")
    assert found.course.winner() == MIDDLE
    assert found.course.epochs == 3 + 2 + 3 + 2 * 3 * 3  # the epoch in which it diverges counts


def test_what_diverges_while_it_is_confirmed_does_not_win():
    val = np.tile(CURVES, (6, 1, 1))
    [confirms] = {seeds[0] for seeds in Roles.of(table(), 0).confirm}
    val[confirms, LATE, 2] = np.nan
    ends = np.nan_to_num(val[:, :, -1], nan=0.1)
    assert search(table(val, ends), rule="none").course.winner() == MIDDLE
    found = searched(CONTESTANTS["random, all in full"], table(val, ends), 0)
    assert found.course.winner() is None  # it drew the late one many times, and has confirmed nothing
    assert found.at()[1] == pytest.approx(100)  # as a median network


@pytest.mark.parametrize("repetition", range(30))
def test_no_seed_has_two_roles(repetition):
    made = np.ones((6, 3), bool)
    made[3:, EARLY] = False
    roles = Roles.of(table(made=made), repetition)
    for network in range(3):
        confirm, judge = set(roles.confirm[network]), set(roles.judge[network])
        assert len({roles.screens} | confirm | judge) == 1 + len(confirm) + len(judge)
        assert all(made[seed, network] for seed in {roles.screens} | confirm | judge)
        assert (len(confirm), len(judge)) == ((1, 1) if network == EARLY else (3, 2))
        assert len(roles.confirm[network]) == 3


def test_roles_rotate():
    made = np.ones((6, 3), bool)
    made[3:, EARLY] = False
    all_roles = [Roles.of(table(made=made), repetition) for repetition in range(15)]
    assert [sum(roles.screens == seed for roles in all_roles) for seed in range(3)] == [5, 5, 5]
    assert len({(roles.screens, frozenset(roles.judge[LATE])) for roles in all_roles}) == 15
    judges = [sum(seed in roles.judge[LATE] for roles in all_roles) for seed in range(6)]
    assert judges == [4, 4, 4, 6, 6, 6]  # of the ten and fifteen times that they do not screen, two fifths


def test_regret_is_of_the_seeds_that_judge():
    ends = np.tile([0.6, 0.8, 0.7], (6, 1))
    roles = Roles.of(table(), 0)
    ends[list(roles.judge[LATE]), LATE] = 0.65
    assert search(table(ends=ends), rule="none").at()[0] == pytest.approx(100 * (0.75 - 0.65))


def looks(build_on, repetition=0):
    """Tell whether a contestant, built on a table, does otherwise where all is other that only a judge may see."""
    first = table()
    roles, val = Roles.of(first, repetition), first.val.copy()
    for network, seeds in enumerate(roles.judge):
        val[list(seeds), network] = 0.9 - val[list(seeds), network]
    second = replace(first, val=val, ends=1 - first.ends)
    courses = [simulate(build_on(of)(Seen(of, roles), repetition)) for of in (first, second)]
    return courses[0] != courses[1]


@pytest.mark.parametrize("name", [PEER, "Optuna: TPE, HyperbandPruner", SIMPLE, "rule=none sampler=random trials=3"])
@pytest.mark.parametrize("repetition", [0, 7])
def test_nobody_looks_at_a_seed_that_judges(name, repetition):
    assert not looks(lambda of: builder(name), repetition)  # noqa: ARG005


def test_a_planted_look_at_what_judges_is_found():
    class Knowing(Random):
        """Returns what it must not know."""

        def incumbent(self):
            return int(self.table.ends[4].argmax())

    class Ranking(Random):
        """Ranks by a seed that judges."""

        def merit(self, number):
            return self.seen.score(self.networks[number], 4, 3)

    def knowing(of):
        Knowing.table = of
        return Knowing

    assert looks(knowing)
    with pytest.raises(IndexError):
        looks(lambda of: Ranking)  # noqa: ARG005


def test_curves_that_cross_are_counted():
    assert crossings(table()) == [
        Crossing(1, 1.0, 1.0, pytest.approx(-1.0)),  # all three pairs; of the best two
        Crossing(2, pytest.approx(1 / 3), 0.0, pytest.approx(1.0)),  # the middle one is still behind the early one
    ]


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    file = tmp_path_factory.mktemp("curves") / "curves.npz"
    make_up(file)
    return load("cifar10", file)


def test_points_of_the_space_are_the_networks_that_were_trained(made_up):
    for network in range(0, real_curves.NETWORKS, 7):
        point = real_curves.point(network)
        first = point["model.channels"][0]
        values = {name: point[name] for name in GRID.fields if name in point}
        values["model.channels"] = (first, 2 * first, 4 * first)
        GRID.flat(values)  # raises where it is no point of the space
        assert on_grid(values) == network
        asked = made_up.start.with_values(values)
        trained = real_curves._trial(real_curves.Run("cifar10", network, 0))
        assert asked.key({}) == trained.key({})


@pytest.mark.parametrize(("rate", "nearest"), [(0.0141, 2), (0.0142, 3), (0.3, 7), (0.005, 1)])
def test_the_nearest_learning_rate_counts(rate, nearest):
    values = {name: form.values[0] for name, form in GRID.fields.items() if hasattr(form, "values")}
    places = len(real_curves.FIELDS["training.batch_size"])
    assert on_grid(values | {"training.lr": rate}) == (nearest - 1) * places


def test_images_are_halved_by_means_of_two_by_two():
    image = np.array([[[0, 9], [1, 9], [20, 0], [20, 0]], [[1, 9], [1, 9], [20, 0], [21, 4]]], np.uint8)
    half = real_curves.halved(Split(image[None], np.array([7])))
    assert half.images.tolist() == [[[[1, 9], [20, 1]]]]
    assert half.images.dtype == np.uint8
    assert half.labels.tolist() == [7]


def test_a_table_of_real_curves_is_read_as_it_was_packed(made_up):
    assert made_up.val.shape == (6, 672, 15)
    assert made_up.made.sum() == 3 * 672 + 3 * 168
    assert made_up.made[:3].all()
    diverged = np.isnan(made_up.val[0]).any(axis=1)
    assert diverged.any()
    assert (made_up.ends[0][diverged] == 0.1).all()


def test_the_product_compares_the_confirmed_on_their_images(made_up):
    seen = Seen(made_up, Roles.of(made_up, 0))
    contestant = Ours(seen, 0, trials=6, sampler="random", **ALL_SEEDS)
    simulate(contestant)
    [result] = contestant.agenda.results
    assert result.winner.contest.told
    assert len(result.winner.contest.compared) == 3
    assert seen.at(contestant.run.draws[result.winner.outcome.key].values) == contestant.incumbent()
    records = [record for outcome in result.outcomes for rows in outcome.history.records.values() for record in rows]
    assert np.isnan([record.test_score for record in records]).all()


def test_a_table_of_other_networks_lends_its_places_to_fields_of_trials():
    values = {str(number): tuple(range(4)) if number % 2 else tuple("abcd") for number in range(9)}
    of = lent(values, np.zeros((2, 4**9 // 4**6, 3)), np.ones(64), confirming=1)
    rng = np.random.default_rng(0)
    points = [of.space.random(rng) for _ in range(50)]
    assert [unbuildable(of.start, point, of.image_shape, 10) for point in points] == [None] * 50
    keys = {of.start.with_values(point).key({}) for point in points}
    assert len(keys) == len({of.at(point) for point in points}) == 50
    assert of.at(dict.fromkeys(of.space.fields, 1)) == 0
    assert of.at(dict.fromkeys(of.space.fields, 1) | {list(of.space.fields)[-1]: 3}) == 2
    assert plan_of(of.start, of.image_shape, 10)
