"""Mistakes against counts made by hand."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from analysis import figures
from analysis.finding import Finding
from analysis.jobs.mistakes import Mistakes, false_positives, misclassified, missed
from analysis.report import Measured
from analysis.subject import Subject
from trainables.errors import UserError

CLASSES = ("cat", "dog", "bird")


class Told(nn.Module):
    """Gives image n, whose pixels are all n, the n-th row of logits."""

    def __init__(self, logits: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("logits", torch.from_numpy(logits.astype(np.float32)))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.logits[pixels[:, 0, 0, 0].long()]


def told(logits: Sequence[Sequence[float]], labels: Sequence, name: str = "net", **more) -> Subject:
    """Return a Subject with these logits and labels (a row of 1, 0 or -1 for each image: multi-label)."""
    values, marks = np.array(logits, float), np.array(labels)
    images = np.arange(len(values)).astype(np.uint8)[:, None, None, None].repeat(4, 1).repeat(4, 2).repeat(3, 3)
    classes = CLASSES[: values.shape[1]]
    wanted = {"class_names": classes, "dataset": "pets", "training_images": (10, 20, 30)[: len(classes)]} | more
    return Subject(
        name, Told(values), (), images=images, labels=marks.astype(np.int8 if marks.ndim == 2 else np.int64), **wanted
    )


def sure(chosen: int, by: float = 3.0) -> list[float]:
    return [by if label == chosen else 0.0 for label in range(3)]


def networks(name: str, *logits: np.ndarray, labels: Sequence, **more) -> Subject:
    """Return a model that has a network of these logits for each seed."""
    found = []
    for seed, own in enumerate(logits):
        found.append(replace(told(own, labels, name, **more), seed=seed))
    first = replace(found[0], others=tuple(found[1:]))
    for network, own in zip(first.replicates, logits, strict=True):
        vars(network)["logits"] = own.astype(np.float32)  # more images than a pixel can count
    return first


# cat: one right, two taken for dogs; dog: one right, one taken for a cat; there is no bird, but one dog is taken for
# one
SUBJECT = told([sure(0), sure(1, 2.0), sure(1, 5.0), sure(1), sure(0, 2.0), sure(2)], [0, 0, 0, 1, 1, 1])


def find(job: Mistakes, subject: Subject) -> Finding:
    return job.finding([subject], [job.compute(subject, part) for part in range(job.parts(subject))])


def test_the_most_confident_mistakes_come_first_and_ties_by_image_number():
    wrong = misclassified(SUBJECT.labels, SUBJECT.predicted, SUBJECT.probabilities)
    assert wrong.tolist() == [2, 5, 1, 4]


def test_unknown_labels_are_no_mistakes():
    labels = np.array([[1, -1], [0, 1], [0, 0], [1, -1]], np.int8)
    probabilities = np.array([[0.4, 0.9], [0.5, 0.1], [0.7, 0.49], [0.2, 0.1]])
    assert false_positives(labels, probabilities).tolist() == [[2, 0], [1, 0]]
    assert missed(labels, probabilities).tolist() == [[1, 1], [3, 0], [0, 0]]


def test_what_is_right_and_wrong_is_told_in_words_and_tables():
    found = find(Mistakes(count=3), SUBJECT)
    assert found.text[0] == "net on pets, 6 test images: 2 right, 4 wrong (33.33 % right)."
    assert (
        found.text[1]
        == "The most common confusions: cat taken for dog: 2 of 3; dog taken for cat: 1 of 3; dog taken for bird: 1 "
        "of 3."
    )
    assert found.tables["per_class"].rows == (
        ("all", 6, 2, 4, 100 * 2 / 6),
        ("cat", 3, 1, 2, 100 / 3),
        ("dog", 3, 1, 2, 100 / 3),
        ("bird", 0, 0, 0, None),
    )
    assert found.tables["confusion"].to_csv() == "true class,cat,dog,bird\ncat,1,2,0\ndog,1,1,1\nbird,0,0,0\n"
    assert [row[:3] for row in found.tables["gallery"].rows] == [
        (2, "cat", "dog"),
        (5, "dog", "bird"),
        (1, "cat", "dog"),
    ]
    rest = np.exp([5.0, 0.0, 0.0]) / np.exp([5.0, 0.0, 0.0]).sum()
    assert found.tables["gallery"].rows[0][3:] == pytest.approx((rest[0], rest[1]))


def test_the_gallery_shows_the_images_with_both_classes(monkeypatch: pytest.MonkeyPatch):
    drawn = {}
    monkeypatch.setattr(figures, "panels", lambda rows, **words: drawn.update(rows=rows, **words) or b"")
    find(Mistakes(count=2), SUBJECT)
    [[first, second]] = drawn["rows"]
    assert (first.image == 2).all()
    assert first.title == "cat\n→ dog\n0.987"
    assert second.title == "dog\n→ bird\n0.909"
    assert "net on pets: the 2 misclassified" in drawn["caption"]


def test_where_there_are_fewer_mistakes_than_asked_for_all_are_shown_and_it_is_said():
    found = find(Mistakes(count=40), SUBJECT)
    assert found.text[2] == "40 images were asked for, but only 4 are misclassified."
    faultless = find(Mistakes(), told([sure(0), sure(1)], [0, 1]))
    assert "The most common confusions: none." in faultless.text
    assert set(faultless.figures) == {"confusion"}


def test_multi_label_mistakes_are_ranked_per_class():
    #            cat: ranks 1, 0, (unknown), 1      dog: 0, 1, 0, 1
    logits = [[3.0, 2.0], [1.0, 1.0], [0.5, -1.0], [-1.0, -2.0]]
    labels = [[1, 0], [0, 1], [-1, 0], [1, 1]]
    found = find(Mistakes(count=2), told(logits, labels, ap_rule="all-point"))
    cat, dog = (1 + 2 / 3) / 2, (1 / 2 + 2 / 4) / 2
    columns = [column.name for column in found.tables["per_class"].columns]
    assert columns == ["class", "images with it", "unknown", "false positives", "missed", "AP %"]
    first, second = found.tables["per_class"].rows
    assert first == ("cat", 2, 1, 1, 1, pytest.approx(100 * cat))
    assert second == ("dog", 2, 0, 1, 1, pytest.approx(100 * dog))
    assert found.text[0] == f"net on pets, 4 test images: mAP {100 * (cat + dog) / 2:.2f} % (all-point rule)."
    assert found.title == f"Mistakes: mAP is {100 * (cat + dog) / 2:.1f} %, lowest for dog ({100 * dog:.1f} %)"
    assert "2 classes falsely predicted, 2 missed" in found.text[1]
    shown = [row[:3] for row in found.tables["gallery"].rows]
    assert shown == [
        (1, "cat", "false positive"),
        (0, "dog", "false positive"),
        (3, "cat", "missed"),
        (3, "dog", "missed"),
    ]
    assert set(found.figures) == {"false_positives", "missed"}


def test_where_there_are_fewer_multi_label_mistakes_than_asked_for_all_are_shown_and_it_is_said():
    found = find(Mistakes(count=6), told([[3.0, 2.0], [-1.0, 1.0]], [[1, 0], [0, 1]]))
    assert found.tables["gallery"].rows == ((0, "dog", "false positive", pytest.approx(1 / (1 + np.exp(-2)))),)
    assert "3 of each class and kind were asked for" in found.text[2]
    assert set(found.figures) == {"false_positives"}


def test_counts_are_means_over_the_seeds_and_common_mistakes_are_told():
    """Both take image 1 for a dog and image 4 for a cat; they differ on images 0, 2 and 5."""
    labels = [0, 0, 0, 1, 1, 1]
    chosen = ((0, 1, 1, 1, 0, 2), (1, 1, 0, 1, 0, 1))
    logits = [np.array([sure(each, 2.0 + at) for at, each in enumerate(classes)]) for classes in chosen]
    subject = networks("net", *logits, labels=labels)
    found = find(Mistakes(count=3), subject)
    sd = np.std([4, 3], ddof=1)
    assert found.text[0].startswith(
        "net on pets, 2 seeds, 6 test images: 2.5 ± 0.7 (2) right, 3.5 ± 0.7 (2) wrong (41.67 ±"
    )
    assert found.text[1].startswith(
        "The most common confusions: cat taken for dog: 2.0 ± 0.0 (2) of 3; dog taken for cat: 1.0 ± 0.0 (2) of 3; "
        "dog taken for bird: 0.5 ± 0.7 (2) of 3."
    )
    # at random among the cats 2/3 · 2/3 of three, among the dogs 2/3 · 1/3
    assert found.text[2].startswith("Misclassified: 2 with all 2 seeds (by chance 2, at most ")
    assert found.text[2].endswith(", 2 of them as the same class.")
    assert found.tables["agreement"].rows == (
        (0, 1, pytest.approx(3 * (1 / 9 + 2 / 9))),
        (1, 3, pytest.approx(3 * (4 / 9 + 5 / 9))),
        (2, 2, pytest.approx(3 * (4 / 9 + 2 / 9))),
    )
    assert found.tables["per_class"].rows[0][2:4] == (
        Measured(2.5, pytest.approx(sd), 2),
        Measured(3.5, pytest.approx(sd), 2),
    )
    assert found.tables["confusion"].rows[1] == ("dog", 1.0, 1.5, 0.5)
    assert found.tables["gallery"].title == "The most confident mistakes of net (seed 0)"
    assert [(row[0], row[5]) for row in found.tables["gallery"].rows] == [(5, 1), (4, 2), (2, 1)]
    assert "net (seed 0) on pets: the 3 misclassified" in found.figures["gallery"].caption
    assert set(found.figures) == {"agreement", "confusion", "gallery"}
    np.testing.assert_array_equal(found.arrays["predicted_by_seed"], chosen)


def test_multi_label_counts_are_means_over_the_seeds():
    labels = [[1, 0], [0, 1], [-1, 0], [1, 1]]
    logits = [
        np.array([[3.0, 2.0], [1.0, 1.0], [0.5, -1.0], [-1.0, -2.0]]),  # two false, two missed
        np.array([[3.0, 2.0], [-1.0, 1.0], [0.5, -1.0], [-1.0, 2.0]]),  # one and one, of the same
    ]
    found = find(Mistakes(count=2), networks("net", *logits, labels=labels))
    assert "1.5 ± 0.7 (2) classes falsely predicted, 1.5 ± 0.7 (2) missed." in found.text[1]
    # of the one absent cat none with both, of the two absent dogs one: 1/2 · 1/2 of two; of two cats one, of dogs none
    by_chance = "1 with all 2 seeds (by chance 0, at most 2 (95 %))"
    assert found.text[2] == f"Falsely predicted: {by_chance}; missed: {by_chance}."
    cat = found.tables["per_class"].rows[0]
    assert cat[:5] == ("cat", 2, 1, Measured(0.5, pytest.approx(np.sqrt(0.5)), 2), Measured(1.0, 0.0, 2))
    alone = [find(Mistakes(count=2), told(each, labels)).tables["per_class"].rows[0][5] for each in logits]
    assert cat[5].mean == pytest.approx(np.mean(alone))
    assert [row[1] for row in found.tables["agreement"].rows] == [1, 1, 1]
    assert "net (seed 0) on pets" in found.figures["missed"].caption


def test_the_same_subject_gives_the_same_bytes():
    assert find(Mistakes(), SUBJECT).files() == find(Mistakes(), SUBJECT).files()


def test_options_are_checked():
    with pytest.raises(UserError, match="count is 0, but must be at least 1"):
        Mistakes(count=0)


def test_multi_label_data_without_any_object_is_refused():
    with pytest.raises(UserError, match="no image of pets"):
        Mistakes().parts(told([[1.0, 2.0]], [[0, -1]]))


def test_the_heading_says_how_many_are_right_and_what_is_confused_most():
    found = find(Mistakes(), SUBJECT)
    assert found.title == "Mistakes: 33.3 % of the test images are right; most often cat is taken for dog"
    assert [stem for stem, table in found.tables.items() if table.folded] == ["confusion", "gallery"]
    right = told([sure(0), sure(1)], [0, 1])
    assert find(Mistakes(), right).title == "Mistakes: 100.0 % of the test images are right"
