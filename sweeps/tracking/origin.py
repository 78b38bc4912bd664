"""Where a run comes from, in the words that MLflow's own pages read: source, user, commit, and the data set."""

from __future__ import annotations

import getpass
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

FIELDS = {"name", "digest", "source_type", "source", "schema", "profile"}  # of MLflow's `Dataset`
DIGEST = 12  # characters of a data set's digest that a run shows; MLflow takes 36
NAME = 500  # and of its name


def tags() -> dict[str, str]:
    """Return the tags that say from which program, whose, and from which commit the runs of this process come."""
    root = Path(__file__).resolve().parent
    describe = ("git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    git = subprocess.run(describe, capture_output=True, text=True, check=False)
    commit, changed, _ = git.stdout.strip().partition("-dirty")
    known = {"mlflow.user": user()}
    if git.returncode == 0:
        dirty = "true" if changed else "false"
        known |= {"git_commit": commit, "mlflow.source.git.commit": commit, "mlflow.source.git.dirty": dirty}
    return _source() | {name: value for name, value in known.items() if value}


def data_set(name: str, digest: str, image_shape: tuple[int, int, int], images: Mapping[str, int]) -> dict[str, str]:
    """Return a data set as a run's input: the fields of MLflow's `Dataset`.

    `image_shape` is (C, H, W), `images` how many there are, by part of the data. MLflow takes the beginning of a
    digest; the source has all of it.
    """
    channels, height, width = image_shape
    spec = {"type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": [-1, height, width, channels]}}
    return {
        "name": name[:NAME],
        "digest": digest[:DIGEST],
        "source_type": "code",
        "source": json.dumps({"tags": {"name": name, "digest": digest}}),
        "schema": json.dumps({"mlflow_tensorspec": {"features": json.dumps([spec]), "targets": None}}),
        "profile": json.dumps({"num_rows": sum(images.values())} | dict(images)),
    }


def check_data_set(data: Mapping[str, str]) -> None:
    """Raise ValueError for texts that are not of data_set()'s form; none at all are."""
    if data and data.keys() != FIELDS:
        raise ValueError(f"dataset has the entries {', '.join(data)!r:.100}")


def data_input(data: Mapping[str, str]) -> DatasetInput:
    """Return data_set()'s answer as MLflow takes it."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    return DatasetInput(Dataset(**data), [InputTag("mlflow.data.context", "training")])


def in_notebook() -> bool:
    """Tell whether this process is a notebook's kernel; one that has merely imported IPython is none."""
    python = sys.modules.get("IPython")
    return python is not None and getattr(python.get_ipython(), "kernel", None) is not None


def _source() -> dict[str, str]:
    if in_notebook():
        return {"mlflow.source.name": "notebook", "mlflow.source.type": "NOTEBOOK"}
    return {"mlflow.source.name": sys.argv[0] or "python", "mlflow.source.type": "LOCAL"}


def user() -> str:
    """Return the user's name; "" where this machine does not know it, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""
