"""Word of a command's end, to a command of the user's or to a web address: `--notify`.

A command finds it in its environment: CNN_SWEEPS_STUDY, CNN_SWEEPS_STATUS (one of Status), CNN_SWEEPS_EXIT_STATUS,
CNN_SWEEPS_REPORT (the report's file; empty where there is none) and CNN_SWEEPS_MESSAGE, a line. To an address the same
is posted as a JSON object: study, status, exit_status, report and text.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from sweeps import interruption
from trainables.errors import UserError

PATIENCE = 60.0  # seconds for a command to end
ANSWERS_IN = 10.0  # seconds for an address to answer
SHOWN = 200  # characters of what a command that failed has said


class Status(StrEnum):
    """How a command has ended."""

    COMPLETE = "complete"  # every stage is decided
    UNFINISHED = "unfinished"  # it was to end before: `--for`, `--budget`
    FAILED = "failed"  # some trials or analyses did, or results could not be kept
    REFUSED = "refused"  # a mistake of the user's
    INTERRUPTED = "interrupted"
    CRASHED = "crashed"  # an error of ours


@dataclass(frozen=True)
class Notice:
    """What is told of a command's end."""

    study: str
    status: Status
    exit_status: int
    report: str = ""
    why: str = ""

    @property
    def text(self) -> str:
        """The end in a line."""
        return f"{self.study}: {self.status}{f': {self.why}' if self.why else ''}"

    @property
    def form(self) -> dict[str, Any]:
        """What is posted to an address; `text` is what chat services show."""
        return {
            "study": self.study,
            "status": self.status.value,
            "exit_status": self.exit_status,
            "report": self.report,
            "text": self.text,
        }

    @property
    def variables(self) -> dict[str, str]:
        """What a command finds in its environment."""
        named = {"message" if name == "text" else name: str(value) for name, value in self.form.items()}
        return {f"CNN_SWEEPS_{name.upper()}": value for name, value in named.items()}


def check(to: str) -> None:
    """Raise UserError for an address that others could read along with, and for none at all."""
    if not to.strip():
        raise UserError("--notify is empty, but must be a command or an address")
    if not _is_address(to):
        return
    from sweeps.reporting.serving import is_loopback  # with it comes http.server

    try:
        parts = urlsplit(to)
        safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    except ValueError:  # brackets enclose no address
        safe = False
    if not (safe and parts.hostname):
        raise UserError(f"--notify is {_shown(to)!r}, but must be https://, or http:// on this machine, or a command")


def at_the_end(study: str, report: Path, tell: Callable[[Notice], None], run: Callable[[], tuple[int, bool]]) -> int:
    """Run a study's command, tell of its end, and return its exit status, or raise what it raises.

    `run` returns the status, and whether all was done that there was to do.
    """
    try:
        status, complete = run()
    except BaseException as error:
        tell(_of_error(study, report, error))
        raise
    ended = Status.FAILED if status else Status.COMPLETE if complete else Status.UNFINISHED
    tell(Notice(study, ended, status, _there(report)))
    return status


def send(to: str, notice: Notice, say: Callable[[str], None]) -> None:
    """Send a notice to a command or an address. That it fails is a line."""
    try:
        if _is_address(to):
            _post(to, notice)
        else:
            _call(to, notice)
    except (OSError, ValueError) as error:
        say(f"warning: --notify: {_shown(to)}: {error}")


def _of_error(study: str, report: Path, error: BaseException) -> Notice:
    if isinstance(error, UserError):
        return Notice(study, Status.REFUSED, 2, _there(report), str(error))
    if isinstance(error, KeyboardInterrupt) or interruption.asked():
        return Notice(study, Status.INTERRUPTED, interruption.STATUS, _there(report))
    return Notice(study, Status.CRASHED, 1, _there(report), f"{type(error).__name__}: {error}")


def _there(report: Path) -> str:
    return str(report.absolute()) if report.exists() else ""


def _call(command: str, notice: Notice) -> None:
    """Run the user's command. Raises OSError where it fails, or takes too long; then it is ended."""
    environment = os.environ | notice.variables
    with tempfile.TemporaryFile() as said:
        line = ("/bin/sh", "-c", command)  # as the user would type it
        process = subprocess.Popen(
            line, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
        )
        try:
            status = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise OSError(f"it did not end within {PATIENCE:.0f} s, and was ended") from None
        finally:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if status:
            raise OSError(f"it ended with status {status}{_last_line(said)}")


def _last_line(said: IO[bytes]) -> str:
    said.seek(0)
    lines = said.read(1 << 20).decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f": {last[:SHOWN]}" if last else ""


def _post(address: str, notice: Notice) -> None:
    """Post the notice. Raises OSError where that is not taken."""
    from urllib import request  # takes a while, and few commands need it

    class NoRedirect(request.HTTPRedirectHandler):
        """Asks no other address than the one that was checked."""

        def redirect_request(self, *_: Any) -> None:
            """Return None: it is an error."""

    form = json.dumps(notice.form).encode()
    asked = request.Request(address, form, {"Content-Type": "application/json"})  # noqa: S310  it was checked
    with request.build_opener(NoRedirect).open(asked, timeout=ANSWERS_IN):
        pass


def _is_address(to: str) -> bool:
    return re.match(r"[a-z][a-z0-9+.-]*://", to, re.IGNORECASE) is not None


def _shown(to: str) -> str:
    """Return where a notice goes, without the secrets that an address may have in its path."""
    if not _is_address(to):
        return to[:SHOWN]
    scheme, _, rest = to.partition("://")
    return f"{scheme}://{re.split('[/?#]', rest)[0].rpartition('@')[2]}/…"
