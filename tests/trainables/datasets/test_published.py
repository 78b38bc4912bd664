"""Files are used only once they are what their publishers say."""

from urllib.error import URLError

import pytest

from tests.trainables.datasets.builders import md5, refusal
from trainables.datasets.published import download, sized, verified
from trainables.errors import UserError


@pytest.mark.parametrize(("name", "kind"), [("cifar10", "CIFAR10"), ("fashion_mnist", "FashionMNIST")])
def test_missing_data_without_network_says_where_and_what_to_do(tmp_path, monkeypatch, name, kind):
    torchvision_datasets = pytest.importorskip("torchvision.datasets")

    def no_network(*_, **__):
        raise URLError("Name or service not known")

    monkeypatch.setattr(torchvision_datasets, kind, no_network)
    message = refusal(name, tmp_path)
    assert str(tmp_path) in message
    assert "Name or service not known" in message
    assert "--data-dir" in message


def test_bytes_are_checked_by_size_then_by_md5(tmp_path):
    path = tmp_path / "a.bin"
    with pytest.raises(UserError, match=rf"^{path} is missing; put it there, or delete {tmp_path} to have"):
        verified(path, md5(b"abc"))
    path.write_bytes(b"abc")
    assert (
        sized(path, 3) == sized(path, None) == verified(path, md5(b"abc"), 3) == verified(path, md5(b"abc")) == b"abc"
    )
    with pytest.raises(UserError, match=rf"^{path} has 3 bytes, must have 4,000; delete {tmp_path} to have"):
        verified(path, md5(b"abc"), 4000)
    with pytest.raises(
        UserError, match=rf"^{path} is corrupt: its md5 is {md5(b'abc')}, must be {md5(b'abd')}; delete"
    ):
        verified(path, md5(b"abd"), 3)


def test_torchvision_is_asked_by_name(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("torchvision.datasets.MNIST", lambda *where, **which: asked.append((where, which)))
    download("MNIST", tmp_path, "nothing", part="train")
    assert asked == [((tmp_path,), {"download": True, "part": "train"})]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(RuntimeError("File not found:\nlong story"), "File not found"), (OSError(), "OSError")],
)
def test_a_reason_is_one_line_and_an_error_without_words_is_named(tmp_path, monkeypatch, error, reason):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr("torchvision.datasets.MNIST", fails)
    with pytest.raises(UserError) as caught:
        download("MNIST", tmp_path, "no MNIST")
    assert str(caught.value).startswith(f"no MNIST in {tmp_path}, and MNIST could not be downloaded ({reason}); ")
