import numpy as np
import pytest

from sweeps.decisions.claims import Claim, Entrant, Ruling, judge, value_of
from sweeps.decisions.inference import Comparison, compare
from sweeps.decisions.labels import interval
from sweeps.study import Search, Space, Stage, Whole
from trainables.errors import UserError

STAGES = (
    Stage("conv_layers", {"model.conv_layers": (0, 1, 2)}),
    Stage("channels", {"model.channels": ((4, 8), (8, 16))}),
    Stage("both", {"training.lr": (0.1, 0.2), "model.batch_norm": (False, True)}),
    Search("search", Space({"model.conv_layers": Whole(1, 4)})),
)
WHERE = "R0, A.1"


def points(*scores, margin, best=None):
    """Return a comparison of scores in percent whose intervals are all as wide."""
    scores = np.array(scores) / 100
    best = scores == scores.max() if best is None else np.array(best)
    return Comparison(scores, best, np.full((len(scores), len(scores)), margin / 100))


def entrants(*labels, **missing):
    return [Entrant(label, label, missing.get(label)) for label in labels]


def judged(claim, compared, trials=None):
    verdict = judge(claim, trials or entrants("a", "b", "c")[: len(compared.scores)], compared)
    return verdict.ruling, verdict.why


def test_a_claim_is_one_line_of_data_that_its_stage_bears_out():
    Claim("conv_layers", 2, (0, 1), 3.0, WHERE).check(STAGES)
    Claim("channels", (8, 16), ((4, 8),), source=WHERE).check(STAGES)
    Claim("both", (0.1, True), ((0.2, False), (0.2, True)), source=WHERE).check(STAGES)


@pytest.mark.parametrize(
    ("stage", "better", "worse", "words"),
    [
        ("depth", 1, (), "claim on stage depth: there is no stage of that name whose values are known beforehand"),
        ("search", 1, (), "claim on stage search: there is no stage of that name whose values are known beforehand"),
        ("conv_layers", 3, (), "claim on stage conv_layers: 3 is none of its values 0, 1, 2"),
        ("channels", (8, 16), (4, 8), "claim on stage channels: 4 is none of its values 4-8, 8-16"),
        ("both", 0.1, (), "claim on stage both: 0.1 is none of its values 0.1-no, 0.1-yes, 0.2-no, 0.2-yes"),
    ],
)
def test_a_claim_on_what_the_study_has_not_is_refused(stage, better, worse, words):
    with pytest.raises(UserError) as refused:
        Claim(stage, better, worse, source=WHERE).check(STAGES)
    assert str(refused.value) == words


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"worse": 1}, "worse is 1, but must be a tuple of values"),
        ({"worse": (1, 2)}, "2 cannot be better than itself"),
        ({"delta": 0.0}, "delta is 0.0, but must be above 0 points, or None"),
        ({"delta": float("nan")}, "delta is nan, but must be above 0 points, or None"),
        ({"source": " "}, "source is empty, but must name the report and its section"),
    ],
)
def test_a_claim_that_could_not_be_true_is_refused(fields, words):
    with pytest.raises(UserError) as refused:
        Claim("conv_layers", 2, **{"source": WHERE} | fields)
    assert str(refused.value) == f"claim on stage conv_layers: {words}"


def test_a_cell_is_named_as_in_published_numbers():
    assert (value_of((3,)), value_of(((4, 8),)), value_of((0.1, True)), value_of(())) == (3, (4, 8), (0.1, True), ())


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        (Claim("s", "a", ("b",), 1.5, WHERE), "a is better than b by 1.5 points"),
        (Claim("s", "a", ("b",), 1, WHERE), "a is better than b by 1 point"),
        (Claim("s", "a", ("b", "c", (4, 8)), source=WHERE), "a is better than b, c and 4-8"),
        (Claim("s", "a", source=WHERE), "a is the best"),
    ],
)
def test_what_is_claimed_is_said_in_words(claim, words):
    assert judge(claim, entrants("a", "b", "c"), points(3, 2, 1, margin=9)).claimed == words


@pytest.mark.parametrize(
    ("lead", "margin", "ruling"),
    [
        (2.0, 1.9, Ruling.HOLDS),
        (0.3, 0.1, Ruling.HOLDS),  # little, but told
        (2.0, 2.1, Ruling.UNDECIDED),
        (-2.0, 1.9, Ruling.REFUTED),
        (-0.3, 0.1, Ruling.REFUTED),
        (-2.0, 2.1, Ruling.UNDECIDED),
        (0.1, 0.3, Ruling.NO_DIFFERENCE),
        (-0.1, 0.3, Ruling.NO_DIFFERENCE),
        (0.2, 0.4, Ruling.UNDECIDED),  # up to 0.6
        (-0.2, 0.4, Ruling.UNDECIDED),
    ],
)
def test_of_two_values_the_interval_decides(lead, margin, ruling):
    claim = Claim("s", "a", ("b",), source=WHERE)
    found, why = judged(claim, points(70 + lead, 70, margin=margin, best=[True, True]))
    assert found == ruling
    assert why.startswith(f"a: {interval(lead / 100, (lead - margin) / 100, (lead + margin) / 100)} points against b")


def test_a_claim_against_several_holds_against_each():
    claim = Claim("s", "a", ("b", "c"), source=WHERE)
    assert judged(claim, points(74, 71, 72, margin=1)) == (
        Ruling.HOLDS,
        "a: +3.0 [+2.0, +4.0] points against b, +2.0 [+1.0, +3.0] points against c",
    )
    ruling, why = judged(claim, points(74, 71, 73.5, margin=1))
    assert ruling == Ruling.UNDECIDED
    assert why.startswith("a: +0.5 [−0.5, +1.5] points against c; ")
    assert judged(claim, points(72, 70, 75, margin=1)) == (
        Ruling.REFUTED,
        "a: −3.0 [−4.0, −2.0] points against c",
    )
    assert judged(claim, points(72, 70, 71.9, margin=0.2)) == (
        Ruling.NO_DIFFERENCE,
        "a: +0.1 [−0.1, +0.3] points against c",
    )


def test_a_third_that_is_better_refutes_only_that_it_is_the_best():
    third = points(72, 70, 75, margin=1)
    assert judged(Claim("s", "a", ("b",), source=WHERE), third)[0] == Ruling.HOLDS
    assert judged(Claim("s", "a", source=WHERE), third)[0] == Ruling.REFUTED


def test_what_is_not_among_those_that_may_be_best_is_not_the_best():
    """Left out of that set it may be although every interval holds 0."""
    assert judged(Claim("s", "a", source=WHERE), points(72, 73.9, 70, margin=2, best=[False, True, False])) == (
        Ruling.REFUTED,
        "a: −1.9 [−3.9, +0.1] points against b; it is not among those that may be best",
    )


@pytest.mark.parametrize(
    ("claim", "trials", "why"),
    [
        (Claim("s", "a", ("b",), source=WHERE), entrants("a", "b", "c", a="was stopped early"), "a was stopped early"),
        (Claim("s", "a", ("b",), source=WHERE), entrants("a", "b", "c", b="failed"), "b failed"),
        (Claim("s", "a", ("d",), source=WHERE), entrants("a", "b"), "d was not run"),
        (Claim("s", "d", source=WHERE), entrants("a", "b"), "d was not run"),
        (Claim("s", "a", source=WHERE), entrants("a", "b", "c", "d", b="failed", d="diverged"), "b failed, d diverged"),
    ],
)
def test_what_is_not_ranked_is_not_tested(claim, trials, why):
    assert judged(claim, points(72, 71, margin=0.1), trials) == (Ruling.NOT_TESTED, why)


def test_whoever_is_ranked_can_refute_though_others_are_missing():
    trials = entrants("a", "b", "c", b="failed")
    assert judged(Claim("s", "a", source=WHERE), points(70, 72, margin=1), trials)[0] == Ruling.REFUTED


def test_nothing_ranked_and_nothing_to_compare_with_is_not_tested():
    trials = entrants("a", "b", a="failed", b="failed")
    verdict = judge(Claim("s", "a", source=WHERE), trials, None)
    assert (verdict.ruling, verdict.why) == (Ruling.NOT_TESTED, "a failed")
    alone = judged(Claim("s", "a", source=WHERE), points(70, margin=0))
    assert alone == (Ruling.NOT_TESTED, "there is nothing to compare it with")


def test_one_seed_decides_nothing():
    samples = list(np.random.default_rng(0).random((2, 1, 50)) < 0.5)
    ruling, why = judged(Claim("s", "a", ("b",), source=WHERE), compare(samples))
    value = 100 * (samples[0].mean() - samples[1].mean())
    assert ruling == Ruling.UNDECIDED
    assert why == (
        f"a: {interval(value / 100, None, None)} points against b; differences cannot be tested, as no trial of the "
        "study has more than one seed"
    )


@pytest.mark.parametrize(("lead", "needs"), [(0.01, 0.01), (0.004, 0.004), (0.001, 0.004)])
def test_what_is_undecided_says_how_many_seeds_would_decide(lead, needs):
    """A difference is seen as above 0, or within ± 0.5 points, whichever takes less."""
    rng = np.random.default_rng(1)
    samples = list(rng.normal(size=(2, 3, 1)) * 0.01 + np.zeros((2, 3, 5000)))
    samples[0] += samples[1].mean() - samples[0].mean() + lead
    found = compare(samples)
    ruling, why = judged(Claim("s", "a", ("b",), source=WHERE), found)
    assert ruling == Ruling.UNDECIDED
    assert why.endswith(f"; about {found.seeds_for(needs)} seeds would decide it if the difference is as measured")


def test_of_several_rivals_the_closest_one_says_how_many_seeds():
    rng = np.random.default_rng(1)
    samples = list(rng.normal(size=(3, 3, 1)) * 0.01 + np.zeros((3, 3, 5000)))
    for sample, score in zip(samples, (0.01, 0.006, 0.0), strict=True):
        sample += score - sample.mean()
    found = compare(samples)
    why = judged(Claim("s", "a", source=WHERE), found)[1]
    assert found.seeds_for(0.004, (0, 1)) > found.seeds_for(0.01, (0, 2))
    assert why.endswith(
        f"; about {found.seeds_for(0.004, (0, 1))} seeds would decide it if the difference is as measured"
    )


def test_what_the_images_leave_open_no_seeds_decide():
    rng = np.random.default_rng(1)
    samples = [np.tile(rng.random(50) < 0.5, (3, 1)) for _ in range(2)]
    ruling, why = judged(Claim("s", "a", ("b",), source=WHERE), compare(samples))
    assert ruling == Ruling.UNDECIDED
    assert why.endswith("; no number of seeds could decide so small a difference on so few images")
