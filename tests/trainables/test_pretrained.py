import hashlib
import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from torch import nn

from trainables import pretrained
from trainables.config import CNN, ResNet, Trial
from trainables.datasets import load as load_data
from trainables.errors import UserError
from trainables.models import build
from trainables.pretrained import check, fits, load, parse, read

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IMAGENETTE = (0, 217, 482, 491, 497, 566, 569, 571, 574, 701)  # its classes' numbers in ImageNet
SMALL = CNN(conv_layers=2, channels=(4, 6), padding=1, batch_norm=True, fc_layers=2, fc_widths=8)


@pytest.fixture(scope="session")
def real_weights() -> str:
    folder = Path(os.environ.get("CNN_SWEEPS_DATA", Path.home() / ".cache" / "cnn-sweeps-data"))
    path = folder / "weights" / "resnet18-imagenet-reconstructed.fp16.safetensors"
    if not path.is_file():
        pytest.skip(f"no {path.name} in {path.parent}; CNN_SWEEPS_DATA names another folder")
    return str(path)


def saved(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def small(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build(SMALL, (3, 8, 8), 5, *IMAGENET)


# --- read


def test_a_path_is_read_as_it_is(tmp_path):
    path = tmp_path / "mine.pt"
    path.write_bytes(b"content")
    assert read(str(path), tmp_path / "data") == b"content"


def test_what_is_no_file_of_weights_is_named(tmp_path):
    with pytest.raises(
        UserError, match=r"^weights are 'mine.pth', but there is no such file; give a path, or one of resnet18-imagenet"
    ):
        read("mine.pth", tmp_path)
    (tmp_path / "mine.onnx").touch()
    with pytest.raises(UserError, match=r"mine.onnx', but must be a file that ends in \.pth, \.pt, \.safetensors$"):
        read(str(tmp_path / "mine.onnx"), tmp_path)


def test_known_names_are_torchvisions_files(tmp_path):
    assert pretrained.KNOWN["resnet18-imagenet"] == torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url
    assert pretrained.KNOWN["resnet34-imagenet"] == torchvision.models.ResNet34_Weights.IMAGENET1K_V1.url
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "resnet34-b627a593.pth").write_bytes(b"there already")
    assert read("resnet34-imagenet", tmp_path) == b"there already"


def test_a_missing_known_file_is_downloaded_once_and_checked(tmp_path, monkeypatch):
    content = saved({"a": torch.ones(3)})
    good = tmp_path / f"net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    good.write_bytes(content)
    monkeypatch.setitem(pretrained.KNOWN, "resnet18-imagenet", good.as_uri())
    assert read("resnet18-imagenet", tmp_path / "data") == content
    good.unlink()
    assert read("resnet18-imagenet", tmp_path / "data") == content
    bad = tmp_path / "net-00000000.pth"
    bad.write_bytes(content)
    monkeypatch.setitem(pretrained.KNOWN, "resnet18-imagenet", bad.as_uri())
    with pytest.raises(UserError, match=r"could not be downloaded \(invalid hash value .*\); put file:"):
        read("resnet18-imagenet", tmp_path / "data")
    assert [path.name for path in (tmp_path / "data" / "weights").iterdir()] == [good.name]


def test_without_network_one_line_says_where_the_file_belongs(tmp_path, monkeypatch):
    monkeypatch.setitem(pretrained.KNOWN, "resnet18-imagenet", "http://127.0.0.1:9/resnet18-f37072fd.pth")
    with pytest.raises(UserError) as caught:
        read("resnet18-imagenet", tmp_path)
    assert "\n" not in str(caught.value)
    assert f"at {tmp_path / 'weights' / 'resnet18-f37072fd.pth'}, or give the path of a file" in str(caught.value)


# --- parse


def test_each_format_gives_the_tensors_by_name():
    tensors = {name: tensor.clone() for name, tensor in small().state_dict().items()}
    forms = {
        "a.pth": saved(tensors),
        "a.pt": saved({"epoch": 3, "state_dict": tensors}),
        "b.pt": saved(
            {name: nn.Parameter(tensor, requires_grad=tensor.is_floating_point()) for name, tensor in tensors.items()}
        ),
        "a.safetensors": safetensors.torch.save(tensors),
    }
    for name, content in forms.items():
        found = parse(name, content)
        assert found.keys() == tensors.keys()
        assert all(torch.equal(found[key], tensor) for key, tensor in tensors.items())


class Hostile:
    """A pickle that creates a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_hostile_pickle_is_refused_and_never_executed(tmp_path, protocol):
    path = tmp_path / "executed"
    hostile = {"conv1.weight": torch.ones(2), "extra": Hostile(path)}
    for content in (saved(hostile), pickle.dumps(Hostile(path), protocol)):
        with pytest.raises(
            UserError, match=r"^the weights 'a.pth' are refused: .* could run code;.*safetensors$"
        ) as caught:
            parse("a.pth", content)
        assert "\n" not in str(caught.value)
        assert not path.exists()
        pickle.loads(pickle.dumps(Hostile(path)))  # noqa: S301
        assert path.exists()  # the pickle is hostile indeed
        path.unlink()


def test_a_whole_module_is_refused():
    with pytest.raises(UserError, match="save the network's state_dict"):
        parse("a.pt", saved(nn.Linear(2, 2)))


def test_a_zip_bomb_is_refused_before_it_is_unpacked():
    whole, bomb = saved({"a": torch.zeros(25_000_000)}), io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    content = bomb.getvalue()
    assert len(content) < 200_000
    with pytest.raises(
        UserError, match=r"^the weights 'a.pth' are refused: the file of 9\d,\d+ bytes would unpack to 100,00\d,\d+"
    ):
        parse("a.pth", content)
    assert len(torch.load(io.BytesIO(content), weights_only=True)["a"]) == 25_000_000  # it is a bomb indeed


def safetensors_file(header: object, body: bytes = b"", size: int | None = None) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + body


@pytest.mark.parametrize(
    "content",
    [
        safetensors_file({}, size=2**60),
        safetensors_file({"a": {"dtype": "F32", "shape": [2**60], "data_offsets": [0, 2**62]}}, bytes(8)),
        safetensors_file({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}, bytes(8)),
        safetensors_file(
            {name: {"dtype": "F32", "shape": [2], "data_offsets": [at, at + 8]} for name, at in (("a", 0), ("b", 4))},
            bytes(12),
        ),
        safetensors_file({"a": {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}}, bytes(8)),
        safetensors_file({"a": {"dtype": "F4", "shape": [8], "data_offsets": [0, 4]}}, bytes(4)),
        safetensors_file("[" * 100_000),
    ],
    ids=["header of 2^60", "overflow", "beyond the end", "overlap", "negative", "no type of torch", "no header"],
)
def test_a_hostile_safetensors_file_is_refused(content):
    with pytest.raises(UserError, match=r"^the weights 'a.safetensors' are damaged: ") as caught:
        parse("a.safetensors", content)
    assert "\n" not in str(caught.value)


def test_a_claimed_storage_that_is_not_there_is_refused():
    old, new = io.BytesIO(saved({"a": torch.zeros(4)})), io.BytesIO()
    with zipfile.ZipFile(old) as small, zipfile.ZipFile(new, "w") as claimed:
        for entry in small.infolist():  # BININT1 4 becomes BININT 2^31 - 1: the storage's length and the tensor's shape
            claimed.writestr(entry.filename, small.read(entry).replace(b"K\x04", b"J" + struct.pack("<i", 2**31 - 1)))
    with pytest.raises(UserError, match=r"^the weights 'a.pth' are damaged"):
        parse("a.pth", new.getvalue())


def test_a_damaged_file_is_named_in_one_line():
    tensors = {"a": torch.ones(1000)}
    whole = {"a.pth": saved(tensors), "a.safetensors": safetensors.torch.save(tensors)}
    noise = np.random.default_rng(0)
    for name, content in whole.items():
        for damaged in (content[:-10], content[:50], b"", b"hello", b"<html>", *(noise.bytes(200) for _ in range(50))):
            with pytest.raises(UserError, match=f"^the weights '{name}' are (damaged|refused)") as caught:
                parse(name, damaged)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (torch.ones(3), r"are of type Tensor, but must be tensors by name$"),
        ([torch.ones(3)], r"are of type list, but must be tensors by name$"),
        (
            {"epoch": 3, "model": {}},
            r"must be tensors by name, or hold them as 'state_dict', but 'epoch' is of type int$",
        ),
        ({3: torch.ones(3)}, r"must be tensors by name, or hold them as 'state_dict', but 3 is of type Tensor$"),
        ({"state_dict": 3}, r"are of type int, but must be tensors by name$"),
    ],
)
def test_anything_but_tensors_by_name_is_named(content, reason):
    with pytest.raises(UserError, match=f"^the weights 'a.pth' {reason}"):
        parse("a.pth", saved(content))


# --- fits and load


def test_what_fits_is_copied_and_the_rest_keeps_its_initialisation():
    given = {name: tensor.clone() for name, tensor in small(1).state_dict().items()}
    given["head.bias"] = torch.zeros(7)
    given["other"] = torch.ones(1)
    given["normalize.mean"] += 1
    del given["hidden.0.linear.weight"]
    given["blocks.0.convs.0.1.num_batches_tracked"] += 41
    network, fresh = small(2), small(2)
    report = load(network, given)
    assert (report.missing, report.unexpected, report.misshapen) == (
        ("hidden.0.linear.weight",),
        ("other",),
        ("head.bias",),
    )
    own = network.state_dict()
    kept = ("hidden.0.linear.weight", "head.bias", "normalize.mean", "normalize.sd")
    assert sorted((*report.loaded, *kept)) == sorted(own)
    for name, tensor in own.items():
        assert torch.equal(tensor, (fresh.state_dict() if name in kept else given)[name]), name
    assert report.summary == (
        f"{len(own) - 4} of {len(own) - 2} tensors loaded; missing: hidden.0.linear.weight; "
        "misshapen: head.bias (7, not 5); unexpected: other"
    )
    assert report == fits(network, given)
    assert json.loads(json.dumps(report.to_dict()))["shapes"] == ["7, not 5"]


def test_a_long_list_is_shortened():
    given = {"head.bias": torch.zeros(5)} | {f"other{n}": torch.ones(1) for n in range(7)}
    assert fits(small(), given).summary.endswith("misshapen: none; unexpected: other0, other1, other2 and 4 more")


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_any_float_becomes_the_networks(kind):
    given = {
        name: tensor.to(kind) if tensor.is_floating_point() else tensor
        for name, tensor in small(1).state_dict().items()
    }
    network = small(2).to(memory_format=torch.channels_last)
    load(network, given)
    parameters = {name for name, _ in network.named_parameters()}
    for name, tensor in network.state_dict().items():
        if name in parameters:
            assert tensor.dtype == torch.float32
            assert torch.equal(tensor, given[name].float())


def test_other_names_are_turned_into_the_networks():
    given = {f"module.{name.replace('blocks', 'stack')}": tensor for name, tensor in small(1).state_dict().items()}
    network = small(2)
    report = load(network, given, ((r"^module\.", ""), (r"stack\.(\d)", r"blocks.\1")))
    assert not report.missing + report.unexpected + report.misshapen
    assert all(
        torch.equal(tensor, given[f"module.{name.replace('blocks', 'stack')}"])
        for name, tensor in network.state_dict().items()
    )


def test_torchvisions_own_weights_fit_but_for_another_head():
    torch.manual_seed(0)
    theirs, ours = torchvision.models.resnet18(), build(ResNet(18), (3, 32, 32), 10)
    report = load(ours, parse("a.pth", saved(theirs.state_dict())))
    assert report.summary == (
        "120 of 122 tensors loaded; missing: none; misshapen: fc.bias (1000, not 10), fc.weight (1000×512, not "
        "10×512); unexpected: none"
    )
    ours.fc = theirs.fc
    pixels = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(ours.eval()(pixels), theirs.eval()(pixels), rtol=1e-4, atol=1e-4)


def test_where_nothing_fits_two_names_of_each_side_are_shown():
    with pytest.raises(UserError) as caught:
        fits(small(), {"module.b": torch.ones(2, 3), "module.a": torch.ones(1), "normalize.mean": torch.ones(3)})
    assert str(caught.value) == (
        "none of the weights fits the network: they have module.a (1) and module.b (2×3), the network has "
        "blocks.0.convs.0.0.bias (4) and "
        "blocks.0.convs.0.0.weight (4×3×3×3); rename, pairs of a regular expression and its replacement, can turn "
        "their names into the "
        "network's"
    )
    with pytest.raises(UserError, match=r"they have head\.bias \(7\), the network"):
        load(small(), {"head.bias": torch.zeros(7)})
    with pytest.raises(UserError, match="they have nothing, the network"):
        fits(small(), {})


def test_rename_keeps_names_distinct_and_must_make_sense():
    tensors = {"a.head.bias": torch.zeros(5), "b.head.bias": torch.zeros(5)}
    with pytest.raises(UserError, match=r"^rename turns both 'a.head.bias' and 'b.head.bias' into 'head.bias', but"):
        fits(small(), tensors, ((r"^.\.", ""),))
    for replacement in (r"\2", r"\g<name>"):
        with pytest.raises(UserError, match="which cannot replace 'head'"):
            fits(small(), tensors, (("head", replacement),))


def test_a_trials_weights_are_checked_without_building_its_network(tiny):
    trial = Trial("tiny", CNN(conv_layers=1, fc_layers=1), weights="a.pth", rename=(("^net[.]", ""),))
    whole = build(trial.model, tiny.image_shape, tiny.classes).state_dict()
    report = check(trial, tiny, {f"net.{name}": tensor for name, tensor in whole.items()})
    assert report.summary == "4 of 4 tensors loaded; missing: none; misshapen: none; unexpected: none"


@pytest.mark.data
def test_real_weights_are_loaded_exactly_and_know_imagenet(real_weights, real_data, tmp_path):
    tensors = parse(real_weights, read(real_weights, real_data))
    network = build(ResNet(18), (3, 224, 224), 1000, *IMAGENET).eval()
    assert (
        load(network, tensors).summary == "122 of 122 tensors loaded; missing: none; misshapen: none; unexpected: none"
    )
    own = network.state_dict()
    assert all(torch.equal(own[name], tensor.to(own[name].dtype)) for name, tensor in tensors.items())
    test = load_data(f"folder:{real_data / 'imagenette-small'}", tmp_path).test
    some = slice(None, None, 5)
    with torch.inference_mode():
        guesses = network(torch.from_numpy(test.images[some].copy()).permute(0, 3, 1, 2)).argmax(dim=1).numpy()
    assert np.mean(guesses == np.take(IMAGENETTE, test.labels[some])) > 0.6  # published 0.698, over all 1000 classes
