"""Models side by side against numbers worked out by hand."""

import numpy as np
import pytest

from analysis import figures
from analysis.finding import Finding
from analysis.jobs.compare import Compare
from analysis.mcnemar import mcnemar
from analysis.subject import Subject
from tests.analysis.jobs.test_mistakes import sure, told
from trainables.errors import UserError

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
        "class", "training images", "plain", "deep", "stuck", "gain of deep", "gain of stuck",
    ]  # fmt: skip
    two_thirds = pytest.approx(200 / 3)
    assert table.rows == (
        ("all", 60, two_thirds, two_thirds, two_thirds, pytest.approx(0), pytest.approx(0)),
        ("cat", 10, 50.0, 75.0, 100.0, 25.0, 50.0),
        ("dog", 20, 100.0, 50.0, 0.0, -50.0, -100.0),
        ("bird", 30, None, None, None, None, None),
    )


def test_mcnemar_counts_the_images_on_which_only_one_is_right():
    found = find(FIRST, SECOND)
    assert found.tables["mcnemar"].rows == (("deep", 2, 2, 2, 0, mcnemar(2, 2)),)
    assert "deep against plain, McNemar's exact test: p = 1." in found.text


def test_the_text_names_gains_and_the_hardest_classes():
    text = find(FIRST, SECOND).text
    assert text[0] == "plain and deep on pets, 6 test images: accuracy plain 66.67 %, deep 66.67 %."
    assert text[1] == "deep over plain, in points: most cat +25.0, dog -50.0; least cat +25.0, dog -50.0."
    hardest = "dog 50.0 % (20 training images), cat 75.0 % (10 training images)"
    assert text[2] == f"Hardest for deep: {hardest}; the median class has 20 training images."


def test_the_bars_are_in_the_table_s_order(monkeypatch: pytest.MonkeyPatch):
    drawn = {}
    monkeypatch.setattr(
        figures, "bars", lambda labels, series, **words: drawn.update(labels=labels, series=series, **words) or b""
    )
    find(SECOND, FIRST)
    assert drawn["labels"] == ["dog (20)", "cat (10)", "bird (30)"]
    np.testing.assert_array_equal(drawn["series"]["deep"], [0.5, 0.75, np.nan])
    assert "deep and plain on pets" in drawn["caption"]


def test_multi_label_models_are_compared_by_average_precision():
    labels = [[1, 0], [0, 1], [0, -1]]
    first = told(
        [[0.0, 1.0], [1.0, 0.0], [-1.0, 5.0]], labels, "plain", ap_rule="all-point"
    )  # the cat second of three, the dog second of two
    second = told([[3.0, 1.0], [1.0, 2.0], [-1.0, 5.0]], labels, "deep")  # both first
    found = find(first, second)
    assert found.tables["compare"].rows == (
        ("all", None, 50.0, 100.0, 50.0),
        ("cat", 10, 50.0, 100.0, 50.0),
        ("dog", 20, 50.0, 100.0, 50.0),
    )
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
