import os

import pytest

from trainables.files import write_whole


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    def full(_):
        raise OSError("no space left on device")

    write_whole(tmp_path / "new folder" / "report.html", b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_whole(tmp_path / "new folder" / "report.html", b"the new content")
    assert [(file.name, file.read_bytes()) for file in tmp_path.rglob("*.*")] == [("report.html", b"old")]
