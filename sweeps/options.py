"""The command line that every study script shares: how much of the study is run, and where. Never what is studied."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from sweeps.execution.machines import Machines
from trainables.errors import UserError, suggest


@dataclass(frozen=True)
class RunOptions:
    """What a user may ask of a run; None leaves it to the study or to the machine."""

    num_gpus: int = 0
    trials_per_gpu: int | None = None
    num_cpus: int | None = None
    dataset: str | None = None
    weights: str | None = None
    data_dir: Path = Path("data")
    epochs: int | None = None
    seeds: int = 1
    stages: tuple[str, ...] = ()
    early_stopping: bool = True
    num_trials: int | None = None
    sampler: str | None = None
    rule: str | None = None
    quick: bool = False
    dry_run: bool = False
    output: Path = Path("results")
    tracking_uri: str | None = None
    address: str | None = None
    fresh: bool = False

    @property
    def machines(self) -> Machines:
        """The machines that the run may use."""
        return Machines(self.num_gpus, self.trials_per_gpu, self.num_cpus, self.address)

    def __post_init__(self) -> None:
        for name, low in (
            ("num_gpus", 0),
            ("trials_per_gpu", 1),
            ("num_cpus", 1),
            ("epochs", 1),
            ("seeds", 1),
            ("num_trials", 1),
        ):
            value = getattr(self, name)
            if value is not None and value < low:
                raise UserError(f"--{name.replace('_', '-')} is {value}, but must be at least {low}")


class Parser(argparse.ArgumentParser):
    """Answers a mistake with a UserError in one line, with the nearest flag. Flags are not abbreviated."""

    def __init__(self, description: str) -> None:
        super().__init__(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
        )

    def error(self, message: str) -> NoReturn:
        """Raise UserError."""
        raise UserError(message)

    def add_places(self) -> None:
        """Add the flags that say where data is found, and where results are kept."""
        places = (
            ("--data-dir", "data", "where data sets are looked for, and downloaded to"),
            ("--output", "results", "where results go"),
        )
        for flag, default, text in places:
            self.add_argument(
                flag, help=f"{text} (default: %(default)s)", default=Path(default), type=folder, metavar="DIR"
            )
        self.add_argument(
            "--tracking-uri", help="MLflow (default: $MLFLOW_TRACKING_URI, else sqlite:///mlflow.db)", metavar="URI"
        )

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Return the arguments. Raises UserError for one that is unknown or has a wrong value."""
        known, unknown = self.parse_known_args(arguments)
        if unknown:
            flags = [flag for action in self._actions for flag in action.option_strings]
            raise UserError(f"unknown argument {unknown[0]!r}{suggest(unknown[0].partition('=')[0], flags)}")
        return known


def parse(arguments: Sequence[str], *, description: str, stages: Sequence[str]) -> RunOptions:
    """Read the command line. Raises UserError, in one line, for a flag or a value that cannot be used."""
    return RunOptions(**vars(_parser(description, stages).read(arguments)))


def _parser(description: str, stages: Sequence[str]) -> Parser:
    from trainables.datasets import names

    parser = Parser(description)
    own = RunOptions()

    def add(flag: str, text: str, **rest: Any) -> None:
        parser.add_argument(
            flag, help=text, default=rest.pop("default", getattr(own, flag[2:].replace("-", "_"))), **rest
        )

    add("--num-gpus", "GPUs to use, in total; 0: train on the CPU (default: %(default)s)", type=whole, metavar="N")
    add(
        "--trials-per-gpu",
        "trials that share one GPU (default: as many as its memory and the cores allow)",
        type=whole,
        metavar="K",
    )
    add("--num-cpus", "CPU cores to use, one trial on each (default: all)", type=whole, metavar="N")
    add("--dataset", f"{', '.join(names())} (default: the study's)", metavar="NAME")
    add(
        "--weights",
        "pretrained weights for the trials that start from some: a file or a known name (default: the study's)",
        metavar="FILE",
    )
    add("--epochs", "epochs of every trial (default: the study's)", type=whole, metavar="N")
    add("--seeds", "replicates of every trial: seeds 0..N-1 (default: %(default)s)", type=whole, metavar="N")
    add(
        "--stages",
        f"some of the stages, and those whose winners they need: {','.join(stages)} (default: all)",
        type=lambda text: tuple(filter(None, text.split(","))),
        metavar="A,B",
    )
    add("--early-stopping", "ASHA: stop what is behind at a rung (default: on)", action=argparse.BooleanOptionalAction)
    add("--num-trials", "trials of a search (default: the study's); more later continue it", type=whole, metavar="N")
    add(
        "--sampler",
        "what draws a search's trials: tpe, random, gp, cma-es, nsga2, grid (default: the study's)",
        metavar="NAME",
    )
    add(
        "--rule",
        "early stopping in a search: asha, pasha, hyperband, median, none (default: the study's)",
        metavar="NAME",
    )
    add("--quick", "embedded data and few epochs: the whole study in about a minute", action="store_true")
    add("--dry-run", "print the plan and stop", action="store_true")
    parser.add_places()
    add(
        "--address",
        "a Ray cluster (default: $RAY_ADDRESS, else this machine)",
        metavar="ADDR",
        default=os.environ.get("RAY_ADDRESS"),
    )
    add("--fresh", "ignore earlier trials and train everything again", action="store_true")
    return parser


def whole(text: str) -> int:
    """Return the whole number that an argument names."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None


def folder(text: str) -> Path:
    """Return the folder that an argument names; `~` is the home of whoever runs this, as a job's command has no shell of its own."""
    return Path(text).expanduser()


def fail(error: UserError) -> int:
    """Print a user's mistake as one line on standard error and return exit status 2."""
    printable = "".join(
        each if each.isprintable() else " " for each in str(error)
    )  # a file's name in it could command the terminal
    print(f"error: {' '.join(printable.split())}", file=sys.stderr)
    return 2
