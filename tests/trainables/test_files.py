import io
import os
import zipfile

import pytest

from trainables.files import parsed, unzipped, write_whole, zipped


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    def full(_):
        raise OSError("no space left on device")

    write_whole(tmp_path / "new folder" / "report.html", b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_whole(tmp_path / "new folder" / "report.html", b"the new content")
    assert [(file.name, file.read_bytes()) for file in tmp_path.rglob("*.*")] == [("report.html", b"old")]


def test_files_zipped_come_back_and_damage_anywhere_is_seen():
    files = {"curves.json": b"{}", "state/seed-0.safetensors": bytes(range(50))}
    whole = zipped(files)
    assert unzipped(whole) == files
    assert zipped(files) == whole
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:  # as any other program sees it
        assert {name: archive.read(name) for name in archive.namelist()} == files
    for at in range(len(whole)):
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :]):
            with pytest.raises(ValueError, match="not whole: its checksum differs"):
                unzipped(damaged)


def test_json_is_parsed_or_is_one_kind_of_error():
    assert parsed(b'{"a": [1, null]}') == {"a": [1, None]}
    for damaged in (b"", b"{", b"\xff\xfe\xfd", b"[" * 100_000, '{"a":' * 100_000):
        with pytest.raises(ValueError, match=r"Expecting|decode|nested too deeply"):
            parsed(damaged)
