"""The service: studies, and how they run on Ray and are kept in MLflow."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def _use_the_checkout_of_the_program() -> None:
    """Where the program is a file in the sweeps/ of another checkout than this one, import everything from there.

    `python OTHER/sweeps/part_a.py` finds the tree that is installed, as only OTHER/sweeps is on its path. Ends the
    program with one line and status 2 where modules of this checkout are loaded already.
    """
    program = getattr(sys.modules.get("__main__"), "__file__", None)
    if not program:
        return
    folder = Path(program).resolve().parent
    root = folder.parent
    parts = (folder / "main.py", folder / "engine.py", root / "trainables", root / "analysis")
    if folder.name != "sweeps" or folder == Path(__file__).resolve().parent or not all(map(Path.exists, parts)):
        return
    if {"trainables", "analysis"} & sys.modules.keys():
        print(
            f"error: {program} imports trainables or analysis before sweeps, and so gets those of another checkout; "
            f"import sweeps first, or set PYTHONPATH={root}",
            file=sys.stderr,
        )
        sys.exit(2)
    sys.path.insert(0, str(root))
    inherited = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{root}{os.pathsep}{inherited}" if inherited else str(root)  # for Ray's workers
    __path__[:] = [str(folder)]


_use_the_checkout_of_the_program()

from sweeps.command import begin  # noqa: E402  of the checkout that was just chosen

begin()

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sweeps.api import best as best
    from sweeps.api import plan as plan
    from sweeps.api import run as run


def __getattr__(name: str) -> object:
    """Import what is for notebooks once it is asked for: it takes seconds, and commands do without."""
    if name not in ("best", "plan", "run"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sweeps import api

    return getattr(api, name)
