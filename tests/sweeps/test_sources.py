import sys
from types import SimpleNamespace

import pytest

from sweeps import sources
from sweeps.reporting.provenance import Provenance
from sweeps.sources import Source, command
from sweeps.tracking.notes import read_note
from sweeps.tracking.store import TAG_LENGTH

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


@pytest.fixture
def source(store):
    return Source(store, "study", lambda line: pytest.fail(line))


def test_what_begins_and_ends_is_read_again_as_it_was(source, store, monkeypatch):
    moments = iter([10.0, 20.0, 30.0])
    monkeypatch.setattr(sources, "time", SimpleNamespace(time=lambda: next(moments)))
    monkeypatch.setattr(sys, "argv", ["sweeps/part_a.py", "--seeds", "3"])
    source.read()
    assert source.known == Provenance()
    source.begin("trials run on the CPU", "abc")
    source.end({"key": ["it hung"]})
    other = Source(store, "study", print)
    other.read()
    assert other.known == source.known
    assert (other.known.began, other.known.ended, other.known.commit) == (10.0, 20.0, "abc")
    assert other.known.command == "python sweeps/part_a.py --seeds 3"
    assert other.known.machine.endswith(" cores; trials run on the CPU")
    assert {"python", "torch", "ray", "mlflow"} <= other.known.versions.keys()
    assert other.known.restarts == {"key": ("it hung",)}
    other.begin("elsewhere", "def")
    assert (other.known.began, other.known.commit) == (10.0, "def")  # the first trials are still the first


def test_of_an_earlier_version_s_study_its_runs_tell_when_and_from_which_commit(source, store):
    tags = {"status": "done", "git_commit": "abc"}
    run = store.client.create_run(store.experiment_id("study"), start_time=1000, tags=tags)
    store.client.set_terminated(run.info.run_id, end_time=5000)
    source.read()
    assert source.known == Provenance(1.0, 5.0, commit="abc")


def test_what_cannot_be_kept_is_said_and_costs_nothing_else(store):
    said = []
    source = Source(store, "study", said.append)
    source.end({"key": ["x" * TAG_LENGTH]})
    assert read_note(store, "study") == ""
    assert said[0].startswith("warning: where the trials come from is not kept: a note of ")


def test_a_command_is_as_it_was_typed_from_this_folder(monkeypatch, tmp_path):
    (tmp_path / "my study.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "my study.py"), "--stages", "a b"])
    assert command() == "python 'my study.py' --stages 'a b'"
    passing = ["--priority", "-1", "--notify=https://x.org/secret", "--seeds", "3", "--share", "0.5"]
    monkeypatch.setattr(sys, "argv", ["part_a.py", *passing, "--notify", "mail me", "--fresh"])
    assert command() == "python part_a.py --seeds 3 --fresh"
    monkeypatch.setattr(sys, "argv", ["part_a.py", "--for", "2h", "--budget", "9", "--until", "decided"])
    assert command() == "python part_a.py --for 2h --budget 9 --until decided"
    monkeypatch.setattr(sources, "in_notebook", lambda: True)
    assert command() == ""
