"""Average precision against rankings worked by hand, and against a second, slow implementation."""

from fractions import Fraction

import numpy as np
import pytest

from trainables.metrics import average_precision, average_precisions, mean_average_precision

RULES = ("11-point", "all-point")


def ap(scores, labels, rule):
    return average_precision(np.array(scores, np.float64), np.array(labels, np.int8), rule)


def by_definition(scores, labels, rule) -> float:
    """Take each score as threshold, in exact fractions, straight from the definition."""
    known = [(score, label) for score, label in zip(scores, labels, strict=True) if label >= 0]
    positives = sum(label for _, label in known)
    points = []  # (recall, precision)
    for threshold in {score for score, _ in known}:
        above = [label for score, label in known if score >= threshold]
        points.append((Fraction(sum(above), positives), Fraction(sum(above), len(above))))

    def at(recall):
        return max(precision for reached, precision in points if reached >= recall)

    if rule == "11-point":
        return float(sum(at(Fraction(tenths, 10)) for tenths in range(11)) / 11)
    # interpolated precision is a step function that falls only at recalls k / positives
    return float(sum(at(Fraction(k, positives)) for k in range(1, positives + 1)) / positives)


@pytest.mark.parametrize(("rule", "expected"), [("11-point", (6 * 1 + 5 * 2 / 3) / 11), ("all-point", (1 + 2 / 3) / 2)])
def test_a_ranking_worked_by_hand(rule, expected):
    assert ap([4, 3, 2, 1], [1, 0, 1, 0], rule) == pytest.approx(expected)  # precision 1 up to recall 1/2, then 2/3


@pytest.mark.parametrize(("rule", "expected"), [("11-point", 2 / 3), ("all-point", 2 / 3)])
def test_precision_is_the_highest_at_that_recall_or_beyond(rule, expected):
    assert ap([3, 2, 1], [0, 1, 1], rule) == pytest.approx(expected)  # precision 1/2 at recall 1/2, but 2/3 at 1


@pytest.mark.parametrize(
    ("rule", "expected"), [("11-point", (4 * 1 + 7 * 3 / 5) / 11), ("all-point", (1 + 2 * 3 / 5) / 3)]
)
def test_equal_scores_are_one_threshold(rule, expected):
    # after the tie of four: 3 right of 5; one by one it would be 1, 1/2, 2/3, 3/4 or others, as the order has it
    assert ap([9, 5, 5, 5, 5], [1, 0, 1, 1, 0], rule) == pytest.approx(expected)


@pytest.mark.parametrize("rule", RULES)
def test_where_all_scores_are_equal_it_is_the_share_of_the_class(rule):
    assert ap([7] * 8, [0, 1, 0, 0, 1, 0, 0, 0], rule) == pytest.approx(0.25)


@pytest.mark.parametrize("rule", RULES)
def test_unknown_images_count_nowhere(rule):
    assert ap([5, 4, 3, 2, 1], [-1, 1, -1, 0, 1], rule) == ap([4, 2, 1], [1, 0, 1], rule)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("labels", [[0, 0, 0], [-1, 0, -1], [-1, -1, -1], []])
def test_a_class_that_no_image_has_is_none(rule, labels):
    assert ap([0.5] * len(labels), labels, rule) is None


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("positives", range(1, 31))
def test_a_perfect_ranking_is_exactly_1(rule, positives):
    assert ap(range(40, 0, -1), [1] * positives + [0] * (40 - positives), rule) == 1


@pytest.mark.parametrize("positives", [3, 7, 10, 20, 30])
def test_a_recall_of_exactly_a_tenth_counts(positives):
    """All positives but one lead; the last is far below: precision is 1 at recalls up to 1 - 1 / positives."""
    scores, labels = range(100, 0, -1), [1] * (positives - 1) + [0] * (100 - positives) + [1]
    reached = sum(Fraction(tenths, 10) <= Fraction(positives - 1, positives) for tenths in range(11))
    assert ap(scores, labels, "11-point") == pytest.approx((reached + (11 - reached) * positives / 100) / 11)


def rankings():
    rng = np.random.default_rng(0)
    for _ in range(300):
        count = rng.integers(1, 40)
        scores = rng.integers(0, rng.integers(2, 60), count).astype(np.float64)  # few levels: many ties
        labels = rng.choice([-1, 0, 1], count, p=[0.1, 0.5, 0.4]).astype(np.int8)
        labels[rng.integers(count)] = 1
        yield scores, labels


@pytest.mark.parametrize("rule", RULES)
def test_random_rankings_agree_with_the_definition_in_any_order(rule):
    rng = np.random.default_rng(1)
    for scores, labels in rankings():
        found = average_precision(scores, labels, rule)
        assert found == pytest.approx(by_definition(scores.tolist(), labels.tolist(), rule), abs=1e-12)
        order = rng.permutation(len(scores))
        assert average_precision(scores[order], labels[order], rule) == found


def test_the_rules_differ_where_precision_falls_between_tenths_of_recall():
    labels = np.zeros(200, np.int8)
    labels[::10] = 1  # 20 positives
    scores = np.arange(200, 0, -1, dtype=np.float64)
    # precision k / (10k - 9) at the k-th positive; "11-point" reads it at k = 1 (twice a tenth is k = 2, 4, … 20)
    precision = [k / (10 * k - 9) for k in range(1, 21)]
    assert average_precision(scores, labels, "11-point") == pytest.approx((precision[0] + sum(precision[1::2])) / 11)
    assert average_precision(scores, labels, "all-point") == pytest.approx(sum(precision) / 20)


def test_infinite_scores_rank_first_and_last():
    assert ap([np.inf, -np.inf, 0], [1, 0, 0], "all-point") == 1


@pytest.mark.parametrize("label", [1, -1])
def test_nan_is_refused(label):
    with pytest.raises(ValueError, match="NaN"):
        ap([1, np.nan], [1, label], "11-point")


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="'12-point'"):
        ap([1, 2], [1, 0], "12-point")


def test_each_class_and_the_mean_over_those_that_have_a_value():
    logits = np.array([[3.0, 1.0, 0.0], [2.0, 2.0, 0.0], [1.0, 3.0, 0.0]])
    labels = np.array([[1, 1, -1], [0, 0, 0], [0, 0, 0]], np.int8)
    found = average_precisions(logits, labels, "all-point")
    assert found == (1, pytest.approx(1 / 3), None)
    assert mean_average_precision(found) == pytest.approx(2 / 3)
    assert mean_average_precision((None, None)) is None
