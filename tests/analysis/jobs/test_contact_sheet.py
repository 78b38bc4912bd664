"""Contact sheets: which images, in which places."""

from dataclasses import replace

import numpy as np
import pytest

from analysis import figures
from analysis.finding import Finding
from analysis.jobs.contact_sheet import ContactSheet, sheet
from analysis.subject import Subject
from tests.analysis.jobs.test_mistakes import told
from trainables.errors import UserError

LABELS = np.arange(90) % 3
SUBJECT = told(np.zeros((90, 3)), LABELS)


def find(job: ContactSheet, subject: Subject) -> Finding:
    return job.finding([subject], [job.compute(subject, part) for part in range(job.parts(subject))])


def test_each_class_gets_different_images_of_its_own():
    drawn = ContactSheet(per_class=10).compute(SUBJECT, 0)
    assert drawn["classes"].tolist() == [0] * 10 + [1] * 10 + [2] * 10
    assert (LABELS[drawn["images"]] == drawn["classes"]).all()
    assert len(set(drawn["images"].tolist())) == 30
    assert (drawn["images"][:10] != np.arange(0, 30, 3)).any()  # not just the first


def test_the_seed_alone_decides():
    again = [ContactSheet(seed=seed).compute(SUBJECT, 0)["images"].tolist() for seed in (0, 0, 1)]
    assert again[0] == again[1] != again[2]


def test_a_class_keeps_its_images_when_others_change():
    other = replace(SUBJECT, labels=np.where(LABELS == 2, 1, LABELS))
    assert (
        ContactSheet().compute(other, 0)["images"][:10].tolist()
        == ContactSheet().compute(SUBJECT, 0)["images"][:10].tolist()
    )


def test_rows_are_classes_and_gaps_where_images_are_missing(monkeypatch: pytest.MonkeyPatch):
    drawn = {}
    monkeypatch.setattr(figures, "panels", lambda rows, **words: drawn.update(rows=rows, **words) or b"")
    found = find(ContactSheet(per_class=3), told(np.zeros((5, 3)), [0, 0, 0, 2, 0]))
    assert [[panel is not None for panel in row] for row in drawn["rows"]] == [
        [True] * 3,
        [False] * 3,
        [True, False, False],
    ]
    assert (drawn["rows"][2][0].image == 3).all()
    assert drawn["row_labels"] == ("cat", "dog", "bird")
    assert found.text[1] == "Fewer than 3 test images, all of which are shown: dog, bird."


def test_an_image_of_several_classes_comes_in_each_of_their_rows():
    drawn = ContactSheet().compute(told(np.zeros((3, 3)), [[1, 1, 0], [0, -1, 0], [0, 0, 1]]), 0)
    assert list(zip(drawn["images"].tolist(), drawn["classes"].tolist(), strict=True)) == [(0, 0), (0, 1), (2, 2)]


def test_the_same_subject_gives_the_same_bytes():
    assert find(ContactSheet(), SUBJECT).files() == find(ContactSheet(), SUBJECT).files()


def test_a_sheet_keeps_the_order_of_its_images(monkeypatch: pytest.MonkeyPatch):
    drawn = {}
    monkeypatch.setattr(figures, "panels", lambda rows, **words: drawn.update(rows=rows, **words) or b"")
    images = np.broadcast_to(np.arange(13, dtype=np.uint8)[:, None, None, None], (13, 4, 4, 1))
    sheet(images, "title", "caption")
    assert [len(row) for row in drawn["rows"]] == [8, 5]
    assert [int(panel.image[0, 0, 0]) for row in drawn["rows"] for panel in row] == list(range(13))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sheet_is_a_png(channels: int):
    assert sheet(np.zeros((16, 4, 4, channels), np.uint8), "title", "caption").startswith(b"\x89PNG")


@pytest.mark.parametrize("options", [{"per_class": 0}, {"seed": -1}])
def test_options_are_checked(options: dict):
    with pytest.raises(UserError, match="but must be at least"):
        ContactSheet(**options)


def test_the_heading_says_what_is_shown():
    assert find(ContactSheet(per_class=4), SUBJECT).title == "Images: 4 of each of the 3 classes of pets"
