"""The one door for trained models: a trial's snapshot as small files, and the way back.

A snapshot is a mapping of file name to bytes, ready for a folder, an object store or MLflow:

    curves.json                      every record of every replicate, and what it made of each image at its chosen epoch
    per_class.json                   test score per class at each replicate's chosen epoch
    checkpoint/weights.safetensors   each replicate's weights at its chosen epoch; leading axis: replicate
    checkpoint/trial.json            config, class names, normalisation, versions, the weights' SHA-256; by replicate:
                                     seed, epoch, metrics
    state.zip                        what training needs to go on: curves.json, the checkpoint, and for each replicate
                                     state/seed-<n>.safetensors with its weights, optimizer and random numbers, and what
                                     is held beside the chosen epoch (trainables/replicate.py)

The state is one file with a checksum, so that all of it is of the same epoch, and it is used whole or not at all.
curves.json and trial.json have checksums too (trainables/files.py); those of earlier versions have none, and are read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from trainables.config import Trial
from trainables.datasets import Dataset
from trainables.devices import random_numbers_after
from trainables.errors import UserError
from trainables.files import LARGEST_FILE, parsed, read, sealed, unsealed, unzipped, zipped
from trainables.history import History, chosen_epoch
from trainables.marks import Marks
from trainables.models import Network, build
from trainables.replicate import Held, Replicate, Weights, optimizer_tensors, replicate, restore_optimizer
from trainables.snapshot import CURVES, PER_CLASS, STATE, TRIAL, WEIGHTS, state_file

log = logging.getLogger(__name__)

Files = Mapping[str, bytes]
WEIGHTS_DIGEST = "weights_sha256"  # in TRIAL


class CheckpointError(UserError):
    """A checkpoint is damaged or incomplete, or does not fit the configuration it names."""


@dataclass(frozen=True)
class Checkpoint:
    """A finished trial, ready to be examined: one network per replicate, in the order of the seeds."""

    trial: Trial
    models: tuple[Network, ...]  # on the CPU, in evaluation mode
    class_names: tuple[str, ...]
    info: dict[str, Any]  # trial.json as it stands


def pack(trial: Trial, data: Dataset, replicates: list[Replicate]) -> dict[str, bytes]:
    """Return the snapshot of replicates that have each run at least one epoch."""
    chosen = {member.seed: member.chosen for member in replicates}
    names = replicates[0].chosen.weights
    stacked = {name: torch.stack([held.weights[name] for held in chosen.values()]).contiguous() for name in names}
    weights = save_tensors(stacked)
    marks = {seed: held.marks for seed, held in chosen.items() if held.marks}
    files = pack_records(History({member.seed: tuple(member.records) for member in replicates}, marks), data) | {
        TRIAL: sealed(_describe(trial, data, replicates) | {WEIGHTS_DIGEST: _digest(weights)}, indent=1),
        WEIGHTS: weights,
    }
    states = {state_file(member.seed): _pack_state(member) for member in replicates}
    return files | {STATE: zipped({name: files[name] for name in (CURVES, TRIAL, WEIGHTS)} | states)}


def pack_records(history: History, data: Dataset) -> dict[str, bytes]:
    """Return the part of a snapshot that holds records and no weights: of replicates with at least one record each."""
    best = {seed: rows[chosen_epoch([row.val_score for row in rows]) - 1] for seed, rows in history.records.items()}
    per_class = {seed: dict(zip(data.class_names, at.class_score, strict=True)) for seed, at in best.items()}
    return {CURVES: sealed(history.to_dict(), indent=1), PER_CLASS: json.dumps(per_class, indent=1).encode()}


def size(replicates: list[Replicate]) -> int:
    """Return how many bytes pack() gives to weights and optimizers at most, of replicates that have run an epoch."""
    return sum(
        3 * sum(tensor.nbytes for tensor in member.chosen.weights.values())  # in the checkpoint, and twice in the state
        + sum(tensor.nbytes for tensor in member.model.state_dict().values())
        + sum(tensor.nbytes for tensor in optimizer_tensors(member.optimizer).values())
        for member in replicates
    )


def history(files: Files) -> History:
    """Return the snapshot's records. Raises CheckpointError where it has none."""
    form = _read_json(files, CURVES)
    with _told(f"{CURVES} is not whole"):
        return History.from_dict(form)


def unpack(
    state: bytes,
    trial: Trial,
    data: Dataset,
    seeds: tuple[int, ...],
    device: torch.device,
    weights: Weights | None = None,
    say: Callable[[str], None] = log.warning,
) -> list[Replicate]:
    """Return the replicates of `seeds` as a snapshot's state left them.

    Those that it lacks come untrained, or with pretrained `weights`; those that it has beside `seeds` come too, so that
    the next snapshot loses nothing. An empty state has none. `say` gets a line where the state is of another kind of
    device, whose random numbers cannot go on here. Raises CheckpointError where it is damaged, or does not fit.
    """
    if not state:
        return [replicate(trial, data, seed, device, weights) for seed in seeds]
    try:
        files = unzipped(state)
    except ValueError as error:
        raise CheckpointError(f"{STATE} is {error}") from error
    what = f"{STATE} is of no such trial"
    with _told(what):
        done, stacked = history(files), _tensors(files, WEIGHTS)
        described = _read_json(files, TRIAL)["replicates"]
    members = [replicate(trial, data, seed, device, weights) for seed in sorted({*seeds, *done.seeds})]
    with _told(what):
        for member in members:
            if member.seed in done.seeds:
                member.records = list(done.records[member.seed])
                at = [entry["seed"] for entry in described].index(member.seed)
                best = {name: tensor[at] for name, tensor in stacked.items()}
                chosen = Held(described[at]["epoch"], best, done.marks.get(member.seed))
                _unpack_state(_tensors(files, state_file(member.seed)), member, chosen, device, say)
    return members


def load(source: Path | Files) -> Checkpoint:
    """Load the best weights from a folder that holds `weights.safetensors` and `trial.json`, or from a snapshot.

    Raises CheckpointError naming the missing file, what makes no sense in it, or the missing, unexpected and misshapen
    tensors.
    """
    files = _read_folder(source) if isinstance(source, Path) else source
    stacked, info = _tensors(files, WEIGHTS), _read_json(files, TRIAL)
    digest = info.pop(WEIGHTS_DIGEST, None)
    with _told(f"{TRIAL} describes no checkpoint"):
        _check_description(info)
        loaded = _as_described(info, stacked)
    if digest not in (None, _digest(_bytes(files, WEIGHTS))):
        raise CheckpointError(f"{WEIGHTS} is not whole: its checksum is not the one in {TRIAL}")
    return loaded


def _check_description(info: dict[str, Any]) -> None:
    """Raise ValueError or KeyError for what does not describe a network and its data, beside what building it shows."""
    info.setdefault("multi_label", False)  # there was no other data once
    kinds = {"config": dict, "data_digest": str, "class_names": list, "image_shape": list, "multi_label": bool}
    for name, kind in (kinds | {"mean": list, "sd": list, "replicates": list}).items():
        if not isinstance(info[name], kind):
            raise ValueError(f"{name} is {info[name]!r:.40}")
    if not all(isinstance(name, str) for name in info["class_names"]):
        raise ValueError("class_names holds something that is not a name")
    if [type(side) for side in info["image_shape"]] != [int, int, int] or min(info["image_shape"]) < 1:
        raise ValueError(f"image_shape is {info['image_shape']!r:.40}")
    if not all(type(value) in (int, float) and math.isfinite(value) for value in (*info["mean"], *info["sd"])):
        raise ValueError("mean or sd holds something that is not a number")
    if not all(type(entry["seed"]) is int for entry in info["replicates"]):
        raise ValueError("the replicates' seeds are not whole numbers")


def _as_described(info: dict[str, Any], stacked: Weights) -> Checkpoint:
    trial = Trial.from_dict(info["config"])
    shape = trial.training.input_shape(tuple(info["image_shape"]))
    names, mean, sd = tuple(info["class_names"]), tuple(info["mean"]), tuple(info["sd"])
    with torch.device("meta"):  # takes no memory, whatever the description claims
        own = build(trial.model, shape, len(names), mean, sd).state_dict()
    _check_fit(own, {name: tensor[0] for name, tensor in stacked.items()})
    if {len(tensor) for tensor in stacked.values()} != {len(info["replicates"])}:
        raise ValueError(f"it has {len(info['replicates'])} replicates, and the weights another number")
    models = []
    for index in range(len(info["replicates"])):
        model = build(trial.model, shape, len(names), mean, sd)
        model.load_state_dict({name: tensor[index] for name, tensor in stacked.items()})
        models.append(model.eval())
    return Checkpoint(trial, tuple(models), names, info)


def _describe(trial: Trial, data: Dataset, replicates: list[Replicate]) -> dict[str, Any]:
    chosen = [(member, member.chosen.epoch) for member in replicates]
    return {
        "config": trial.to_dict(),
        "data_digest": data.digest,
        "class_names": data.class_names,
        "image_shape": data.image_shape,
        "multi_label": data.multi_label,
        "mean": data.mean,
        "sd": data.sd,
        "replicates": [
            {"seed": member.seed, "epoch": epoch, "metrics": asdict(member.records[epoch - 1])}
            for member, epoch in chosen
        ],
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": version("torchvision"),
        },
    }


def _pack_state(member: Replicate) -> bytes:
    tensors = {f"model.{name}": tensor for name, tensor in member.model.state_dict().items()}
    tensors |= {f"optimizer.{name}": tensor for name, tensor in optimizer_tensors(member.optimizer).items()}
    tensors |= {"rng": member.rng}
    # what is held of the chosen epoch is in the checkpoint, and the newest one's weights are the model's
    if member.newest is not member.chosen:
        tensors |= _pack_marks("newest", member.newest)
    elif member.settled:
        tensors |= {f"settled.weights.{name}": tensor for name, tensor in member.settled.weights.items()}
        tensors |= {"settled.epoch": torch.tensor(member.settled.epoch)} | _pack_marks("settled", member.settled)
    return save_tensors({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})


def _pack_marks(name: str, held: Held | None) -> Weights:
    """Return the marks of what is held, as a tensor of bytes; none where it has none."""
    if held is None or held.marks is None:
        return {}
    # not the score on the training images: of an epoch that was never chosen it is not known either
    content = json.dumps(replace(held.marks, fit=None).to_dict()).encode()
    return {f"{name}.marks": torch.frombuffer(bytearray(content), dtype=torch.uint8)}


def _unpack_marks(name: str, tensors: Weights) -> Marks | None:
    packed = tensors.get(f"{name}.marks")
    return None if packed is None else Marks.from_dict(parsed(packed.numpy().tobytes()))


def _unpack_state(
    tensors: Weights, member: Replicate, chosen: Held, device: torch.device, say: Callable[[str], None]
) -> None:
    _load_strictly(member.model, _below("model.", tensors))
    restore_optimizer(member.optimizer, _below("optimizer.", tensors))
    _take_held(tensors, member, chosen)
    if tensors["rng"].shape == member.rng.shape:
        member.rng = tensors["rng"]
    else:
        member.rng = random_numbers_after(member.seed, member.epoch, device)
        say(
            f"seed {member.seed} was trained on another kind of device up to epoch {member.epoch}: its random numbers "
            f"begin anew on {device.type}"
        )


def _take_held(tensors: Weights, member: Replicate, chosen: Held) -> None:
    """Have a replicate hold what it held: the chosen epoch, and the other that may still be chosen.

    What an earlier version left has the chosen epoch alone, by the best single score, and no marks.
    """
    if chosen.epoch < member.epoch:
        weights = _below("model.", tensors)
        member.settled, member.newest = chosen, Held(member.epoch, weights, _unpack_marks("newest", tensors))
        return
    member.newest = chosen
    if weights := _below("settled.weights.", tensors):
        member.settled = Held(int(tensors["settled.epoch"]), weights, _unpack_marks("settled", tensors))


def _below(prefix: str, tensors: Weights) -> Weights:
    """Return the tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _load_strictly(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    _check_fit(model.state_dict(), tensors)
    model.load_state_dict(dict(tensors))


def _check_fit(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    wrong = {
        "missing": sorted(own.keys() - tensors.keys()),
        "unexpected": sorted(tensors.keys() - own.keys()),
        "misshapen": sorted(name for name in own.keys() & tensors.keys() if own[name].shape != tensors[name].shape),
    }
    if any(wrong.values()):
        kinds = (f"{kind} {', '.join(names)}" for kind, names in wrong.items() if names)
        raise CheckpointError(f"the weights do not fit: {'; '.join(kinds)}")


def _tensors(files: Files, name: str) -> Weights:
    content = _bytes(files, name)
    with _told(f"{name} is not whole"):
        return load_tensors(content)


def _read_json(files: Files, name: str) -> dict[str, Any]:
    content = _bytes(files, name)
    with _told(f"{name} is not whole"):
        return unsealed(content)


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn whatever goes wrong meanwhile into a CheckpointError of one line: damage provokes errors of every kind."""
    try:
        yield
    except (CheckpointError, MemoryError, torch.OutOfMemoryError):  # for want of memory, a trial is tried again
        raise
    except Exception as error:
        kind = "" if type(error) in (ValueError, UserError) else f"{type(error).__name__}: "
        raise CheckpointError(f"{what}: {kind}{' '.join(str(error).split()):.300}") from error


def _bytes(files: Files, name: str) -> bytes:
    if name not in files:
        raise CheckpointError(f"the checkpoint has no {name}; it has {', '.join(sorted(files)) or 'nothing'}")
    return files[name]


def _read_folder(folder: Path) -> dict[str, bytes]:
    places = {name: folder / Path(name).name for name in (WEIGHTS, TRIAL)}
    with _told(f"{folder} holds no checkpoint"):
        return {name: read(path, LARGEST_FILE) for name, path in places.items() if path.exists()}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
