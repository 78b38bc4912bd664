"""Models side by side against numbers worked out by hand."""

from collections.abc import Sequence

import numpy as np
import pytest

from analysis import figures
from analysis.finding import Finding
from analysis.inference.mcnemar import mcnemar
from analysis.jobs.compare import Compare
from analysis.report import Measured
from analysis.subject import Subject
from tests.analysis.jobs.test_mistakes import networks, sure, told
from trainables.errors import UserError
from trainables.metrics import average_precisions

LABELS = [0, 0, 0, 0, 1, 1]
FIRST = told([sure(label) for label in (0, 0, 1, 1, 1, 1)], LABELS, "plain")  # cat 2 of 4, dog 2 of 2
SECOND = told(
    [sure(label) for label in (0, 1, 0, 0, 1, 0)], LABELS, "deep"
)  # cat 3 of 4, dog 1 of 2; three changes of four for the better
THIRD = told([sure(0)] * 6, LABELS, "stuck")  # cat 4 of 4, dog none


def find(*subjects: Subject) -> Finding:
    job = Compare()
    return job.finding(
        subjects, [job.compute(subject, part) for subject in subjects for part in range(job.parts(subject))]
    )


def test_classes_come_by_their_gain_with_the_number_of_training_images():
    table = find(FIRST, SECOND, THIRD).tables["compare"]
    assert [column.name for column in table.columns] == [
        "class", "training images", "plain", "deep", "stuck",
        "gain of deep", "gain of deep, from", "gain of deep, to", "gain of deep, p (Holm)",
        "gain of stuck", "gain of stuck, from", "gain of stuck, to", "gain of stuck, p (Holm)",
    ]  # fmt: skip
    values = [[row[at] for at in (*range(6), 9)] for row in table.rows]
    assert values == [
        ["all", 60, *[pytest.approx(200 / 3)] * 3, pytest.approx(0), pytest.approx(0)],
        ["cat", 10, 50.0, 75.0, 100.0, 25.0, 50.0],
        ["dog", 20, 100.0, 50.0, 0.0, -50.0, -100.0],
        ["bird", 30, None, None, None, None, None],
    ]
    assert table.rows[3][6:9] == (None, None, None)


def test_single_networks_differ_by_what_mcnemar_says_of_each_class():
    found = find(FIRST, SECOND, THIRD)  # cat: one gained and none lost, two and none; dog: one lost, two lost
    np.testing.assert_array_equal(found.arrays["p"], [[1, 1, np.nan], [1, 1, np.nan]])
    labels = [0] * 20 + [1] * 80
    few = told([sure(1)] * 20 + [sure(0)] * 8 + [sure(1)] * 72, labels, "few")
    found = find(few, told([sure(0)] * 100, labels, "all cats"))
    assert found.arrays["p"][0, :2] == pytest.approx([mcnemar(20, 0), 2 * mcnemar(0, 72)])
    assert found.text[2].startswith("all cats over few per class, in points: cat +100.0, dog -90.0 (Holm over 2 tests")


def test_mcnemar_counts_the_images_on_which_only_one_is_right():
    found = find(FIRST, SECOND)
    assert found.tables["mcnemar"].rows == (("deep", 2, 2, 2, 0, mcnemar(2, 2)),)
    assert "McNemar's exact test: p = 1." in found.text[1]


def test_the_text_says_what_is_more_than_chance_and_the_hardest_classes():
    text = find(FIRST, SECOND).text
    assert text[0] == "plain and deep on pets, 6 test images: accuracy plain 66.67 %, deep 66.67 %."
    assert text[1].startswith("deep over plain: +0.00 points [-")
    assert text[2].startswith(
        "deep over plain per class: no gain is significant (Holm over 2 tests, 5 %); the largest of 2 equal "
        "classes' gains stays within ±"
    )
    assert text[3].startswith("One seed each: what is said of differences holds for these networks alone")
    hardest = "dog 50.0 % (20 training images), cat 75.0 % (10 training images)"
    assert text[4] == f"Lowest for deep: {hardest}; the median class has 20 training images."


def test_the_bars_are_in_the_table_s_order(monkeypatch: pytest.MonkeyPatch):
    drawn = []
    monkeypatch.setattr(figures, "bars", lambda *two, **words: drawn.append({**words, "two": two}) or b"")
    found = find(SECOND, FIRST)
    values, gains = drawn
    assert values["two"][0] == ["dog (20)", "cat (10)", "bird (30)"]
    assert gains["two"][0] == ["dog", "cat", "bird"]
    np.testing.assert_array_equal(values["two"][1]["deep"], [0.5, 0.75, np.nan])
    np.testing.assert_array_equal(gains["two"][1]["plain"], [50, -25, np.nan])
    assert "deep and plain on pets" in values["caption"]
    assert values["errors"] == {}
    low = [row[5] for row in found.tables["compare"].rows[1:3]]
    np.testing.assert_allclose(gains["two"][1]["plain"][:2] - gains["errors"]["plain"][:2], low)
    assert f"±{gains['band']:.1f} points" in gains["caption"]


def drawn_networks(name: str, seed: int, shares: Sequence[float], seeds: int = 3, count: int = 300) -> Subject:
    """Return a model whose networks get these shares of the classes' images right, but for chance."""
    rng, labels = np.random.default_rng(seed), np.repeat(np.arange(3), count)
    hard = np.random.default_rng(0).random(3 * count)  # the same images are hard for all
    rights = [0.7 * hard + 0.3 * rng.random(3 * count) < np.repeat(shares, count) for _ in range(seeds)]
    return networks(
        name, *(3 * np.eye(3)[np.where(right, labels, (labels + 1) % 3)] for right in rights), labels=labels
    )


def test_several_seeds_give_means_and_a_class_that_gains_is_named():
    first, second = drawn_networks("plain", 1, (0.5, 0.5, 0.5)), drawn_networks("deep", 2, (0.7, 0.5, 0.5))
    found = find(first, second)
    accuracy = 100 * np.array([each.right.mean() for each in second.replicates])
    [over_all, *classes] = found.tables["compare"].rows
    assert over_all[3] == Measured(pytest.approx(accuracy.mean()), pytest.approx(accuracy.std(ddof=1)), 3)
    assert classes[0][0] == "cat"
    assert classes[0][5] > 10
    assert classes[0][7] < 0.001
    assert "mcnemar" not in found.tables
    gain = classes[0][4]
    assert found.text[2].startswith(f"deep over plain per class, in points: cat {gain:+.1f} (Holm over 3 tests, 5 %)")
    assert "; the other 2: not significant; the largest of 3 equal classes' gains" in found.text[2]
    assert "95 % interval over seeds and images" in found.text[1]
    assert found.text[3].startswith("Intervals and tests are over seeds and images")


def test_a_model_of_one_seed_borrows_what_seeds_make_and_it_is_said():
    found = find(drawn_networks("plain", 1, (0.5,) * 3), drawn_networks("deep", 2, (0.5,) * 3, seeds=1))
    assert found.text[3] == "One seed: deep; what others would make is taken from the models of several."
    assert "mcnemar" not in found.tables


@pytest.mark.parametrize("gain", [0, 2.5])
def test_gains_of_average_precision_are_tested_on_images_drawn_again(gain):
    rng = np.random.default_rng(0)
    labels = (rng.random((600, 3)) < 0.15).astype(np.int8)
    logits = [labels * strength + rng.normal(0, 1, (600, 3)) for strength in ([1, 1, 1], [1 + gain, 1, 1])]
    found = find(*(networks(name, own, labels=labels) for name, own in zip("ab", logits, strict=True)))
    [over_all, *classes] = found.tables["compare"].rows
    expected = 100 * np.array([average_precisions(own.astype(np.float32), labels, "11-point") for own in logits])
    assert [row[2:5] for row in sorted(classes)] == [
        pytest.approx((*expected[:, label], np.diff(expected[:, label])[0])) for label in (2, 0, 1)
    ]
    assert ("cat" in found.text[2]) == (gain > 0)
    assert over_all[5] < over_all[4] < over_all[6]
    assert (over_all[5] > 0) == (gain > 0)
    assert "McNemar" not in found.text[1]


def test_multi_label_models_are_compared_by_average_precision():
    labels = [[1, 0], [0, 1], [0, -1]]
    first = told(
        [[0.0, 1.0], [1.0, 0.0], [-1.0, 5.0]], labels, "plain", ap_rule="all-point"
    )  # the cat second of three, the dog second of two
    second = told([[3.0, 1.0], [1.0, 2.0], [-1.0, 5.0]], labels, "deep")  # both first
    found = find(first, second)
    assert [row[:5] for row in found.tables["compare"].rows] == [
        ("all", None, 50.0, 100.0, 50.0),
        ("cat", 10, 50.0, 100.0, 50.0),
        ("dog", 20, 50.0, 100.0, 50.0),
    ]
    assert "mcnemar" not in found.tables
    assert "AP (all-point rule)" in found.figures["compare"].caption


def test_the_same_subjects_give_the_same_bytes():
    assert find(FIRST, SECOND).files() == find(FIRST, SECOND).files()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            told(np.zeros((6, 3)), LABELS, "deep", dataset="zoo"),
            "plain is examined on pets, deep on zoo, but must be on the same images",
        ),
        (
            told(np.zeros((6, 3)), LABELS, "deep", class_names=("a", "b", "c")),
            "must be on the same images of the same classes",
        ),
        (told(np.zeros((6, 3)), LABELS[::-1], "deep"), "but must be on the same images"),
        (told(np.zeros((6, 3)), LABELS, "plain"), "at least two, of different names"),
    ],
)
def test_what_cannot_be_compared_is_refused(other: Subject, message: str):
    with pytest.raises(UserError, match=message):
        find(FIRST, other)


def test_one_model_is_refused():
    with pytest.raises(UserError, match="at least two"):
        find(FIRST)


def test_the_heading_says_what_the_last_model_gains_and_in_how_many_classes():
    found = find(FIRST, SECOND)
    assert found.title.startswith("Side by side: deep over plain: +0.0 points of accuracy [-")
    assert found.title.endswith("], no class significantly different")
    labels = [0] * 20 + [1] * 80
    few = told([sure(1)] * 20 + [sure(0)] * 8 + [sure(1)] * 72, labels, "few")
    assert find(few, told([sure(0)] * 100, labels, "all cats")).title.endswith("], 1 of 2 classes better, 1 worse")
