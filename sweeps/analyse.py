"""Ask finished models what they have learned: any analysis of any run.

    python sweeps/analyse.py STUDY                        # every analysis of the study's best trial on validation
    python sweeps/analyse.py STUDY --top 2 --jobs neighbours,tsne,compare
    python sweeps/analyse.py RUN --jobs occlusion --set occlusion.windows=5,9 --set occlusion.stride=2

STUDY is a study's name, RUN a run's id in MLflow; give several to see them side by side. Findings go to
results/<study>/analysis.html, to the folder analysis/ beside it, and to the examined models' MLflow runs. Analyses that
are already there are not repeated.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from sweeps.options import QUICK, Parser, whole
from sweeps.terminal import busy
from trainables.errors import UserError

if TYPE_CHECKING:
    from analysis.job import Job
    from sweeps.execution.answers import Answer
    from sweeps.tracking.store import Store, StoredTrial

Analyses = Mapping[str, Mapping[str, Any]]


def run(arguments: Sequence[str], console: Console, given: Analyses | None = None, default: str | None = None) -> int:
    """Do the analyses that the arguments ask for and return the exit status.

    That is 0, or 1 where some failed, or MLflow has not got what was found.

    Those `given`, job → options, are done where the arguments name none (None: all there are), on the study `default`
    where they name no run, or on what `--quick` made of it where that is all there is. Raises UserError for what the
    user can mend.
    """
    with busy(console, "loading the analyses"):
        options = _parser(default).read(arguments)
        from sweeps.execution import asking
        from sweeps.execution.answers import Answers
        from sweeps.execution.machines import Machines
        from sweeps.execution.shared_data import SharedData
        from sweeps.tracking.connection import resolve_uri
        from sweeps.tracking.finished import folder_name
        from sweeps.tracking.store import Store
        from trainables import datasets

    jobs = _jobs(options.jobs, options.set, given)
    machines = Machines(num_gpus=options.num_gpus, num_cpus=options.num_cpus, address=options.address)
    machines.check()
    say = partial(console.print, highlight=False, soft_wrap=True)
    store = Store(resolve_uri(options.tracking_uri))
    what = options.what or [store.patiently(lambda: _found(store, str(default), say), say)]
    trials = store.patiently(lambda: _trials(store, what, options.top), say)
    dataset = store.patiently(lambda: _dataset(store, trials), say)
    data = SharedData(datasets.load(dataset, options.data_dir))
    place = options.output / folder_name(trials[0].experiment)
    kept = Answers(store, place, say)
    kept.deliver_earlier()
    insisted = {setting.partition(".")[0] for setting in options.set}
    asked = asking.about(jobs, trials)
    with busy(console, "asking the analyses"):
        answers = asking.ask(asked, data, kept, machines, fresh=options.fresh, insisted=insisted)
    written = _write(place, trials[0].experiment, answers, say)
    say(f"report: {place / 'analysis.html'} · MLflow: {store.uri}, in the models' runs under analysis/")
    return 0 if written and all(answer.settled for answer in answers) else 1


def _write(place: Path, study: str, answers: Sequence[Answer], say: Callable[[str], None]) -> bool:
    """Write the report; False, with a line, where the disk has no room for it."""
    from sweeps.execution.answers import sections
    from sweeps.interruption import held
    from sweeps.reporting import results

    try:
        with held():
            results.write_findings(place, study, sections(answers))
    except OSError as error:
        say(
            f"warning: the report cannot be written to {place}: {error.strerror}; once it can, the same command does it"
        )
        return False
    return True


def _found(store: Store, study: str, say: Callable[[str], None]) -> str:
    """Return the study, or what `--quick` makes of it, with a line, where only that has a finished trial."""
    try:
        store.finished(study)
    except UserError:
        quick = f"{study}{QUICK}"
        with suppress(UserError):  # what is said of the study itself tells more
            store.finished(quick)
            say(f"{study} has no finished trial here: {quick} is asked instead")
            return quick
        raise
    return study


def _trials(store: Store, what: Sequence[str], top: int) -> list[StoredTrial]:
    from sweeps.tracking.finished import best

    if top < 1:
        raise UserError(f"--top is {top}, but must be at least 1")
    # from the weaker to the better, so that a comparison tells what the better ones gain
    trials = [trial for name in what for trial in reversed(best(store.finished(name), top))]
    return list({trial.run_id: trial for trial in trials}.values())


def _dataset(store: Store, trials: Sequence[StoredTrial]) -> str:
    """Return the name of the data set that all the trials were trained on."""
    names = {store.dataset(trial.run_id) for trial in trials}
    if len(names) > 1:
        raise UserError(f"the models were trained on {', '.join(sorted(names))}; name runs of one data set")
    return names.pop()


def _jobs(names: Sequence[str], settings: Sequence[str], given: Analyses | None) -> list[Job]:
    """Return the jobs of these names, with their given options and `job.option=value`s."""
    from analysis.jobs import JOBS, make, option_types

    given = {name: {} for name in JOBS} if given is None else given
    wanted = {name: dict(given.get(name, {})) for name in names or given}
    make(wanted)  # names are checked before settings
    for setting in settings:
        path, equals, text = setting.partition("=")
        name, _, option = path.partition(".")
        if not equals or name not in wanted:
            raise UserError(
                f"--set is {setting!r}, but must be JOB.OPTION=VALUE for one of the jobs {', '.join(wanted)}"
            )
        wanted[name][option] = _value(text, several="tuple" in option_types(name).get(option, ""))
    return make(wanted)


def _value(text: str, several: bool) -> Any:
    """Return what the text says in Python's words (`5`, `0.5`, `None`), else the text itself.

    With `several` a tuple of that (`3,5`).
    """
    if several and text != "None":
        return tuple(_value(part, several=False) for part in text.split(","))
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _parser(default: str | None) -> Parser:
    from analysis.jobs import JOBS

    parser = Parser(sys.modules["__main__"].__doc__ or __doc__ or "")
    of = f" (default: {default})" if default else ""
    parser.add_argument(
        "what",
        metavar="STUDY|RUN",
        nargs="*" if default else "+",
        help=f"a study's name (its best trials) or an MLflow run's id{of}",
    )
    parser.add_argument(
        "--jobs",
        type=lambda text: tuple(filter(None, text.split(","))),
        default=(),
        metavar="A,B",
        help=", ".join(JOBS),
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="JOB.OPTION=VALUE", help="an option of a job; may be repeated"
    )
    parser.add_argument(
        "--top", type=whole, default=1, metavar="K", help="how many of a study's best trials (default: %(default)s)"
    )
    parser.add_gpus("use")
    parser.add_argument("--num-cpus", type=whole, metavar="N", help="CPU cores to use (default: all)")
    parser.add_argument(
        "--address",
        metavar="ADDR",
        default=os.environ.get("RAY_ADDRESS"),
        help="a Ray cluster (default: $RAY_ADDRESS, else this machine)",
    )
    parser.add_places()
    parser.add_argument("--fresh", action="store_true", help="repeat analyses that are already there")
    return parser


if __name__ == "__main__":
    from sweeps.main import guarded
    from sweeps.terminal import console

    sys.exit(guarded(lambda: run(sys.argv[1:], console())))
