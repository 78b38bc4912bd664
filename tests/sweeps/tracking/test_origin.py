import getpass
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import mlflow
import pytest

from sweeps.tracking import origin
from sweeps.tracking.origin import check_data_set, data_input, data_set, tags


@pytest.fixture
def git(monkeypatch):
    """Return a function that says what git answers."""

    def answers(text: str, status: int = 0) -> None:
        done = subprocess.CompletedProcess((), status, text, "")
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)

    return answers


def test_a_run_names_its_program_its_user_and_its_commit(monkeypatch, git):
    git("a" * 40 + "\n")
    monkeypatch.setattr(sys, "argv", ["sweeps/part_a.py", "--quick"])
    monkeypatch.setattr(getpass, "getuser", lambda: "ada")
    assert tags() == {
        "mlflow.source.name": "sweeps/part_a.py",
        "mlflow.source.type": "LOCAL",
        "mlflow.user": "ada",
        "git_commit": "a" * 40,
        "mlflow.source.git.commit": "a" * 40,
        "mlflow.source.git.dirty": "false",
    }
    git("a" * 40 + "-dirty\n")
    assert (tags()["git_commit"], tags()["mlflow.source.git.dirty"]) == ("a" * 40, "true")


def test_what_is_not_known_is_left_out(monkeypatch, git):
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    git("", status=128)
    monkeypatch.setattr(sys, "argv", [""])
    monkeypatch.setattr(getpass, "getuser", nobody)
    assert tags() == {"mlflow.source.name": "python", "mlflow.source.type": "LOCAL"}


def test_a_notebook_is_called_one(monkeypatch, git):
    git("", status=128)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=1)))
    assert tags()["mlflow.source.type"] == "NOTEBOOK"
    assert tags()["mlflow.source.name"] == "notebook"


@pytest.mark.skipif(not (Path(__file__).parents[3] / ".git").exists(), reason="this is no checkout")
def test_git_says_which_commit_this_is():
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, check=True)
    assert tags()["git_commit"] == head.stdout.decode().strip()


def test_mlflow_finds_the_source_of_a_data_set_again():
    data = data_set("folder:" + "x" * 600, "0123456789abcdef" * 4, (3, 8, 8), {"training": 5})
    made = data_input(data)
    assert len(made.dataset.name) == 500
    assert made.dataset.digest == ("0123456789abcdef" * 4)[:12]
    assert mlflow.data.get_source(made).to_dict()["tags"]["digest"] == "0123456789abcdef" * 4
    assert [(tag.key, tag.value) for tag in made.tags] == [("mlflow.data.context", "training")]
    assert data.keys() == origin.FIELDS


def test_what_is_no_data_set_is_refused():
    check_data_set({})
    check_data_set(data_set("a", "b", (1, 2, 3), {}))
    with pytest.raises(ValueError, match="dataset has the entries 'name, colour'"):
        check_data_set({"name": "a", "colour": "b"})
