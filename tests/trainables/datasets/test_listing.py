"""Names, sizes and times of a folder's files; that what may not be read is refused is tested by test_folders.py."""

import os

import pytest

from tests.trainables.datasets.builders import write_classes
from trainables.datasets.listing import File, classes, fingerprint, folders

PARTS = {"train": {"cat": [File("a", 1, 2, 3), File("b", 4, 5, 6)], "dog": []}, "test": {"cat": [], "dog": []}}
OTHERS = {
    "name": {"train": {"cat": [File("A", 1, 2, 3), File("b", 4, 5, 6)], "dog": []}, "test": {"cat": [], "dog": []}},
    "size": {"train": {"cat": [File("a", 2, 2, 3), File("b", 4, 5, 6)], "dog": []}, "test": {"cat": [], "dog": []}},
    "time": {"train": {"cat": [File("a", 1, 3, 3), File("b", 4, 5, 6)], "dog": []}, "test": {"cat": [], "dog": []}},
    "ctime": {"train": {"cat": [File("a", 1, 2, 4), File("b", 4, 5, 6)], "dog": []}, "test": {"cat": [], "dog": []}},
    "gone": {"train": {"cat": [File("a", 1, 2, 3)], "dog": []}, "test": {"cat": [], "dog": []}},
    "class": {"train": {"cat": [File("a", 1, 2, 3)], "dog": [File("b", 4, 5, 6)]}, "test": {"cat": [], "dog": []}},
    "part": {"train": {"cat": [File("a", 1, 2, 3)], "dog": []}, "test": {"cat": [File("b", 4, 5, 6)], "dog": []}},
    "class's name": {"train": {"ca": [File("a", 1, 2, 3), File("b", 4, 5, 6)], "dog": []}, "test": PARTS["test"]},
    "part's name": {"train": PARTS["train"], "val": PARTS["test"]},
}


def test_files_are_sorted_with_their_sizes_and_times(tmp_path):
    write_classes(tmp_path, 2)
    (tmp_path / "dog" / ".hidden").touch()
    (tmp_path / "README").touch()
    (tmp_path / "cat" / "z.png").write_bytes(b"12345")
    os.utime(tmp_path / "cat" / "z.png", ns=(1, 1_234_567_891))
    found = classes(tmp_path, tmp_path)
    assert {name: [file.name for file in files] for name, files in found.items()} == {
        "cat": ["000.png", "001.png", "z.png"],
        "dog": ["000.png", "001.png"],
    }
    changed = (tmp_path / "cat" / "z.png").stat().st_ctime_ns
    assert found["cat"][2] == File("z.png", 5, 1_234_567_891, changed)
    assert folders(tmp_path) == [tmp_path / "cat", tmp_path / "dog"]


def test_of_a_link_what_it_leads_to_counts(tmp_path):
    write_classes(tmp_path, 1)
    (tmp_path / "cat" / "link.png").symlink_to("000.png")
    image, link = classes(tmp_path, tmp_path)["cat"]
    assert image[1:] == link[1:]


def test_equal_files_have_one_fingerprint():
    assert fingerprint(PARTS, 1) == fingerprint({**PARTS}, 1)
    assert len(fingerprint(PARTS)) == 64


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_each_difference_makes_another_fingerprint(other):
    assert fingerprint(other, 1) != fingerprint(PARTS, 1)


def test_what_is_beside_counts():
    assert len({fingerprint(PARTS), fingerprint(PARTS, 1), fingerprint(PARTS, 2), fingerprint(PARTS, 1, 2)}) == 4


def test_names_that_are_no_text_have_a_fingerprint(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "caf\udce9.png").touch()
    assert fingerprint({"": classes(tmp_path, tmp_path)})
