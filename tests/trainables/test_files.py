import hashlib
import io
import json
import os
import tracemalloc
import warnings
import zipfile

import pytest

from tests.damage import flipped, foreign, make_huge, survey, truncated
from trainables.files import (
    DIGEST_LENGTH,
    LARGEST_FILE,
    LARGEST_JSON,
    SEAL,
    parsed,
    read,
    sealed,
    unsealed,
    unzipped,
    write_whole,
    zipped,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    def full(_):
        raise OSError("no space left on device")

    write_whole(tmp_path / "new folder" / "report.html", b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"no space"):
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
            with pytest.raises(ValueError, match=r"not whole: its checksum differs"):
                unzipped(damaged)


def test_a_zip_s_bytes_are_those_that_earlier_versions_wrote():
    """So a file that has not changed keeps its digest in a spool."""
    for files in ({}, {"empty": b""}, {"x": b"123", "y/z": bytes(range(256)) * 100, "ä": b"1"}):
        assert zipped(files) == made(
            lambda archive, files=files: [archive.writestr(zipfile.ZipInfo(name), files[name]) for name in files]
        )


def test_files_are_zipped_with_one_copy_of_them():
    content = bytes(8 << 20)
    tracemalloc.start()
    try:
        whole = zipped({"a": content})
        assert tracemalloc.get_traced_memory()[1] < 1.1 * len(whole)
    finally:
        tracemalloc.stop()


def made(make):
    """Return a zip that `make` writes, with the checksum that a hand that knows of it would give it."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
        warnings.simplefilter("ignore")  # zipfile warns of the same name twice
        make(archive)
    body = buffer.getvalue()[:-2] + DIGEST_LENGTH.to_bytes(2, "little")
    return body + hashlib.sha256(body).hexdigest().encode()


def resealed(body):
    return body + hashlib.sha256(body).hexdigest().encode()


def test_a_bomb_is_refused_before_memory_is_taken():
    bomb = made(lambda archive: archive.writestr("curves.json", bytes(1 << 28), zipfile.ZIP_DEFLATED))
    assert len(bomb) < 1 << 20
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"^not a zip of ours: it is compressed$"):
            unzipped(bomb)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_zip_of_another_hand_is_refused():
    def twice(archive):
        archive.writestr("a", b"1")
        archive.writestr("a", b"2")

    with pytest.raises(ValueError, match=r"^not a zip of ours: two of its files have the same name$"):
        unzipped(made(twice))
    assert unzipped(made(lambda archive: archive.writestr("a", b"1"))) == {"a": b"1"}


def test_files_that_claim_to_be_larger_than_the_zip_are_refused():
    body = zipped({"a": b"12345", "b": b"123"})[:-DIGEST_LENGTH]
    first = body.index(b"PK\x01\x02")  # the list of contents: sizes of the first file, packed and unpacked
    for change in ((1000, 1000), (5, 1000), (1, 5)):
        sizes = b"".join(size.to_bytes(4, "little") for size in change)
        with pytest.raises(ValueError, match=r"^not a zip of ours: its files are larger than it is$"):
            unzipped(resealed(body[: first + 20] + sizes + body[first + 28 :]))


def test_damage_under_a_right_checksum_is_one_kind_of_error():
    body = zipped({"curves.json": b"{}", "x": bytes(9)})[:-DIGEST_LENGTH]
    whole, refused = survey((*flipped(body), *truncated(body), *foreign()), lambda body: unzipped(resealed(body)))
    assert len(refused) > 500
    assert all(sum(map(len, files.values())) <= len(body) for files in whole.values())  # a date was changed, or a name


def test_a_file_is_read_if_it_is_one_and_not_too_large(tmp_path):
    (tmp_path / "x").write_bytes(b"123")
    assert read(tmp_path / "x", 3) == b"123"
    with pytest.raises(ValueError, match=r"^x has 3 bytes, but must have at most 2$"):
        read(tmp_path / "x", 2)
    make_huge(tmp_path / "huge")
    with pytest.raises(ValueError, match=r"^huge has 1,099,511,627,776 bytes, but must have at most 8,589,934,592$"):
        read(tmp_path / "huge", LARGEST_FILE)
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(ValueError, match=r"is not a plain file$"):
            read(tmp_path / name, LARGEST_JSON)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "gone", LARGEST_JSON)


def test_data_sealed_come_back_and_damage_anywhere_is_seen():
    form = {"b": [1, 0.1, None, "ä"], "a": {"c": True}}
    content = sealed(form)
    assert b"\n" not in content
    assert unsealed(content) == form
    assert unsealed(json.dumps(form).encode()) == form  # as earlier versions wrote it
    assert unsealed(sealed({})) == {}
    whole, refused = survey((*flipped(content), *truncated(content)), unsealed)
    assert all(read == form for read in whole.values())
    assert len(refused) > 1000
    for seal in (None, "", 0, "0" * 64):
        with pytest.raises(ValueError, match=r"^not whole: its checksum differs"):
            unsealed(json.dumps({**form, SEAL: seal}).encode())
    _, refused = survey(foreign(), unsealed)
    assert len(refused) > 20


def test_json_is_parsed_or_is_one_kind_of_error():
    assert parsed(b'{"a": [1, null]}') == {"a": [1, None]}
    for damaged in (b"", b"{", b"\xff\xfe\xfd", b"[" * 100_000, '{"a":' * 100_000):
        with pytest.raises(ValueError, match=r"Expecting|decode|nested too deeply"):
            parsed(damaged)
