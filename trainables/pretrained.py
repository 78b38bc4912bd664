"""Pretrained weights: a file becomes tensors by name, and a network starts from those that fit it by name and shape.

    resnet18-imagenet, resnet34-imagenet   torchvision's weights, from DATA_DIR/weights; downloaded there where missing
    PATH                                   your own file: .pth or .pt (a state dict that torch.save wrote), .safetensors

Where its names are not the network's, `rename` turns them into those. Normalisation is never loaded: it is that of the
training images.
"""

from __future__ import annotations

import io
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from trainables.config import Trial
from trainables.datasets import Dataset
from trainables.errors import UserError
from trainables.models import build

KNOWN: dict[str, str] = {  # torchvision's: name → URL; the file's name ends in the beginning of its SHA-256
    "resnet18-imagenet": "https://download.pytorch.org/models/resnet18-f37072fd.pth",
    "resnet34-imagenet": "https://download.pytorch.org/models/resnet34-b627a593.pth",
}
SUFFIXES = (".pth", ".pt", ".safetensors")
ZIP = b"PK"  # how files of torch.save begin since torch 1.6
SHOWN = 3  # names of each kind in a summary

Rename = Sequence[tuple[str, str]]  # (regular expression, replacement), applied to each name of the file in order


@dataclass(frozen=True)
class Report:
    """Which of some weights fit a network: names of tensors, sorted.

    The network's `normalize.*` come from its data and are left out.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]  # the network's alone; they keep their fresh initialisation, as do the misshapen
    unexpected: tuple[str, ...]  # the weights' alone
    misshapen: tuple[str, ...]
    shapes: tuple[str, ...]  # of each misshapen tensor, as in "1000×512, not 10×512"

    @property
    def summary(self) -> str:
        """The whole report in one line."""
        total = len(self.loaded) + len(self.missing) + len(self.misshapen)
        misshapen = [f"{name} ({shapes})" for name, shapes in zip(self.misshapen, self.shapes, strict=True)]
        rest = {"missing": self.missing, "misshapen": misshapen, "unexpected": self.unexpected}
        parts = [f"{kind}: {_shortened(names)}" for kind, names in rest.items()]
        return "; ".join([f"{len(self.loaded)} of {total} tensors loaded", *parts])

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


def read(name: str, data_dir: Path) -> bytes:
    """Return the file of weights that `name` stands for: a known name, or a path from the working directory.

    Raises UserError where there is no such file, where its suffix is not one of SUFFIXES, and where a known one can be
    neither found nor downloaded.
    """
    if name in KNOWN:
        return _published(name, data_dir).read_bytes()
    path = Path(name).expanduser()
    if not path.is_file():
        raise UserError(f"weights are {name!r}, but there is no such file; give a path, or one of {', '.join(KNOWN)}")
    if path.suffix not in SUFFIXES:
        raise UserError(f"weights are {name!r}, but must be a file that ends in {', '.join(SUFFIXES)}")
    return path.read_bytes()


def parse(name: str, content: bytes) -> dict[str, Tensor]:
    """Return the tensors by name, on the CPU, of the file that `read` returned for `name`. Nothing in it is executed.

    Where a .pth or .pt file holds more than the weights, they are its entry `state_dict`. Raises UserError for a
    damaged file, for one that wants to run code or unpacks to more than its size, and for anything but tensors by name.
    """
    if name.endswith(".safetensors"):
        try:
            return load_safetensors(content)
        except (safetensors.SafetensorError, KeyError) as error:  # KeyError: a type of numbers that torch does not have
            raise UserError(f"the weights {name!r} are damaged: {error}") from error
    tensors = _unpickled(name, content)
    if isinstance(tensors, Mapping):
        tensors = tensors.get("state_dict", tensors)
    if not isinstance(tensors, Mapping):
        raise UserError(f"the weights {name!r} are of type {type(tensors).__name__}, but must be tensors by name")
    for key, value in tensors.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise UserError(
                f"the weights {name!r} must be tensors by name, or hold them as 'state_dict', but {key!r} is of type "
                f"{type(value).__name__}"
            )
    return dict(tensors)


def check(trial: Trial, data: Dataset, tensors: Mapping[str, Tensor]) -> Report:
    """Compare weights with the trial's network on `data`, which is not built. Raises UserError as `fits` does."""
    with torch.device("meta"):
        network = build(trial.model, trial.training.input_shape(data.image_shape), data.classes)
    return fits(network, tensors, trial.rename)


def fits(network: nn.Module, tensors: Mapping[str, Tensor], rename: Rename = ()) -> Report:
    """Compare by name and shape; the network may be on the meta device.

    Raises UserError where nothing fits, and where `rename` gives two tensors the same name.
    """
    own, given = _without_normalize(network.state_dict()), _renamed(tensors, rename)
    both = own.keys() & given.keys()
    misshapen = sorted(name for name in both if own[name].shape != given[name].shape)
    if len(misshapen) == len(both):
        raise UserError(
            f"none of the weights fits the network: they have {_examples(given)}, the network has {_examples(own)}; "
            "rename, pairs of a regular expression and its replacement, can turn their names into the network's"
        )
    return Report(
        loaded=tuple(sorted(both - set(misshapen))),
        missing=tuple(sorted(own.keys() - both)),
        unexpected=tuple(sorted(given.keys() - both)),
        misshapen=tuple(misshapen),
        shapes=tuple(f"{_shape(given[name])}, not {_shape(own[name])}" for name in misshapen),
    )


def load(network: nn.Module, tensors: Mapping[str, Tensor], rename: Rename = ()) -> Report:
    """Copy what fits into the network, in place and in its own types; the rest keeps its initialisation.

    Raises UserError as `fits` does.
    """
    report = fits(network, tensors, rename)
    given = _renamed(tensors, rename)
    network.load_state_dict({name: given[name] for name in report.loaded}, strict=False)
    return report


def _published(name: str, data_dir: Path) -> Path:
    """Return torchvision's file, downloaded if need be; what is downloaded is checked against the hash in its name."""
    url = KNOWN[name]
    path = data_dir / "weights" / url.rpartition("/")[2]
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=path.stem.rpartition("-")[2], progress=False)
        except (OSError, RuntimeError) as error:  # no network, or a wrong hash
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise UserError(
                f"the weights {name!r} could not be downloaded ({reason}); put {url} at {path.absolute()}, or give "
                "the path of a file"
            ) from error
    return path


def _unpickled(name: str, content: bytes) -> object:
    try:
        if content.startswith(ZIP) and (unpacked := _unpacked_size(content)) > len(content):
            raise UserError(
                f"the weights {name!r} are refused: the file of {len(content):,} bytes would unpack to {unpacked:,}, "
                "as no file of torch.save does; save the network's state_dict() with torch.save, or as .safetensors"
            )
        with warnings.catch_warnings():  # about old pickle protocols, which at worst end in an error
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"the weights {name!r} are refused: they are more than tensors by name, and reading the rest could run "
            "code; save the network's state_dict() with torch.save, or as .safetensors"
        ) from error
    except UserError:
        raise
    except Exception as error:  # of bytes that are not a pickle at all, torch.load may raise anything
        raise UserError(f"the weights {name!r} are damaged, or not a file of torch.save") from error


def _unpacked_size(content: bytes) -> int:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def _renamed(tensors: Mapping[str, Tensor], rename: Rename) -> dict[str, Tensor]:
    origin: dict[str, str] = {}
    for name in tensors:
        new = name
        for pattern, replacement in rename:
            try:
                new = re.sub(pattern, replacement, new)
            except (re.error, IndexError) as error:  # a group that the pattern lacks
                raise UserError(f"rename holds {replacement!r}, which cannot replace {pattern!r}: {error}") from error
        if new in origin:
            raise UserError(
                f"rename turns both {origin[new]!r} and {name!r} into {new!r}, but names must stay distinct"
            )
        origin[new] = name
    return _without_normalize({new: tensors[name] for new, name in origin.items()})


def _without_normalize(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith("normalize.")}


def _examples(tensors: Mapping[str, Tensor]) -> str:
    return " and ".join(f"{name} ({_shape(tensors[name])})" for name in sorted(tensors)[:2]) or "nothing"


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "scalar"


def _shortened(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more or "none"
