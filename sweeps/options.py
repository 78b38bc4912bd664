"""The command line that all study scripts share: how much of the study is run, and where. Never what is studied."""

from __future__ import annotations

import argparse
import itertools
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from sweeps import notice
from sweeps.decisions import rules
from sweeps.decisions.samplers import SAMPLERS
from sweeps.decisions.seeding import FIRST
from sweeps.decisions.shares import HIGHEST, LOWEST
from sweeps.decisions.stopping import BEHIND, RULES, check
from sweeps.execution.machines import Machines
from trainables.errors import UserError, nearest, suggest

NARROWEST, WIDEST = 20, 100  # columns of a help text
# the least that a number may be
LEAST = {"num_gpus": 0, "trials_per_gpu": 1, "num_cpus": 1, "epochs": 1, "seeds": 1, "num_trials": 1, "budget": 1}
UNITS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}  # of a time, in seconds
UNTIL_DECIDED = "decided"
QUICK = "_quick"  # ends the name under which --quick runs a study


@dataclass(frozen=True)
class RunOptions:
    """What a user may ask of a command; None leaves it to the study or to the machine."""

    num_gpus: int | None = None
    trials_per_gpu: int | None = None
    num_cpus: int | None = None
    dataset: str | None = None
    weights: str | None = None
    data_dir: Path = Path("data")
    epochs: int | None = None
    seeds: int = 1
    vary_split: bool = False
    stages: tuple[str, ...] = ()
    for_: float | None = None  # seconds
    budget: int | None = None  # epochs, each with one seed
    until: float | str | None = None  # a validation score, 0..1, or UNTIL_DECIDED
    early_stopping: bool = True
    grid_rule: str = BEHIND
    num_trials: int | None = None
    sampler: str | None = None
    rule: str | None = None
    quick: bool = False
    dry_run: bool = False
    output: Path = Path("results")
    tracking_uri: str | None = None
    address: str | None = None
    priority: int = 0
    share: float | None = None  # of a cluster, 0..1
    fresh: bool = False
    notify: str | None = None
    json: bool = False

    @property
    def machines(self) -> Machines:
        """The machines that the run may use."""
        return Machines(self.num_gpus, self.trials_per_gpu, self.num_cpus, self.address)

    def __post_init__(self) -> None:
        for name, low in LEAST.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise UserError(f"--{name.replace('_', '-')} is {value}, but must be at least {low}")
        if not LOWEST <= self.priority <= HIGHEST:
            raise UserError(f"--priority is {self.priority}, but must be {LOWEST}..{HIGHEST}")
        check(self.grid_rule)
        if self.until == UNTIL_DECIDED and self.seeds <= FIRST:
            raise UserError(
                f"--until decided needs --seeds, above {FIRST}: how many each of the trials may have that may be best"
            )
        if self.notify is not None:
            notice.check(self.notify)


EXAMPLES = (
    ("--quick", "the whole study in a minute or two, on embedded data"),
    ("--dry-run", "the plan: every trial with its shapes and its cost"),
    ("--seeds 3", "three seeds, to see the spread; finished trials are not run again"),
    ("--dataset folder:data/flowers", "on your own images, in one folder for each class"),
)


class Help(argparse.HelpFormatter):
    """Sets all of a help text in one width: that of the terminal, up to a hundred columns. What is indented stays."""

    def __init__(self, prog: str) -> None:
        width = shutil.get_terminal_size().columns
        super().__init__(prog, max_help_position=26, width=min(max(width, NARROWEST), WIDEST))

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:  # noqa: ARG002  that of argparse is empty
        runs = itertools.groupby(text.strip("\n").splitlines(), key=lambda line: not line or line.startswith(" "))
        return "\n".join(
            "\n".join(lines) if stays else textwrap.fill(" ".join(lines), width, break_on_hyphens=False)
            for stays, lines in runs
        )


class Parser(argparse.ArgumentParser):
    """Answers a mistake with a UserError in one line, with the nearest flag. Flags are not abbreviated.

    `examples` are flags, and what they do, that the help text ends with.
    """

    def __init__(self, description: str, usage: str | None = None, examples: Sequence[tuple[str, str]] = ()) -> None:
        self._section: argparse._ArgumentGroup | None = None
        lines = [f"  # {use}\n  python {sys.argv[0]} {flags}" for flags, use in examples]
        epilog = "\n".join(("examples:", *lines)) if lines else None
        super().__init__(description=description, usage=usage, epilog=epilog, formatter_class=Help, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise UserError."""
        raise UserError(message.removeprefix("argument "))

    def begin(self, title: str) -> None:
        """Begin a section of the help text, for the flags that follow."""
        self._section = self.add_argument_group(title)

    def add_flag(self, name: str, text: str, **how: Any) -> None:
        """Add a flag with its help text; `how` is argparse's."""
        (self._section or self).add_argument(name, help=text, **how)

    def add_number(self, name: str, text: str, default: int | None = None, metavar: str = "N") -> None:
        """Add a flag that takes a whole number."""
        self.add_flag(name, text, type=whole, default=default, metavar=metavar)

    def add_choice(self, name: str, text: str, names: Iterable[str], default: str | None = None) -> None:
        """Add a flag that takes one of these names; None leaves it to the study."""
        names, kept = list(names), default or "the study's"
        text = f"{text}: {', '.join(names)} (default: {kept})"
        self.add_flag(name, text, type=one_of(names), default=default, metavar="NAME")

    def add_gpus(self, use: str) -> None:
        """Add the flag that says how many GPUs to `use`."""
        everything = "all that torch sees here, or that the cluster has"
        self.add_number("--num-gpus", f"GPUs to {use}, in total; 0: the CPU (default: {everything})")

    def add_places(self) -> None:
        """Add the flags that say where data is found, and where results are kept."""
        for name, default, text in (
            ("--data-dir", "data", "where data sets are looked for, and downloaded to"),
            ("--output", "results", "where results go"),
        ):
            self.add_flag(name, f"{text} (default: %(default)s)", default=Path(default), type=folder, metavar="DIR")
        self.add_tracking()

    def add_tracking(self) -> None:
        """Add the flag that says which MLflow keeps the studies."""
        mlflow = "MLflow (default: $MLFLOW_TRACKING_URI, else sqlite:///mlflow.db)"
        self.add_flag("--tracking-uri", mlflow, metavar="URI")

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Return the arguments. Raises UserError for one that is unknown or has a wrong value."""
        known, unknown = self.parse_known_args(arguments)
        if unknown:
            # dashes are no likeness
            flags = {flag.strip("-"): flag for action in self._actions for flag in action.option_strings}
            near = nearest(unknown[0].partition("=")[0].strip("-"), flags)
            hint = f"did you mean {flags[near]!r}?" if near else "--help shows what there is"
            raise UserError(f"unknown argument {unknown[0]!r}; {hint}")
        return known


def parse(arguments: Sequence[str], *, description: str, stages: Sequence[str]) -> RunOptions:
    """Read the command line. Raises UserError, in one line, for a flag or a value that cannot be used."""
    return RunOptions(**vars(_parser(description, stages).read(arguments)))


def _parser(description: str, stages: Sequence[str]) -> Parser:
    parser = Parser(description, "%(prog)s [flags]", EXAMPLES)
    _add_extent(parser, stages)
    _add_stopping(parser)
    _add_machines(parser)
    parser.begin("files and services")
    parser.add_places()
    told = "a command to run at the end, which finds study, status and report in its environment, or an https address"
    parser.add_flag("--notify", f"{told} to post them to", metavar="WHAT")
    lines = "for programs: the plan, or a line for each event, as JSON on standard output; all else on standard error"
    parser.add_flag("--json", lines, action="store_true")
    return parser


def _add_extent(parser: Parser, stages: Sequence[str]) -> None:
    """Add the flags that say how much of the study is run, and on what."""
    from trainables.datasets import names

    parser.begin("how much of the study, and on what")
    parser.add_flag("--quick", "embedded data and few epochs: the whole study in a minute or two", action="store_true")
    parser.add_flag("--dry-run", "print the plan and stop", action="store_true")
    some = f"only these stages, and those whose winners they need: {', '.join(stages)} (default: all)"
    parser.add_flag("--stages", some, type=listed, default=(), metavar="A,B")
    parser.add_number("--seeds", "replicates of every trial: seeds 0 to N-1 (default: %(default)s)", default=1)
    parser.add_number("--epochs", "epochs of every trial (default: the study's)")
    parser.add_flag("--dataset", f"{', '.join(names())} (default: the study's)", metavar="NAME")
    weights = "pretrained weights for the trials that use any: a file or a known name (default: the study's)"
    parser.add_flag("--weights", weights, metavar="FILE")
    again = "give each seed its own split into training and validation images; such trials are stored apart"
    parser.add_flag("--vary-split", again, action="store_true")
    ends = "end after this time, such as 45m or 1h30m; what is left, the same command goes on with"
    parser.add_flag("--for", ends, type=seconds, dest="for_", metavar="TIME")
    parser.add_number("--budget", "end after N epochs, each of one trial with one seed, likewise")
    enough = (
        "end once a trial's validation score, of several seeds, has its interval above this fraction; or `decided`: "
        "after the first three seeds only those trials of a grid, or of a search's candidates, get more that may be "
        "best, until their stage is decided"
    )
    parser.add_flag("--until", enough, type=score_or_decided, metavar="WHAT")
    parser.add_flag("--fresh", "ignore earlier trials and train everything again", action="store_true")


def _add_stopping(parser: Parser) -> None:
    parser.begin("early stopping, and searches")
    stopping = "stop the trials that fall behind (default: on)"
    parser.add_flag("--early-stopping", stopping, action=argparse.BooleanOptionalAction, default=True)
    parser.add_choice("--grid-rule", "early-stopping rule of stages that are not searches", RULES, default=BEHIND)
    parser.add_number("--num-trials", "trials of a search (default: the study's); raise it to continue a search")
    parser.add_choice("--sampler", "what a search draws its trials with", SAMPLERS)
    parser.add_choice("--rule", "early-stopping rule of a search", rules.RULES)


def _add_machines(parser: Parser) -> None:
    parser.begin("machines")
    parser.add_gpus("train on")
    shared = "trials that share one GPU (default: as many as its memory and the cores allow)"
    parser.add_number("--trials-per-gpu", shared, metavar="K")
    parser.add_number("--num-cpus", "CPU cores to use, one trial on each (default: all)")
    address = "a Ray cluster (default: $RAY_ADDRESS, else this machine)"
    parser.add_flag("--address", address, metavar="ADDR", default=os.environ.get("RAY_ADDRESS"))
    first = "on a cluster, studies of higher priority take first what they want, and others give way between epochs"
    parser.add_number("--priority", f"{first} (default: %(default)s)", default=0)
    entitled = (
        "part of the cluster's GPUs, or cores, that the study gets at least while others of its priority want them"
    )
    parser.add_flag("--share", f"{entitled}, such as 0.75 (default: as much as each)", type=part, metavar="PART")


def known_study(named: str, known: Sequence[str], where: object) -> str:
    """Return which of the `known` studies is named, or else that name's with `--quick`. Raises UserError."""
    for name in (named, f"{named}{QUICK}"):
        if name in known:
            return name
    raise UserError(f"{where} has no study {named!r}{suggest(named, known) if known else ''}")


def one_of(names: Iterable[str]) -> Callable[[str], str]:
    """Return what reads an argument that is one of these names."""
    known = list(names)

    def named(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(f"{text!r} is not known{suggest(text, known)}")
        return text

    return named


def whole(text: str) -> int:
    """Return the whole number that an argument names."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def seconds(text: str) -> float:
    """Return the seconds of a time such as `90s`, `1.5h` or `1h30m`."""
    parts = "".join(rf"(?:(\d+(?:\.\d+)?){unit})?" for unit in UNITS)
    found = re.fullmatch(parts, text)
    total = (
        sum(float(number) * UNITS[unit] for unit, number in zip(UNITS, found.groups(), strict=True) if number)
        if found
        else 0
    )
    if not total:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time above 0, such as 90s, 45m, 1h30m or 2d")
    return total


def score_or_decided(text: str) -> float | str:
    """Return the score that is enough, 0..1, or `decided`."""
    try:
        score = float(text)
    except ValueError:
        score = -1.0
    if text != UNTIL_DECIDED and not 0 < score < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a fraction between 0 and 1 nor {UNTIL_DECIDED!r}")
    return UNTIL_DECIDED if text == UNTIL_DECIDED else score


def part(text: str) -> float:
    """Return a part of a whole, above 0 and at most 1."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a part of a whole, such as 0.75")
    return found


def listed(text: str) -> tuple[str, ...]:
    """Return the names that an argument lists, with commas between them."""
    return tuple(filter(None, text.split(",")))


def folder(text: str) -> Path:
    """Return the folder that an argument names; `~` is the user's home, also where no shell expands it (a Ray job)."""
    return Path(text).expanduser()
