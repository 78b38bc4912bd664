"""Score a finished model on labelled images that were handed over later, in the same format as the training data.

    python sweeps/evaluate.py RUN --dataset folder:data/handed_over

RUN is a run's id in MLflow (a column of every table's CSV), or a study's name: then it is the study's best trial on
validation. The folder holds a folder of images for each class, under the names that the model was trained with. Tables,
the confusion matrix and the numbers behind them go to results/evaluate/ and to the model's MLflow run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from sweeps.options import Parser
from sweeps.terminal import busy
from trainables.errors import UserError

if TYPE_CHECKING:
    from sweeps.tracking.findings import Place
    from sweeps.tracking.store import Store


def run(arguments: Sequence[str], console: Console) -> int:
    """Score the model that the arguments name and return the exit status: 0, or 1 where MLflow has not got the result.

    Raises UserError for what the user can mend.
    """
    options = _parser().read(arguments)
    with busy(console, "loading PyTorch"):
        import torch

        from analysis.evaluation import evaluation
        from sweeps.reporting.results import keep
        from sweeps.tracking.connection import resolve_uri
        from sweeps.tracking.finished import best, folder_name, load, model_name
        from sweeps.tracking.store import Store
        from trainables import datasets

    say = partial(console.print, highlight=False, soft_wrap=True)
    store = Store(resolve_uri(options.tracking_uri))
    with busy(console, f"asking MLflow for {options.run}"):
        [trial] = store.patiently(lambda: best(store.finished(options.run), 1), say)
    loaded = load(store, trial)
    shape, multi_label = tuple(loaded.info["image_shape"]), loaded.info["multi_label"]
    split = datasets.labelled(options.dataset, options.data_dir, loaded.class_names, shape, multi_label)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    finding = evaluation(loaded, split, options.dataset, model_name(trial), device)
    for line in finding.text:
        console.print(line, highlight=False)
    console.print(finding.tables["evaluation"].to_rich())
    files, results = finding.files(), options.output / "evaluate"
    name = folder_name(options.dataset)
    place = keep(results / trial.run_id / name, files)
    say(f"files: {place} · MLflow: run {trial.run_id}, evaluation/{name}/")
    return _deliver(store, results / ".spool", (trial.run_id, f"evaluation/{name}"), files, say)


def _deliver(store: Store, spool: Path, place: Place, files: Mapping[str, bytes], say: Callable[[str], None]) -> int:
    """Give MLflow the result, and what it has not got of earlier ones; return 1 where something is left.

    Raises UserError where the disk does not take it.
    """
    from sweeps.interruption import held
    from sweeps.tracking.findings import advice, deliver_findings, findings_in
    from sweeps.tracking.findings import keep as keep_for_mlflow

    try:
        keep_for_mlflow(spool, place, files)
    except OSError as error:
        raise UserError(f"the result cannot be kept for MLflow in {spool}: {error.strerror}") from error
    with held():
        left = deliver_findings(store, findings_in(spool))
    for line in [*left.away, *left.refused, *left.damaged]:
        say(f"warning: {line}")
    if not left.away and not left.refused:
        return 0
    say(advice(spool, store.uri))
    return 1


def _parser() -> Parser:
    from trainables.datasets import names

    parser = Parser(__doc__ or "")
    parser.add_argument("run", metavar="RUN", help="an MLflow run's id, or a study's name for its best trial")
    parser.add_argument(
        "--dataset",
        required=True,
        metavar="NAME",
        help=f"{', '.join(names())}; where it has parts, the test part is used",
    )
    parser.add_places()
    return parser


if __name__ == "__main__":
    from sweeps.main import guarded
    from sweeps.terminal import console

    sys.exit(guarded(lambda: run(sys.argv[1:], console())))
