"""A finished trial in a store, trained for an epoch on the tiny data."""

from __future__ import annotations

import json
from typing import Any

import torch

from sweeps.tracking.store import Store
from trainables.checkpoint import pack
from trainables.config import CNN, Training, Trial
from trainables.datasets import Dataset
from trainables.history import History
from trainables.replicate import replicate
from trainables.train import train

TRIAL = Trial(model=CNN(conv_layers=1, channels=4, fc_layers=1), training=Training(epochs=1))


def trained(data: Dataset, seeds: tuple[int, ...] = (0, 3), trial: Trial = TRIAL) -> tuple[dict[str, bytes], list[Any]]:
    """Return a trial's files as a run has them, and its networks."""
    members = [replicate(trial, data, seed, torch.device("cpu")) for seed in seeds]
    *_, epoch = train(trial, data, members, torch.device("cpu"))
    history = History({seed: (record,) for seed, record in zip(seeds, epoch.records, strict=True)})
    return pack(trial, data, members) | {"curves.json": json.dumps(history.to_dict()).encode()}, [
        m.model for m in members
    ]


def keep(store: Store, files: dict[str, bytes], key: str, study: str = "study", status: str = "done") -> str:
    """Keep a trial in a store and return its run."""
    tags = {"key": key, "status": status, "stage": "lr"}
    run = store.client.create_run(store.experiment_id(study), tags=tags, run_name=f"lr: {key[0]}").info.run_id
    for name, content in files.items():
        folder, _, file = name.rpartition("/")
        store.attach(run, folder, {file: content})
    return run
