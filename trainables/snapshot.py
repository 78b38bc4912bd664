"""The layout of a trial's snapshot, for those who write it and for those who keep it. Needs no torch.

A snapshot is a mapping of file name to bytes, all of one epoch. trainables/checkpoint.py makes it and reads it; the
files that others add beside these, such as a picture of the filters, are kept with it.
"""

from __future__ import annotations

from trainables.files import unsealed, unzipped
from trainables.history import History

CURVES = "curves.json"  # every record of every replicate, and what it made of each image at its chosen epoch
PER_CLASS = "per_class.json"  # test score per class at each replicate's chosen epoch
CHECKPOINT = "checkpoint"  # the folder of what a finished model is loaded from: the next two
WEIGHTS = f"{CHECKPOINT}/weights.safetensors"  # at the chosen epochs; leading axis: replicate
TRIAL = f"{CHECKPOINT}/trial.json"  # the configuration, the class names, and per replicate its seed, epoch and metrics
STATE = "state.zip"  # all that training needs to go on: CURVES, the checkpoint, and a state_file() for each replicate


def state_file(seed: int) -> str:
    """Return the name that a replicate's weights, optimizer and random numbers have in the state."""
    return f"state/seed-{seed}.safetensors"


def curves(state: bytes) -> bytes:
    """Return the curves.json that is in a state. Raises ValueError where it is damaged, or has none."""
    files = unzipped(state)
    if CURVES not in files:
        raise ValueError(f"it has no {CURVES}")
    return files[CURVES]


def records(state: bytes) -> int:
    """Return the number of records in a state: of two states of a trial the one with more is newer.

    Raises ValueError where it is damaged.
    """
    return History.from_dict(unsealed(curves(state))).count
