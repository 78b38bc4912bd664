import fcntl
import os
import re
import stat
from pathlib import Path

import pytest

from sweeps.execution.session import LONGEST, PREFIX, private_folder
from trainables.errors import UserError


@pytest.fixture
def place(monkeypatch) -> Path:
    """A short place for temporary files, which is named by TMPDIR."""
    place = Path(f"/tmp/x{os.getpid()}")  # noqa: S108
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    yield place
    for left in place.iterdir():
        left.rmdir()
    place.rmdir()


def test_the_folder_is_this_user_s_alone_and_goes_with_the_command(place):
    with private_folder() as folder:
        assert folder.parent == place
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "file").touch()
    assert not folder.exists()


def test_ray_s_own_place_comes_first(place, monkeypatch):
    own = place / "r"
    own.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(own))
    with private_folder() as folder:
        assert folder.parent == own


def test_a_socket_in_it_has_a_path_that_systems_take():
    session = "session_2026-11-26_01-56-48_554330_4194304"  # with the largest number that a process can have
    longest = Path("/" + "x" * (LONGEST - 1), f"{PREFIX}12345678", "r", session, "sockets", "plasma_store")
    assert len(str(longest)) <= 103


@pytest.mark.parametrize("unfit", ["/" + "x" * 110, "/nowhere", "/proc"])
def test_where_a_place_is_unfit_the_next_is_taken(unfit, place, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", unfit)
    with private_folder() as folder:
        assert folder.parent == place


def test_without_a_place_it_is_said_in_one_line(monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", "/nowhere")
    monkeypatch.setenv("TMPDIR", "/proc")
    monkeypatch.setattr("sweeps.execution.session.tempfile.mkdtemp", lambda **_: (_ for _ in ()).throw(OSError))
    message = re.escape("there is none at /nowhere or /proc or /tmp; TMPDIR names another")
    with pytest.raises(UserError, match=message), private_folder():
        pass


def test_what_killed_commands_left_is_removed_and_what_another_holds_is_not(place):
    left, held, target = place / f"{PREFIX}left", place / f"{PREFIX}held", place / "target"
    for folder in (left, held, target):
        folder.mkdir()
    (left / "file").touch()
    (place / f"{PREFIX}link").symlink_to(target)
    lock = os.open(held, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with private_folder() as own:
        assert {path.name for path in place.iterdir()} == {f"{PREFIX}held", f"{PREFIX}link", "target", own.name}
        with private_folder() as second:
            assert own.exists()
            assert second != own
    os.close(lock)
    (place / f"{PREFIX}link").unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_another_user_s_folder_is_left_alone(place):
    other = place / f"{PREFIX}other"
    other.mkdir()
    os.chown(other, 65534, 65534)
    with private_folder():
        assert other.exists()


def test_a_folder_that_was_taken_for_left_before_it_was_locked_is_made_again(place, monkeypatch):
    lock, taken = fcntl.flock, []

    def first_it_is_gone(descriptor: int, how: int) -> None:
        lock(descriptor, how)
        if not taken:
            taken.extend(place.iterdir())
            taken[0].rmdir()

    monkeypatch.setattr("sweeps.execution.session.fcntl.flock", first_it_is_gone)
    with private_folder() as folder:
        assert folder.is_dir()
        assert folder not in taken
