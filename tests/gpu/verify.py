"""Check and measure the GPU path: python -m tests.gpu.verify [--tiny] [--only NAME,..] [--device cuda|cpu]
[--output DIR] [--data-dir DIR] [--minutes N]

Every row says what it claims, and is right, wrong, measured, or left out with the reason; ratios are to a named peer of
the same run. The table is printed as it grows, and is in DIR as JSON and Markdown after each row. The exit status is 1
where a row failed. On a machine with a GPU, torch 2.11 or later, torchvision, numpy and safetensors: no Ray, no MLflow,
no data, no network. What these would add is said to be left out. `--tiny` is for a CPU: every path that needs no GPU,
in sizes that say nothing about speed.

What it found on an H100 is in h100.md. From the root of the project:

    python -m tests.gpu.verify                            all rows, in less than ten minutes
    python -m tests.gpu.verify --only branches-4,vmap-4   some, and the peers that they are held against
"""

from __future__ import annotations

import argparse
import gc
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from tests.gpu import analyses, children, fast, hardware, report, right, rivals, studies  # noqa: F401 each adds its rows
from tests.gpu.report import FAILED, LEFT_OUT, Outcome, Report
from tests.gpu.rows import ROWS, LeftOut, Row, Setting
from trainables.devices import on_gpu
from trainables.errors import suggest

IN_TURN = tuple(sorted(ROWS, key=lambda row: row.turn))
OVERRUN = 2.0  # times a row's seconds, after which it is stopped
LONGEST_LINE = 300


class OutOfTime(BaseException):
    """A row ran past its time. No Exception: what a row catches is not this."""


@dataclass
class Run:
    """The rows, one after another, within a time."""

    setting: Setting
    end: float  # by the clock
    output: Path
    clock: Callable[[], float] = time.monotonic
    outcomes: list[Outcome] = field(default_factory=list)

    def rows(self, rows: Sequence[Row]) -> Report:
        """Run all rows, print what comes of each, and write it down."""
        about = hardware.described(self.setting.device)
        done = Report(about, self.outcomes)
        as_torch_comes = _precisions()
        for number, row in enumerate(rows):
            _tidy(self.setting.device, as_torch_comes)
            self.outcomes.append(self._outcome(row))
            print(self.outcomes[-1].line, flush=True)
            done.write(self.output)
            rest = rows[number + 1 :]
            if rest and _lost(self.setting.device):
                print(f"the CUDA context is lost since {row.name}: the rest goes on in another process", flush=True)
                self.outcomes += self._elsewhere(rest)
                break
        done.write(self.output)
        return done

    def _outcome(self, row: Row) -> Outcome:
        """Return what comes of a row, whatever it raises."""
        left = self.end - self.clock()
        if lacking := row.lacks(self.setting.device):
            return Outcome.without(row, LEFT_OUT, lacking)
        if row.seconds > left:
            return Outcome.without(row, LEFT_OUT, f"takes up to {row.seconds:.0f} s, but {max(0, left):.0f} s are left")
        start = self.clock()
        try:
            with _stopped_after(min(OVERRUN * row.seconds, left)):
                result = row.check(self.setting)
        except LeftOut as why:
            return Outcome.without(row, LEFT_OUT, str(why), self.clock() - start)
        except (Exception, OutOfTime) as error:  # whatever it is, it is this row's, and hides no other
            return Outcome.without(row, FAILED, failure(error), self.clock() - start)
        self.setting.done[row.name] = result
        return Outcome.of(row, result, self.clock() - start, self.setting)

    def _elsewhere(self, rows: Sequence[Row]) -> list[Outcome]:
        """Return the outcomes of rows that run in a process of their own, which prints them."""
        folder = self.output / "rest"
        (folder / report.JSON).unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.gpu.verify", "--only", ",".join(row.name for row in rows)]
        command += ["--minutes", f"{(self.end - self.clock()) / 60:.2f}", "--device", str(self.setting.device)]
        command += ["--output", str(folder.absolute()), *["--tiny"] * self.setting.tiny]
        if self.setting.data_dir:
            command += ["--data-dir", str(self.setting.data_dir.absolute())]
        subprocess.run(command, cwd=hardware.ROOT, check=False)
        found = {outcome.name: outcome for outcome in report.read(folder)}
        ended = "the other process ended before it"
        return [found.get(row.name) or Outcome.without(row, FAILED, ended) for row in rows]


def main(
    arguments: Sequence[str] | None = None,
    rows: Sequence[Row] = IN_TURN,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Run the command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        chosen = chosen_from(rows, options.only)
    except ValueError as error:
        print(error)
        return 2
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    setting = Setting(device, options.tiny, options.data_dir)
    done = Run(setting, clock() + 60 * options.minutes, options.output, clock).rows(chosen)
    print(f"{done.summary}; {options.output / report.MARKDOWN}")
    for outcome in done.failed:
        print(f"FAILED: {outcome.name}: {outcome.claim}")
    return 1 if done.failed else 0


def chosen_from(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """Return the rows of these names and their peers, all where none is named. Raises ValueError for an unknown one."""
    known = {row.name: row for row in rows}
    wanted, more = set(names), list(names)
    while more:
        name = more.pop()
        if name not in known:
            raise ValueError(f"--only has {name!r}{suggest(name, known)}")
        peer = known[name].peer
        if peer and peer not in wanted:
            wanted.add(peer)
            more.append(peer)
    return [row for row in rows if row.name in wanted or not names]


def failure(error: BaseException) -> str:
    """Return an error as one line that says where it was raised, of our own files the last."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [each for each in frames if each.filename.startswith(str(hardware.ROOT)) and each.name != _stop.__name__]
    at = (own or frames)[-1]
    words = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST_LINE]
    return f"{words} ({Path(at.filename).name}:{at.lineno})"


def _stop(*_: object) -> None:
    raise OutOfTime(f"stopped, after {OVERRUN:g} times its seconds or at the end of all")


@contextmanager
def _stopped_after(seconds: float) -> Iterator[None]:
    """Raise OutOfTime after so many seconds, as soon as Python is at it again."""

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, _stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _precisions() -> tuple[bool, str, str]:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    return cudnn.deterministic, cudnn.conv.fp32_precision, matmul.fp32_precision


def _tidy(device: torch.device, as_torch_comes: tuple[bool, str, str]) -> None:
    """Let go of what the row before had, and set back what it has set."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    cudnn.deterministic, cudnn.conv.fp32_precision, matmul.fp32_precision = as_torch_comes
    if on_gpu(device):
        gc.collect()
        torch.cuda.empty_cache()


def _lost(device: torch.device) -> bool:
    """Tell whether this process can compute on its GPU no more."""
    if not on_gpu(device):
        return False
    try:
        torch.cuda.synchronize(device)
        return torch.ones(1, device=device).item() != 1
    except RuntimeError:
        return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a few images: for a CPU")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], metavar="NAME,..", help="some rows")
    parser.add_argument("--output", type=Path, default=Path("results/gpu"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="default: cuda where there is a GPU")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="where CIFAR-10 is; without it: synthetic images")
    parser.add_argument("--minutes", type=float, default=9.5, metavar="N", help="in all (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
