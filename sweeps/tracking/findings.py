"""What analyses and evaluations find, on its way to MLflow: kept on the local disk until it has them.

    spool/findings/<name>.zip    one finding: its files, and the run and the folder of artifacts that are to have it

Whoever finds something keeps it first and sends it then. Nothing is locked, so that models can be asked while a study
runs in the same folder: a name says what is in the file, so two processes that deliver the same finding send the same
bytes, and each removes only what it has sent.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from sweeps.tracking.artifacts import Artifacts
from sweeps.tracking.connection import is_refusal, one_line
from sweeps.tracking.spool import check_name
from sweeps.tracking.store import Store
from trainables.files import parsed, read, unzipped, write_whole, zipped

ANALYSES = "analysis"  # the folder of all findings among a run's artifacts
LAST = "finding.json"  # sent after all other files of a finding: where it is, the others are
FINDINGS = "findings"  # their folder in the spool
ABOUT, FILES = "about.json", "files/"  # in a kept finding: whose it is; the folder of its files
LARGEST = 1 << 30  # bytes of a kept finding that is read back
AT_ONCE = 8  # questions to MLflow under way at once
OUTAGES = 2  # the first may be one finding's own trouble, such as the folder of its artifacts; the second is MLflow's

Place = tuple[str, str]  # a run's id, and a folder of its artifacts


@dataclass(frozen=True)
class Kept:
    """A finding that MLflow is to have: its place there and its files."""

    place: Place
    files: Mapping[str, bytes]

    @classmethod
    def read(cls, path: Path) -> Kept:
        """Read what keep() wrote. Raises ValueError where it is not that, FileNotFoundError where it is delivered."""
        members = unzipped(read(path, LARGEST))
        match parsed(members.get(ABOUT, b"")):
            case {"run_id": str(run_id), "folder": str(folder)} if run_id and folder:
                place = run_id, folder
            case _:
                raise ValueError(f"its {ABOUT} names no run and folder")
        files = {name.removeprefix(FILES): each for name, each in members.items() if name.startswith(FILES)}
        for name in (folder, *files):
            check_name(name)
        if LAST not in files:
            raise ValueError(f"it has no {LAST}")
        return cls(place, files)

    def send(self, store: Store) -> None:
        """Give it to MLflow, LAST at the end. It may be repeated; raises what MLflow raises."""
        others = {name: content for name, content in self.files.items() if name != LAST}
        for part in filter(None, (others, {LAST: self.files[LAST]})):
            store.attach(*self.place, part)

    def __str__(self) -> str:
        run_id, folder = self.place
        return f"{folder} of run {run_id}"


@dataclass(frozen=True)
class Left:
    """What deliver_findings() could not deliver, and left where it is: a line for each finding."""

    away: list[str] = field(default_factory=list)  # MLflow did not answer
    refused: list[str] = field(default_factory=list)  # it said no, to this one
    damaged: list[str] = field(default_factory=list)  # the file cannot be read


def keep(spool: Path, place: Place, files: Mapping[str, bytes]) -> Path:
    """Write a finding into the spool, whole, in the place of what it has for the same place; return the file.

    Raises OSError where the disk does not take it.
    """
    about = json.dumps({"run_id": place[0], "folder": place[1]}).encode()
    packed = zipped({ABOUT: about} | {f"{FILES}{name}": content for name, content in files.items()})
    path = spool / FINDINGS / f"{_short(place)}-{hashlib.sha256(packed).hexdigest()[:16]}.zip"
    write_whole(path, packed)
    for older in set(_kept_for(spool, place)) - {path}:
        older.unlink(missing_ok=True)
    return path


def waiting(spool: Path, place: Place) -> tuple[Path, dict[str, bytes]] | None:
    """Return the file of the finding that waits for a place in MLflow, and its content; None where none is whole."""
    for path in _kept_for(spool, place):
        try:
            return path, dict(Kept.read(path).files)
        except (ValueError, OSError):
            continue  # said where it is to be delivered
    return None


def findings_in(spool: Path) -> list[Path]:
    """Return the files of the findings in a spool."""
    return sorted((spool / FINDINGS).glob("*.zip"))


def deliver_findings(store: Store, paths: Iterable[Path]) -> Left:
    """Give MLflow what is kept in these files, remove what it has then, and return what is left."""
    left = Left()
    for path in paths:
        try:
            kept = Kept.read(path)
        except FileNotFoundError:  # another process has delivered it
            continue
        except (ValueError, OSError) as error:
            left.damaged.append(f"{path} cannot be read and is left alone: {one_line(error)}")
            continue
        if len(left.away) >= OUTAGES:
            left.away.append(f"{kept}: MLflow is away")
            continue
        try:
            kept.send(store)
            path.unlink(missing_ok=True)
        except Exception as error:  # whatever it is, it must not cost the other findings
            if is_refusal(error):
                left.refused.append(f"{kept} is refused by MLflow and stays in {path}: {one_line(error)}")
            else:
                left.away.append(f"{kept}: {one_line(error)}")
    return left


def advice(spool: Path, uri: str) -> str:
    """Return the line that says where the rest is which MLflow has not got, and how it gets it."""
    by_hand = shlex.join(("python", "sweeps/sync.py", "--output", str(spool.parent.parent), "--tracking-uri", uri))
    rest = f"the rest is in {spool}: the same command delivers it, or `{by_hand}`"
    return f"MLflow does not have everything yet; {rest}"


def stored(store: Store, places: Iterable[Place]) -> dict[Place, Future[dict[str, bytes]]]:
    """Return what MLflow has in each of these places: files, none where there is nothing; or what it raised.

    That is Unreadable where the files are there and cannot be read. Each run is asked once what it has; what is wanted
    of that is then read, several at a time.
    """
    places = list(dict.fromkeys(places))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        # First in, first out: a read that waits for what its run has takes no thread which that needs.
        runs = {run_id: pool.submit(_found_in, store, run_id) for run_id in {run_id for run_id, _ in places}}
        return {place: pool.submit(_read, runs[place[0]], place[1]) for place in places}


def _found_in(store: Store, run_id: str) -> tuple[Artifacts, set[str]]:
    """Return a run's artifacts, and the folders of findings among them."""
    artifacts = Artifacts.of(store.client, run_id)
    return artifacts, {each.path for each in artifacts.listed(ANALYSES)}


def _read(found: Future[tuple[Artifacts, set[str]]], folder: str) -> dict[str, bytes]:
    artifacts, folders = found.result()
    return artifacts.below(folder) if folder in folders else {}


def _kept_for(spool: Path, place: Place) -> list[Path]:
    return sorted((spool / FINDINGS).glob(f"{_short(place)}-*.zip"))


def _short(place: Place) -> str:
    return hashlib.sha256(json.dumps(place).encode()).hexdigest()[:32]
