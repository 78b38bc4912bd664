"""Pack a study to be opened elsewhere: its results, its runs in a database of their own, and their files.

    python sweeps/export.py part_a part_a.zip

Unpacked anywhere, it is a folder of the study's name. In there `mlflow ui` shows its runs, and every command works on
them without touching the original, as the copy holds no absolute path. Runs that the study took from other studies come
along; the rest of the database does not.
"""

from __future__ import annotations

import contextlib
import csv
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from sweeps.options import Parser
from sweeps.terminal import busy
from sweeps.tracking.connection import SQLITE
from trainables.errors import UserError

PACKED = {".gz", ".jpg", ".npz", ".png", ".safetensors", ".zip"}  # what gets no smaller
LOCKS = {".lock"}
OF_THE_MOMENT = {"live.json", ".live.json"}  # of a command that ran here
RUN = "MLflow run"  # the column of a stage's table


def run(arguments: Sequence[str], console: Console) -> int:
    """Pack the study that the arguments name and return the exit status, 0.

    Raises UserError for what the user can mend: a study that is not known or is running, a target that is there.
    """
    options = _parser().read(arguments)
    from sweeps.interruption import tidy
    from sweeps.tracking.connection import existing_uri
    from sweeps.tracking.portable import check_study, copy_store, files_below
    from sweeps.tracking.spool import locked

    study, target = options.study, options.target
    database, results = _database(existing_uri(options.tracking_uri)), options.output / study
    check_study(database, study)
    if not results.is_dir():
        raise UserError(f"there is no folder {results}; --output names the one that holds the results of {study}")
    with (
        tidy(),
        locked(results / ".spool" / "driver.lock"),
        _new(target) as archive,
        tempfile.TemporaryDirectory() as folder,
        busy(console, f"packing {study}"),
    ):
        files = {"mlflow.db": Path(folder) / "mlflow.db"}
        files |= copy_store(database, study, _runs_in(results), files["mlflow.db"])
        found = files_below(results.resolve(), f"results/{study}")
        files |= {place: path for place, path in found if path.suffix not in LOCKS and path.name not in OF_THE_MOMENT}
        size = _pack(archive, study, files)
    say = partial(console.print, highlight=False, soft_wrap=True)
    say(f"{target}: {len(files)} files, {size / 1e6:,.1f} MB; unpacked, it is a folder {study}")
    return 0


def _database(uri: str) -> Path:
    if not uri.startswith(SQLITE):
        raise UserError(f"MLflow at {uri} is a server; --tracking-uri sqlite:///PATH names the database that it keeps")
    return Path(uri.removeprefix(SQLITE))


@contextlib.contextmanager
def _new(target: Path) -> Iterator[zipfile.ZipFile]:
    """Open a file for packing that has its name only once it is whole. Raises UserError where the name is taken."""
    if target.exists() or target.is_symlink():
        raise UserError(f"{target} is there already; name another file, or remove it")
    part = target.with_name(f".{target.name}.part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
            yield archive
        part.rename(target)
    except OSError as error:
        raise UserError(f"{target} cannot be written: {' '.join(str(error).split())}") from error
    finally:
        part.unlink(missing_ok=True)


def _runs_in(results: Path) -> set[str]:
    """Return the runs that the tables of the results name: some may be other studies'."""
    runs = set()
    for table in results.glob("*.csv"):
        with table.open(newline="", encoding="utf-8", errors="replace") as file:
            runs |= {row.get(RUN) or "" for row in csv.DictReader(file)}
    return {run_id for run_id in runs if re.fullmatch("[0-9a-f]{32}", run_id)}


def _pack(archive: zipfile.ZipFile, study: str, files: Mapping[str, Path]) -> int:
    """Write the files below a folder of the study's name, and return their size, packed."""
    for place, path in files.items():
        how = zipfile.ZIP_STORED if path.suffix in PACKED else zipfile.ZIP_DEFLATED
        archive.write(path, f"{study}/{place}", how)
    return sum(each.compress_size for each in archive.infolist())


def _parser() -> Parser:
    parser = Parser(__doc__ or "")
    parser.add_argument("study", metavar="STUDY", help="a study's name, as its folder of results has it")
    parser.add_argument("target", metavar="FILE", type=Path, help="the zip file to write; it must not exist yet")
    parser.add_places()
    return parser


if __name__ == "__main__":
    from sweeps.main import guarded
    from sweeps.terminal import console

    sys.exit(guarded(lambda: run(sys.argv[1:], console())))
