"""A soak: one small study after another is killed, stopped, starved and cut off at random, and must end as undisturbed.

    python -m tests.faults.soak --minutes 60 --seed 1

The faults, their order and the pauses between them follow from the seed alone; where in the training they strike
depends on the machine. Each round is a fresh study behind an MLflow server. A command that ends is started again, as
its user would; once it has ended with exit status 0 the round's outcome is compared, bit by bit, with that of a study
that nobody disturbed. Exit status 1 where one differs, or a command ends in a way that the README does not promise.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.site import TRAINING, Server, Site

PAUSES = (0.5, 8.0)  # seconds between two faults, at least and at most
PROMISED = (0, 1, 130, -signal.SIGKILL)  # exit statuses that the faults below may lead to
# and the line, with status 2, where it is Ray's own start that is hurt: Ray gives its processes 30 seconds
NO_RAY = "error: Ray does not start on this machine: "
PATIENCE = 600.0  # seconds for the end of a command that is not hurt any more
STARTS = 4  # of the same command, once nothing hurts it, until it must have come to its end


@dataclass
class Round:
    """A study under way, its server, and what has been done to it."""

    site: Site
    server: Server
    rng: random.Random
    process: subprocess.Popen | None = None
    killed: int = 0  # workers, since the command's start: a trial that loses its process too often fails
    done: list[str] = field(default_factory=list)

    def begin(self) -> None:
        """Start the command."""
        self.process, self.killed = self.site.start(), 0

    def end(self) -> None:
        """Leave nothing running."""
        if self.process:
            self.process.kill()
            self.process.wait()

    @property
    def driver(self) -> subprocess.Popen:
        """The command's process."""
        assert self.process is not None
        return self.process

    def pids(self, title: str) -> list[int]:
        """Return the processes below the driver with this in their title, without the driver."""
        return [pid for pid in self.site.processes(self.driver, title) if pid != self.driver.pid]


def kill_worker(hurt: Round) -> None:
    """Kill the process of a trial at work, twice at most in a command's life."""
    workers = hurt.pids(TRAINING)
    if workers and hurt.killed < 2:
        hurt.killed += 1
        _signal([hurt.rng.choice(workers)], signal.SIGKILL)


def kill_tracker(hurt: Round) -> None:
    """Kill the Tracker."""
    _signal(hurt.pids("ray::Tracker"), signal.SIGKILL)


def kill_driver(hurt: Round) -> None:
    """Kill the command, and give it again."""
    hurt.driver.kill()
    hurt.driver.wait()
    hurt.begin()


def interrupt(hurt: Round) -> None:
    """Press Ctrl-C, wait for the end, and give the command again."""
    hurt.driver.send_signal(hurt.rng.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP)))
    _check(hurt, hurt.driver.wait(PATIENCE))
    hurt.begin()


def stop_worker(hurt: Round) -> None:
    """Stop a worker for some seconds."""
    _stop(hurt.pids(TRAINING)[:1], hurt.rng.uniform(1, 8))


def stop_everything(hurt: Round) -> None:
    """Stop all of the study's processes for some seconds, as a sleeping machine would."""
    _stop([hurt.driver.pid, *hurt.pids("")], hurt.rng.uniform(1, 15))


def cut_off(hurt: Round) -> None:
    """Kill the MLflow server, and start it again some seconds later."""
    hurt.server.kill()
    time.sleep(hurt.rng.uniform(1, 12))
    hurt.server.start()


def starve(hurt: Round) -> None:
    """Have others take the cores for some seconds."""
    burning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    time.sleep(hurt.rng.uniform(1, 8))
    for process in burning:
        process.kill()
        process.wait()


FAULTS: Sequence[Callable[[Round], None]] = (
    *(kill_worker, kill_tracker, kill_driver, interrupt, stop_worker, stop_everything, cut_off, starve),
)


def soak(folder: Path, seconds: float, seed: int, epochs: int, say: Callable[[str], None]) -> int:
    """Hurt one study after another for so long, and return the exit status."""
    rng, faults, number = random.Random(seed), Counter[str](), 0  # noqa: S311
    undisturbed = _undisturbed(folder / "undisturbed", epochs)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        number += 1
        place = folder / f"round-{number}"
        place.mkdir(parents=True)
        hurt = Round(Site(place, (server := Server(place)).uri, epochs), server, random.Random(rng.random()))  # noqa: S311
        try:
            server.start()
            outcome = _outcome(hurt, until)
        finally:
            hurt.end()
            server.kill()
        faults.update(hurt.done)
        equal = outcome == undisturbed
        say(
            f"round {number} (seed {seed}): {'equal' if equal else 'DIFFERS'} after {', '.join(hurt.done) or 'nothing'}"
        )
        if not equal:
            say(f"its files are in {place}; what it said last:\n{hurt.site.said.read_text()}")
            return 1
    say(f"{number} rounds, {faults.total()} faults: {', '.join(f'{name} {often}' for name, often in faults.items())}")
    return 0


def _outcome(hurt: Round, until: float) -> dict[str, Any]:
    """Hurt a study until it ends or the time is over, let it come to its end, and return its outcome."""
    hurt.begin()
    time.sleep(hurt.rng.uniform(*PAUSES))
    while hurt.driver.poll() is None and time.monotonic() < until:
        fault = hurt.rng.choice(FAULTS)
        fault(hurt)
        hurt.done.append(fault.__name__)
        with contextlib.suppress(subprocess.TimeoutExpired):
            hurt.driver.wait(hurt.rng.uniform(*PAUSES))
    for _ in range(STARTS):
        status = hurt.driver.wait(PATIENCE)
        _check(hurt, status)
        if status == 0:
            break
        hurt.begin()
    return hurt.site.outcome()


def _undisturbed(folder: Path, epochs: int) -> dict[str, Any]:
    folder.mkdir(parents=True)
    site = Site(folder, epochs=epochs)
    status, said = site.run()
    assert status == 0, said
    return site.outcome()


def _check(hurt: Round, status: int) -> None:
    said = hurt.site.said.read_text()
    promised = status in PROMISED or (status == 2 and said.splitlines()[-1].startswith(NO_RAY))
    assert promised, f"exit status {status} after {hurt.done}: {said}"
    assert "Traceback" not in said, f"a traceback after {hurt.done}: {said}"


def _stop(pids: Sequence[int], seconds: float) -> None:
    _signal(pids, signal.SIGSTOP)
    time.sleep(seconds)
    _signal(pids, signal.SIGCONT)


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(pid, number)


def main() -> int:
    """Read the command line, soak, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="for how long (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the faults and their order (default: %(default)s)")
    longer = "of each of the four trials: the more, the more often they are hurt (default: %(default)s)"
    parser.add_argument("--epochs", type=int, default=24, help=longer)
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a script it is ignored
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    status = soak(folder, 60 * options.minutes, options.seed, options.epochs, lambda line: print(line, flush=True))
    if status == 0:
        shutil.rmtree(folder)
    return status


if __name__ == "__main__":
    sys.exit(main())
