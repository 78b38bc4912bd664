"""Decoded images that are kept: found again, never trusted, never in anybody's way."""

import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trainables.datasets.builders import same, write_classes, write_image
from trainables.datasets import Dataset, decoded, find, image_shape, load
from trainables.datasets.decoded import ABOUT, LOCK, PIXELS, Shelf, mapped

GOLDEN = "d17687e2c4dcb850556f0d9e8a75d93582cf0b403230954a14a4d1000724bbc6"


@pytest.fixture(autouse=True)
def another_process(monkeypatch):
    """What is held is let go at a test's end, as at a process's."""
    monkeypatch.setattr(decoded, "_held", {})
    yield
    ended()


def ended() -> None:
    """Let go of what is held, as a process that ends."""
    for lock in decoded._held.values():
        os.close(lock)
    decoded._held.clear()


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """The images that Pillow has opened, by name."""
    names, really = [], Image.open
    monkeypatch.setattr(Image, "open", lambda path, **how: names.append(path.name) or really(path, **how))
    return names


@pytest.fixture
def place(tmp_path) -> Path:
    """Where the data folder is: elsewhere."""
    return tmp_path / "data"


@pytest.fixture
def name(tmp_path) -> str:
    return write_classes(tmp_path / "own", 10)


def makings(place: Path) -> list[Path]:
    return sorted((place / decoded.FOLDER).glob("*/*/"))


def identical(a: Dataset, b: Dataset) -> bool:
    alone = ("name", "class_names", "digest", "mean", "sd", "own_val", "image_shape")
    return same(a, b) and all(getattr(a, field) == getattr(b, field) for field in alone)


@pytest.mark.parametrize("parts", [(), ("train", "test"), ("train", "val", "test")])
def test_the_second_reading_opens_no_image_and_gives_the_same(tmp_path, place, opened, parts):
    name = f"folder:{tmp_path / 'own'}"
    for at, part in enumerate(parts or ("",)):
        write_classes(tmp_path / "own" / part, 10 + at)
    write_image(tmp_path / "own" / (parts or ("",))[0] / "cat" / "large.png", size=(20, 30))
    first = load(name, place)
    assert len(opened) == 2 * sum(map(len, (first.train, first.val, first.test)))  # headers, then pixels
    opened.clear()
    assert image_shape(name, place) == (first.image_shape, 2)
    again = load(name, place)
    assert opened == []
    assert identical(again, first)
    assert again.train.labels.dtype == np.int64


def test_the_same_without_a_place_to_keep_them(name, place, tmp_path):
    """Digest and pixels do not depend on it; the golden one holds what earlier versions made of these images."""
    (tmp_path / "file").touch()
    without = load(name, tmp_path / "file")
    assert without.mapped is None
    assert identical(without, load(name, place))
    assert identical(without, load(name, place))
    assert without.digest == GOLDEN


def test_the_users_own_folder_is_not_written_to(name, place, tmp_path):
    before = sorted((tmp_path / "own").rglob("*"))
    load(name, place)
    assert sorted((tmp_path / "own").rglob("*")) == before


def test_the_data_folder_may_be_the_images_own(name, tmp_path, opened):
    first = load(name, tmp_path / "own")
    opened.clear()
    assert identical(load(name, tmp_path / "own"), first)
    assert opened == []


def test_images_are_mapped_and_cannot_be_written_to(name, place):
    data = load(name, place)
    assert data.mapped == makings(place)[0]
    assert not any(part.images.flags.writeable for part in (data.train, data.val, data.test))
    assert all(part.images.flags.c_contiguous for part in (data.train, data.val, data.test))


def added(folder: Path) -> None:
    write_image(folder / "cat" / "new.png", seed=77)


def removed(folder: Path) -> None:
    (folder / "cat" / "003.png").unlink()


def renamed(folder: Path) -> None:
    (folder / "cat" / "003.png").rename(folder / "cat" / "3.png")


def touched(folder: Path) -> None:
    os.utime(folder / "cat" / "003.png", ns=(0, 10**18 + 1))


def changed(folder: Path) -> None:
    write_image(folder / "cat" / "003.png", seed=77)


def changed_secretly(folder: Path) -> None:
    """The same size and time of change as before."""
    path = folder / "cat" / "003.png"
    before, content = path.stat(), path.read_bytes()
    path.write_bytes(content[:-1] + b"\x00")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def changed_places(folder: Path) -> None:
    """An image of each class for one of the other, of the same name, size and time."""
    cat, dog, aside = folder / "cat" / "003.png", folder / "dog" / "003.png", folder.parent / "aside"
    cat.write_bytes(cat.read_bytes().ljust(1000, b"\0"))
    dog.write_bytes(dog.read_bytes().ljust(1000, b"\0"))
    os.utime(cat, ns=(0, 10**18))
    os.utime(dog, ns=(0, 10**18))
    load(f"folder:{folder}", folder.parent / "data")
    cat.rename(aside)
    dog.rename(cat)
    aside.rename(dog)


def class_renamed(folder: Path) -> None:
    (folder / "cat").rename(folder / "cats")


CHANGES = [added, removed, renamed, touched, changed, changed_secretly, changed_places, class_renamed]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_folder_is_read_anew_and_the_old_images_are_replaced(name, place, tmp_path, opened, change):
    load(name, place)
    [before] = makings(place)
    ended()
    change(tmp_path / "own")
    ended()
    opened.clear()
    found = find(name, place)
    assert found.load().mapped != before
    assert len(opened) == 2 * sum(found.counts)
    assert len(makings(place)) == 1


@pytest.mark.parametrize("share", [0.1, 0.25])
def test_another_share_held_back_is_another_data_set(name, place, share):
    load(name, place, validation=0.2)
    ended()
    assert len(load(name, place, validation=share).val) == {0.1: 2, 0.25: 4}[share]


def test_another_version_is_made_anew(name, place, opened, monkeypatch):
    load(name, place)
    ended()
    opened.clear()
    monkeypatch.setattr(decoded, "VERSION", decoded.VERSION + 1)
    load(name, place)
    assert len(opened) == 40
    assert len(makings(place)) == 1


def test_another_pillow_decodes_for_itself(name, place, opened, monkeypatch):
    load(name, place)
    opened.clear()
    monkeypatch.setattr("PIL.__version__", "99")
    load(name, place)
    assert len(opened) == 40


def flipped(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "last pixel": lambda it: flipped(it / PIXELS, -1),
    "first pixel": lambda it: flipped(it / PIXELS, 128),
    "header": lambda it: flipped(it / PIXELS, 30),
    "magic": lambda it: flipped(it / PIXELS, 0),
    "cut": lambda it: os.truncate(it / PIXELS, 1000),
    "empty": lambda it: os.truncate(it / PIXELS, 0),
    "no pixels": lambda it: (it / PIXELS).unlink(),
    "pickled": lambda it: np.save(it / PIXELS, np.array([{}]), allow_pickle=True),
    "other shape": lambda it: np.save(it / PIXELS, np.load(it / PIXELS)[1:]),
    "other type": lambda it: np.save(it / PIXELS, np.load(it / PIXELS).astype(np.int16)),
    "other order": lambda it: np.save(it / PIXELS, np.asfortranarray(np.load(it / PIXELS))),
    "about flipped": lambda it: flipped(it / ABOUT, 50),
    "about cut": lambda it: os.truncate(it / ABOUT, 100),
    "about empty": lambda it: (it / ABOUT).write_bytes(b""),
    "about nested": lambda it: (it / ABOUT).write_bytes(b"[" * 100_000),
    "about of another version": lambda it: (it / ABOUT).write_text("{}"),
    "no about": lambda it: (it / ABOUT).unlink(),
    "no lock": lambda it: (it / LOCK).unlink(),
    "nothing": lambda it: [path.unlink() for path in it.iterdir()],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_is_damaged_is_made_anew(name, place, opened, damage):
    first = load(name, place)
    kept = Dataset(**{**vars(first), **{part: copied(getattr(first, part)) for part in ("train", "val", "test")}})
    del first
    ended()
    damage(makings(place)[0])
    opened.clear()
    assert identical(load(name, place), kept)
    assert opened
    assert len(makings(place)) == 1
    opened.clear()
    assert identical(load(name, place), kept)
    assert opened == []


def copied(split):
    return split.take(np.arange(len(split)))


def test_that_pixels_were_damaged_is_said(name, place, caplog):
    load(name, place)
    ended()
    flipped(makings(place)[0] / PIXELS, -1)
    load(name, place)
    where = makings(place)[0].parent
    assert caplog.messages == [f"{name}: the decoded images in {where} are damaged, and made anew"]


def test_an_image_that_cannot_be_read_leaves_nothing_behind(name, place, tmp_path):
    (tmp_path / "own" / "dog" / "half.png").write_bytes((tmp_path / "own" / "dog" / "000.png").read_bytes()[:100])
    with pytest.raises(Exception, match=r"half.png cannot be read"):
        load(name, place)
    assert makings(place) == []


def test_without_room_on_the_disk_images_stay_in_memory_with_one_line(name, place, monkeypatch, caplog):
    size = 20 * 8 * 8 * 3
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(size, 1, size - 1))
    assert load(name, place).mapped is None
    [where] = (place / decoded.FOLDER).iterdir()
    why = "No space left on device"
    assert caplog.messages == [f"{name}: its decoded images cannot be kept in {where} ({why}), which costs time"]
    assert makings(place) == []


def test_a_disk_that_fills_up_on_the_way_leaves_nothing_behind(name, place):
    """The limit on a file's size stands for a full disk: the kernel refuses the write just so."""
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from trainables.datasets import load\n"
        "print(load(sys.argv[1], Path(sys.argv[2])).mapped)"
    )
    ended = subprocess.run([sys.executable, "-c", code, name, place], capture_output=True, text=True, check=True)
    assert ended.stdout == "None\n"
    assert "cannot be kept in" in ended.stderr
    assert "(File too large), which costs time" in ended.stderr
    assert makings(place) == []


def read_it(name: str, place: Path, gate, results) -> None:
    gate.wait()
    data = load(name, place)
    results.put((data.digest, data.mapped))
    gate.wait()  # nobody ends, and so lets go, before all have read


def test_many_may_read_and_make_at_once(name, place):
    spawn = multiprocessing.get_context("fork")
    gate, results = spawn.Barrier(4), spawn.Queue()
    readers = [spawn.Process(target=read_it, args=(name, place, gate, results)) for _ in range(4)]
    for each in readers:
        each.start()
    found = [results.get(timeout=60) for _ in readers]
    for each in readers:
        each.join(60)
    assert len({digest for digest, _ in found}) == 1
    assert all(kept is not None for _, kept in found)
    assert identical(load(name, place), load(name, place))
    assert len(makings(place)) == 1  # the others have gone with their processes


def clear(shelf, gate) -> None:
    gate.wait()
    shelf._remove_all_but(shelf.place / "another")


def test_what_has_just_been_begun_is_no_wreck(name, place, monkeypatch):
    shelf = Shelf.of(Path(name.removeprefix("folder:")), place, "")
    fork, really = multiprocessing.get_context("fork"), decoded._hold
    gate = fork.Barrier(2)
    other = fork.Process(target=clear, args=(shelf, gate))
    other.start()

    def late(making):
        """Hold a making once the other process has had the time to remove it."""
        gate.wait()
        other.join(1)
        really(making)

    monkeypatch.setattr(decoded, "_hold", late)
    data = load(name, place)
    other.join(60)
    assert other.exitcode == 0
    assert [data.mapped] == makings(place)


def test_what_another_process_holds_stays(name, place, tmp_path):
    spawn = multiprocessing.get_context("fork")
    gate, results = spawn.Barrier(2), spawn.Queue()
    other = spawn.Process(target=read_it, args=(name, place, gate, results))
    other.start()
    gate.wait()
    digest, kept = results.get(timeout=60)
    added(tmp_path / "own")
    load(name, place)
    assert mapped(kept, name).digest == digest  # its workers can still map it
    gate.wait()
    other.join(60)
    load(name, place)
    assert len(makings(place)) == 1


def test_a_worker_maps_what_its_driver_has_read(name, place):
    data = load(name, place)
    assert identical(mapped(data.mapped, name), data)
    shutil.rmtree(data.mapped)
    with pytest.raises(OSError, match=ABOUT):
        mapped(data.mapped, name)


def test_two_folders_of_one_name_do_not_meet(tmp_path, place):
    names = [write_classes(tmp_path / where / "own", count) for where, count in (("a", 5), ("b", 6))]
    sizes = [len(load(name, place).train) for name in names]
    assert sizes == [len(load(name, place).train) for name in names] == [6, 8]
    assert len(makings(place)) == 2


def test_a_link_to_the_folder_is_the_folder(name, place, tmp_path, opened):
    load(name, place)
    (tmp_path / "link").symlink_to("own")
    opened.clear()
    assert load(f"folder:{tmp_path / 'link'}", place).name == f"folder:{tmp_path / 'link'}"
    assert opened == []
