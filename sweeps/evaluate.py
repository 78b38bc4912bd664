"""Score a finished model on labelled images that were handed over later, in the same format as the training data.

    python sweeps/evaluate.py RUN --dataset folder:data/handed_over

RUN is a run's id in MLflow (a column of every table's CSV), or a study's name: then it is the study's best trial on
validation. The folder holds a folder of images for each class, under the names that the model was trained with. Tables,
the confusion matrix and the numbers behind them go to results/evaluate/ and to the model's MLflow run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console

from sweeps.options import Parser


def run(arguments: Sequence[str], console: Console) -> int:
    """Score the model that the arguments name and return the exit status.

    Raises UserError for what the user can mend.
    """
    options = _parser().read(arguments)
    import torch

    from analysis.evaluation import evaluation
    from sweeps.interruption import held
    from sweeps.reporting.results import keep
    from sweeps.tracking.connection import resolve_uri
    from sweeps.tracking.finished import best, folder_name, model_name
    from sweeps.tracking.store import Store
    from trainables import checkpoint, datasets

    store = Store(resolve_uri(options.tracking_uri))
    [trial] = best(store.finished(options.run), 1)
    loaded = checkpoint.load(store.checkpoint(trial.run_id))
    shape, multi_label = tuple(loaded.info["image_shape"]), loaded.info["multi_label"]
    split = datasets.labelled(options.dataset, options.data_dir, loaded.class_names, shape, multi_label)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    finding = evaluation(loaded, split, options.dataset, model_name(trial), device)
    for line in finding.text:
        console.print(line, highlight=False)
    console.print(finding.tables["evaluation"].to_rich())
    name = f"evaluation/{folder_name(options.dataset)}"
    with held():
        store.attach(trial.run_id, name, finding.files())
    place = keep(options.output / "evaluate" / trial.run_id / folder_name(options.dataset), finding.files())
    console.print(f"files: {place} · MLflow: run {trial.run_id}, {name}/", highlight=False, soft_wrap=True)
    return 0


def _parser() -> Parser:
    from trainables.datasets import names

    parser = Parser(__doc__ or "")
    parser.add_argument("run", metavar="RUN", help="an MLflow run's id, or a study's name for its best trial")
    parser.add_argument(
        "--dataset", required=True, metavar="NAME", help=f"{', '.join(names())}; of one with parts: the test part"
    )
    parser.add_places()
    return parser


if __name__ == "__main__":
    from sweeps.main import guarded
    from sweeps.terminal import console

    sys.exit(guarded(lambda: run(sys.argv[1:], console())))
