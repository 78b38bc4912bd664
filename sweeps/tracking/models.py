"""A trial's model as a logged model of MLflow, which `mlflow.pyfunc` and `mlflow.pytorch` load without a pickle.

For the first it is the checkpoint as it lies in the run, safetensors and JSON, with the code that reads it
(trainables/served.py); for the second an exported program, which runs without that code. Both take the same images.
All of it follows from what MLflow has, so that nothing is kept for a store that is away: the next start logs it.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.decisions.outcome import Outcome
from sweeps.interruption import held
from sweeps.tracking import origin
from sweeps.tracking.connection import is_refusal, pages
from sweeps.tracking.spool import milliseconds
from sweeps.tracking.store import Store
from sweeps.tracking.summary import STEP
from trainables.errors import UserError
from trainables.files import write_whole
from trainables.snapshot import CHECKPOINT

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.models import ModelSignature

    from trainables.checkpoint import Checkpoint

TRAINED = "trained"  # the tag: what the model is after, so that the same one is not logged twice
NAME = "model"
CHOSEN = "chosen_"  # how the metrics begin that are the model's own: at the epoch that its weights are of
PROGRAM = "program"  # the folder of the exported program
EXPORTED = "model.pt2"  # the file in it, as mlflow.pytorch looks for it
REQUIREMENTS = ("numpy", "pandas", "pyyaml", "safetensors", "torch", "torchvision")  # of `trainables`, to load it

Exported = Callable[[], bytes | None] | None


def best_of(winners: Mapping[str, Outcome]) -> Outcome:
    """Return the best of a study's winners on validation."""
    return max(winners.values(), key=lambda outcome: outcome.score)


def log_best(
    store: Store,
    winners: Mapping[str, Outcome],
    runs: Mapping[str, str],
    say: Callable[[str], None],
    program: Exported = None,
) -> bool:
    """Have the model of the best of a study's winners on validation among the logged models; `runs` are theirs, by key.

    Where MLflow does not take it now, say so and return False. Signals wait meanwhile, two seconds at best. `program`
    returns the exported program, where another process makes it; None where that has failed.
    """
    if not winners:
        return True
    best = best_of(winners)
    trained = f"seeds {', '.join(map(str, best.history.seeds))}; {best.history.epochs} epochs"
    try:
        with held(), store.readable():
            log_model(store, runs[best.key], trained, program)
    except UserError as error:
        say(f"warning: the best model is not among MLflow's logged models: {error}")
        return isinstance(error.__cause__, Exception) and is_refusal(error.__cause__)  # a server before 3.0 has none
    return True


def log_model(store: Store, run_id: str, trained: str, program: Exported = None) -> str:
    """Have a run's model among the logged models, and return its id: the one that it has, if that is `trained` so.

    It may be repeated: what was broken off is gone on with. Raises what MLflow raises, CheckpointError and Unreadable.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric

    client, run = store.client, store.client.get_run(run_id)
    model = _logged(store, run.info.experiment_id, run_id, trained)
    if model and model.status == LoggedModelStatus.READY:
        return str(model.model_id)
    tags = {TRAINED: trained, "key": run.data.tags["key"]} | origin.tags()
    params = dict(run.data.params)
    model = model or client.create_logged_model(run.info.experiment_id, NAME, run_id, tags, params, "pytorch")
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), store.checkpoint(run_id), run_id, model.model_id, program)
        client.log_model_artifacts(model.model_id, f"{folder}/{NAME}")
    now = milliseconds()
    chosen = {name: value for name, value in run.data.metrics.items() if name.startswith(CHOSEN)}
    scores = [Metric(name, value, now, STEP, model_id=model.model_id) for name, value in chosen.items()]
    client.log_batch(run_id, scores)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    return str(model.model_id)


def _logged(store: Store, experiment: str, run_id: str, trained: str) -> LoggedModel | None:
    """Return the model that a run has logged after so much training, ready or not; None where there is none."""
    search = store.client.search_logged_models
    found = pages(search, experiment_ids=[experiment], filter_string=f"source_run_id = '{run_id}'")
    return next((model for model in found if model.tags.get(TRAINED) == trained), None)


def _write(folder: Path, files: dict[str, bytes], run_id: str, model_id: str, program: Exported) -> None:
    """Write the model as MLflow lays one out, into a folder named NAME."""
    from importlib.metadata import version

    import torch

    import trainables
    from trainables.checkpoint import load
    from trainables.served import exported

    checkpoint = load(files)
    for name, content in files.items():
        write_whole(folder / name, content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes of MLflow's own; and that there is no example beside the signature
        import mlflow.pyfunc
        from mlflow.models import Model

        model = Model(run_id=run_id, model_id=model_id)
        model.add_flavor("pytorch", model_data=PROGRAM, pytorch_version=str(torch.__version__), code=None)
        mlflow.pyfunc.save_model(
            folder / NAME,
            loader_module="trainables.served",
            data_path=folder / CHECKPOINT,
            code_paths=[str(Path(str(trainables.__file__)).parent)],
            mlflow_model=model,
            signature=_signature(checkpoint),
            # without what says for which device a package was built: torch 2.13.0+cpu is not in the index
            pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS],
        )
        write_whole(folder / NAME / PROGRAM / EXPORTED, (program and program()) or exported(checkpoint))


def _signature(checkpoint: Checkpoint) -> ModelSignature:
    """Return what goes in and comes out: uint8 (N, H, W, C), and a probability for each class."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, Schema, TensorSpec

    channels, height, width = checkpoint.info["image_shape"]
    images = Schema([TensorSpec(np.dtype("uint8"), (-1, height, width, channels))])
    return ModelSignature(images, Schema([ColSpec("double", name) for name in checkpoint.class_names]))
