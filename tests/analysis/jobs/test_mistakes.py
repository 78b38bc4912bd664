"""Mistakes against counts made by hand."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from analysis import figures
from analysis.finding import Finding
from analysis.jobs.mistakes import Mistakes, false_positives, missed, wrongly_labelled
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
    images = np.broadcast_to(np.arange(len(values), dtype=np.uint8)[:, None, None, None], (len(values), 4, 4, 3)).copy()
    classes = CLASSES[: values.shape[1]]
    wanted = {"class_names": classes, "dataset": "pets", "training_images": (10, 20, 30)[: len(classes)]} | more
    return Subject(
        name, Told(values), (), images=images, labels=marks.astype(np.int8 if marks.ndim == 2 else np.int64), **wanted
    )


def sure(chosen: int, by: float = 3.0) -> list[float]:
    return [by if label == chosen else 0.0 for label in range(3)]


# cat: one right, two taken for dogs; dog: one right, one taken for a cat; there is no bird, but one dog is taken for
# one
SUBJECT = told([sure(0), sure(1, 2.0), sure(1, 5.0), sure(1), sure(0, 2.0), sure(2)], [0, 0, 0, 1, 1, 1])


def find(job: Mistakes, subject: Subject) -> Finding:
    return job.finding([subject], [job.compute(subject, part) for part in range(job.parts(subject))])


def test_the_most_confident_mistakes_come_first_and_ties_by_image_number():
    wrong = wrongly_labelled(SUBJECT.labels, SUBJECT.predicted, SUBJECT.probabilities)
    assert wrong.tolist() == [2, 5, 1, 4]


def test_unknown_labels_are_no_mistakes():
    labels = np.array([[1, -1], [0, 1], [0, 0], [1, -1]], np.int8)
    probabilities = np.array([[0.4, 0.9], [0.5, 0.1], [0.7, 0.49], [0.2, 0.1]])
    assert false_positives(labels, probabilities).tolist() == [[2, 0], [1, 0]]
    assert missed(labels, probabilities).tolist() == [[1, 1], [3, 0], [0, 0]]


def test_what_is_right_and_wrong_is_told_in_words_and_tables():
    found = find(Mistakes(count=3), SUBJECT)
    assert found.text[0] == "net on pets, 6 test images: 2 right, 4 wrong (33.33% right)."
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
    assert "net on pets: the 2 wrongly labelled" in drawn["caption"]


def test_where_there_are_fewer_mistakes_than_asked_for_all_are_shown_and_it_is_said():
    found = find(Mistakes(count=40), SUBJECT)
    assert found.text[2] == "40 images were asked for, but only 4 are wrongly labelled."
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
    assert found.text[0] == f"net on pets, 4 test images: mAP {(cat + dog) / 2:.2%} (all-point rule)."
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


def test_the_same_subject_gives_the_same_bytes():
    assert find(Mistakes(), SUBJECT).files() == find(Mistakes(), SUBJECT).files()


def test_options_are_checked():
    with pytest.raises(UserError, match="count is 0, but must be at least 1"):
        Mistakes(count=0)


def test_multi_label_data_without_any_object_is_refused():
    with pytest.raises(UserError, match="no image of pets"):
        Mistakes().parts(told([[1.0, 2.0]], [[0, -1]]))
