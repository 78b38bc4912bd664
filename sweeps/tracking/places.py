"""Where the files of a sqlite store's runs lie: beside the database, also when that has moved.

MLflow keeps absolute places: `<home>/mlruns/<experiment>` of an experiment (Store.experiment_id chooses it), and below
that of each of its runs and logged models. A folder that is renamed or copied takes the old ones along: nothing would
be found any more, or a copy would be written to where the original is. What sweeps/export.py packs has relative places,
which are made absolute where it is opened.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from trainables.errors import UserError

RUNS = "mlruns"  # the folder of all runs' files
FILE = "file://"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stray:
    """An experiment whose place is not beside the database, or does not say where that is."""

    number: int
    name: str
    location: str  # as MLflow has it

    @property
    def home(self) -> Path:
        """The folder in which the database was when it got this place."""
        return _path(self.location).parents[1]

    @property
    def packed(self) -> bool:
        """Whether the place is relative, as in a copy that was packed to be opened anywhere."""
        return Path(self.location).parts == (RUNS, self.name) and self.name != ".."


def packed_place(experiment: str) -> str:
    """Return an experiment's place in a copy that can be opened anywhere, as seen from the database's folder."""
    return f"{RUNS}/{experiment}"


def settle(database: Path) -> None:
    """Have the files of runs looked for beside the database, and say so where that is new.

    Nothing but the database is changed. Raises UserError where files of runs lie at the old place alone, so that they
    would be read and written there; OSError where the database does not take it now.
    """
    if not database.exists():
        return
    try:
        with contextlib.closing(sqlite3.connect(database)) as connection:
            if strays := _strays(connection, database):
                with connection:
                    connection.execute("BEGIN IMMEDIATE")
                    _rehome(connection, database, strays)
    except sqlite3.Error as error:
        raise OSError(f"{database}: {error}") from error


def _strays(connection: sqlite3.Connection, database: Path) -> list[Stray]:
    """Return the experiments with a place of our form in another folder than the database's."""
    try:
        rows = connection.execute("SELECT experiment_id, name, artifact_location FROM experiments").fetchall()
    except sqlite3.OperationalError as error:
        if "no such" in str(error):  # table or column: no store of MLflow's, or not yet
            return []
        raise
    found = [Stray(*row) for row in rows if row[2]]
    packed, ours = [each for each in found if each.packed], [each for each in found if _is_ours(each)]
    away = {home for home in {each.home for each in ours} if not _is_own(home, database)}
    return [*packed, *(each for each in ours if each.home in away)]


def _rehome(connection: sqlite3.Connection, database: Path, strays: Sequence[Stray]) -> None:
    here = database.resolve().parent
    for stray in strays:
        place = here / RUNS / stray.name
        new = place.as_uri() if stray.location.startswith(FILE) else str(place)
        for old in () if stray.packed else _below(connection, stray):
            if not _may_move(_path(old), _path(new + old.removeprefix(stray.location)), stray.home / database.name):
                raise UserError(_how_to_go_on(database, stray.home))
        connection.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (new, stray.number))
        length = len(stray.location) + 1
        for table, column in (("runs", "artifact_uri"), ("logged_models", "artifact_location")):
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608
                f"WHERE experiment_id = ? AND substr({column}, 1, ?) = ?",
                (new, length, stray.number, length, f"{stray.location}/"),
            )
    if homes := ", ".join(sorted({str(stray.home) for stray in strays if not stray.packed})):
        log.warning("%s has moved here from %s; its runs' files are now looked for in %s", database, homes, here / RUNS)


def _below(connection: sqlite3.Connection, stray: Stray) -> Iterator[str]:
    """Yield the places of the experiment's runs and models, also of those deleted, that are below its own."""
    rows = connection.execute(
        "SELECT artifact_uri FROM runs WHERE experiment_id = :number "
        "UNION ALL SELECT artifact_location FROM logged_models WHERE experiment_id = :number",
        {"number": stray.number},
    )
    return (place for (place,) in rows.fetchall() if place and place.startswith(f"{stray.location}/"))


def _may_move(old: Path, new: Path, original: Path) -> bool:
    """Whether a run's files may be looked for at the new place: they are there, or nowhere.

    Those that a link at the new place leads to are another's, as long as the `original` database is still there.
    """
    if _is_same(old, new):
        return not original.exists()
    return _lies(new) or not _lies(old)


def _how_to_go_on(database: Path, home: Path) -> str:
    there = home / database.name
    back = "" if there.exists() else f", once {database.name} is back there"
    return (
        f"{database} was moved or copied here from {home} without its runs' files: move or copy {home / RUNS} to "
        f"{database.resolve().parent} too, or give --tracking-uri sqlite:///{there}{back}"
    )


def _is_ours(experiment: Stray) -> bool:
    """Whether a place has the form of those that Store.experiment_id chooses."""
    location, name = experiment.location, experiment.name
    if "://" in location and not location.startswith(FILE):
        return False
    path = _path(location)
    return path.is_absolute() and path.parts[-2:] == (RUNS, name) and name != ".."


def _is_own(home: Path, database: Path) -> bool:
    """Whether the database is in this folder, by whatever way: links are no move."""
    folders = (database.parent, database.resolve().parent)
    return any(_is_same(home, folder) for folder in folders) or _is_same(home / database.name, database)


def _path(location: str) -> Path:
    return Path(unquote(location.removeprefix(FILE))) if location.startswith(FILE) else Path(location)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one of them is not there
        return False


def _lies(path: Path) -> bool:
    """Whether something is there; what we may not look at is."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
