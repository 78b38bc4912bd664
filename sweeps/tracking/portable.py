"""A study's runs as a store of their own with relative places, which opens wherever it lies.

MLflow looks for a relative place in its working directory: `mlflow ui` in the folder of the copy finds its files. When
one of our commands opens it, the places are made absolute (sweeps/tracking/places.py).
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import unquote

from sweeps.tracking.lease import TAG as LEASE
from sweeps.tracking.places import FILE, packed_place, settle
from sweeps.tracking.spool import check_name
from trainables.errors import UserError, suggest

# The tables of MLflow that belong to runs. All others are emptied: they may hold what is nobody else's business.
KEPT = (
    *("alembic_version", "workspaces", "experiments", "experiment_tags", "runs", "metrics", "latest_metrics"),
    *("params", "tags", "datasets", "inputs", "input_tags"),
    *("logged_models", "logged_model_metrics", "logged_model_params", "logged_model_tags"),
)
DEFAULT = 0  # the experiment that MLflow itself makes, and expects


def check_study(database: Path, study: str) -> None:
    """Raise UserError, naming those there are, where a database has no study of this name."""
    with _read(database) as source:
        _number(source, study, database)


def copy_store(database: Path, study: str, others: Collection[str], target: Path) -> dict[str, Path]:
    """Write the study's runs, and the `others` by id, to `target` as a database of their own.

    Returns the runs' files: the place in the copy → the file. The original is only read, once its places are settled.
    Raises UserError where there is no such study, files cannot be packed, or the database cannot be read.
    """
    with _read(database) as source, contextlib.closing(sqlite3.connect(target, isolation_level=None)) as copy:
        source.backup(copy)
        _cut(copy, _number(copy, study, database), others)
        files = dict(_move(copy))
        copy.execute("VACUUM")  # what was deleted would still be in the file
    return files


def files_below(folder: Path, place: str) -> Iterator[tuple[str, Path]]:
    """Yield a folder's files, also those in folders below: the place in the copy, and the file.

    Raises UserError for a link, as it may lead to what is not the folder's, and for what is no file.
    """
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise UserError(f"{path} is a link, and where it leads is not packed; put a copy there, or remove it")
        if path.is_dir():
            continue
        if not path.is_file():
            raise UserError(f"{path} cannot be packed (it is not a file); remove it")
        name = f"{place}/{path.relative_to(folder).as_posix()}"
        _check(name)
        yield name, path


@contextlib.contextmanager
def _read(database: Path) -> Iterator[sqlite3.Connection]:
    try:
        settle(database)
        with contextlib.closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as source:
            yield source
    except (sqlite3.Error, OSError) as error:
        raise UserError(f"the database {database} cannot be copied: {' '.join(str(error).split())}") from error


def _number(copy: sqlite3.Connection, study: str, database: Path) -> int:
    """Return the number of the study's experiment."""
    rows = copy.execute("SELECT name, experiment_id FROM experiments WHERE lifecycle_stage = 'active'")
    known = dict(rows.fetchall())
    if study not in known:
        names = [name for name in known if known[name] != DEFAULT]
        raise UserError(f"{database} has no study {study!r}{suggest(study, names) if names else ', nor any other'}")
    return known[study]


def _cut(copy: sqlite3.Connection, study: int, others: Collection[str]) -> None:
    """Delete all but a study's experiment, its runs, the `others` by id, and what belongs to those."""
    copy.execute("CREATE TEMP TABLE wanted (id TEXT PRIMARY KEY)")
    copy.executemany("INSERT OR IGNORE INTO wanted VALUES (?)", [(run_id,) for run_id in others])
    copy.execute("INSERT OR IGNORE INTO wanted SELECT run_uuid FROM runs WHERE experiment_id = ?", (study,))
    copy.execute("DELETE FROM runs WHERE lifecycle_stage <> 'active' OR run_uuid NOT IN wanted")
    copy.execute("DELETE FROM logged_models WHERE lifecycle_stage <> 'active' OR source_run_id NOT IN wanted")
    copy.execute(
        "DELETE FROM experiments WHERE experiment_id NOT IN (?, ?) "
        "AND experiment_id NOT IN (SELECT experiment_id FROM runs)",
        (DEFAULT, study),
    )
    copy.execute("DELETE FROM experiment_tags WHERE experiment_id <> ? OR key = ?", (study, LEASE))
    copy.execute("UPDATE workspaces SET default_artifact_root = NULL")
    tables = copy.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").fetchall()
    for (table,) in tables:
        if table not in KEPT:
            copy.execute(f'DELETE FROM "{table}"')  # noqa: S608  a table's own name
    ours = "(SELECT run_uuid FROM runs UNION SELECT model_id FROM logged_models)"
    copy.execute(f"DELETE FROM inputs WHERE NOT (source_id IN {ours} OR destination_id IN {ours})")  # noqa: S608
    copy.execute("DELETE FROM input_tags WHERE input_uuid NOT IN (SELECT input_uuid FROM inputs)")
    copy.execute("DELETE FROM datasets WHERE dataset_uuid NOT IN (SELECT source_id FROM inputs)")
    while orphans := copy.execute("PRAGMA foreign_key_check").fetchall():
        for table, row, *_ in orphans:
            copy.execute(f'DELETE FROM "{table}" WHERE rowid = ?', (row,))  # noqa: S608


def _move(copy: sqlite3.Connection) -> Iterator[tuple[str, Path]]:
    """Give all that is left relative places, and yield the files: the place in the copy, and the file."""
    names = dict(copy.execute("SELECT experiment_id, name FROM experiments").fetchall())
    for number, name in names.items():
        place = packed_place(str(DEFAULT) if number == DEFAULT else name)
        _check(place)
        copy.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (place, number))
    for table, key, column, folder in (
        ("runs", "run_uuid", "artifact_uri", ""),
        ("logged_models", "model_id", "artifact_location", "models/"),
    ):
        rows = copy.execute(f"SELECT {key}, experiment_id, {column} FROM {table}").fetchall()  # noqa: S608
        for identity, number, location in rows:
            place = f"{packed_place(names[number])}/{folder}{identity}/artifacts"
            copy.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (place, identity))  # noqa: S608
            yield from files_below(_folder(location, identity), place)


def _folder(location: str, identity: str) -> Path:
    if location.startswith(FILE):
        return Path(unquote(location.removeprefix(FILE)))
    if "://" in location or not Path(location).is_absolute():
        raise UserError(
            f"run {identity} has its files at {location}; only those in a folder of this machine are packed"
        )
    return Path(location)


def _check(place: str) -> None:
    try:
        check_name(place)
    except ValueError as error:
        raise UserError(f"it cannot be packed: {error}") from error
