"""Write a study's report again, from what MLflow has: results/<study>/report.html with its tables and figures.

    python sweeps/report.py part_a                  # as the study's last command had it: the same seeds, the same data
    python sweeps/report.py part_a_quick
    python sweeps/report.py sweeps/part_a.py --seeds 3 --no-early-stopping

STUDY is a study's name or its file. Other flags are those of the study; without any, those of its last command count.
Nothing is trained, and MLflow is only read.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from sweeps.options import QUICK, Parser, RunOptions, parse
from sweeps.terminal import busy
from trainables.errors import UserError

if TYPE_CHECKING:
    from sweeps.study import Study

DATA = Path("data")


def run(arguments: Sequence[str], console: Console) -> int:
    """Write the report that the arguments ask for and return the exit status: 0, or 1 where the disk has no room.

    Raises UserError for what the user can mend.
    """
    known, flags = _parser().parse_known_args(arguments)
    with busy(console, f"looking for {known.what}"):
        from sweeps.course import write_report
        from sweeps.reporting.provenance import Provenance
        from sweeps.tracking.connection import existing_uri
        from sweeps.tracking.notes import read_note
        from sweeps.tracking.store import Store

        uri = existing_uri(known.tracking_uri)
        command = Provenance.from_json(read_note(Store(uri), known.what)).command
        study, given = _study(known.what, command)
    stages = [stage.name for stage in study.stages]
    options = parse(flags or given, description=__doc__ or "", stages=stages)
    data_dir = options.data_dir if known.data_dir == DATA else known.data_dir
    places: dict[str, Any] = {"data_dir": data_dir, "output": known.output, "tracking_uri": uri}
    return write_report(study, _reading(options, known.what, study, **places), console)


def _reading(options: RunOptions, what: str, study: Study, **places: Any) -> RunOptions:
    """Return the options of a command that only reads."""
    quick = options.quick or what == f"{study.name}{QUICK}"
    return replace(options, quick=quick, fresh=False, dry_run=False, **places)


def _study(what: str, command: str) -> tuple[Study, list[str]]:
    """Return the study of a name or a file, and the flags of its last command. Raises UserError where there is none."""
    words = shlex.split(command)[1:]  # after `python`
    program = Path(words[0]) if words else None
    if what.endswith(".py"):
        return _loaded(Path(what)), []
    if program and program.suffix == ".py" and program.exists() and (study := _of_module(_module(program))):
        return study, words[1:]
    name = what.removesuffix(QUICK)
    if re.fullmatch(r"[A-Za-z_]\w*", name) and importlib.util.find_spec(f"sweeps.{name}"):
        study = _of_module(importlib.import_module(f"sweeps.{name}"))
        if study:
            return study, words[1:]
    raise UserError(f"there is no study {what!r} here; name its file, as in sweeps/part_a.py")


def _loaded(file: Path) -> Study:
    if not file.exists():
        raise UserError(f"there is no file {file}")
    study = _of_module(_module(file))
    if study is None:
        raise UserError(f"{file} has no STUDY")
    return study


def _module(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"study_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise UserError(f"{file} cannot be read as a study")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look for it there
    spec.loader.exec_module(module)
    return module


def _of_module(module: Any) -> Study | None:
    from sweeps.decisions.study import Study

    found = getattr(module, "STUDY", None)
    return found if isinstance(found, Study) else None


def _parser() -> Parser:
    parser = Parser(__doc__ or "")
    parser.add_argument("what", metavar="STUDY", help="a study's name in MLflow, or its file")
    parser.add_places()
    return parser


if __name__ == "__main__":
    from sweeps.main import guarded
    from sweeps.terminal import console

    sys.exit(guarded(lambda: run(sys.argv[1:], console())))
