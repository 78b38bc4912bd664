"""`sweeps/export.py`: what the zip holds, and what it refuses. The database in it: tracking/test_portable.py."""

import io
import re
import zipfile
from pathlib import Path

import pytest
from mlflow.tracking._tracking_service import utils
from rich.console import Console

from sweeps import export
from sweeps.tracking.finished import best
from sweeps.tracking.spool import locked
from sweeps.tracking.store import Store
from tests.sweeps.finished import keep, trained
from trainables.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


@pytest.fixture
def results(store, tiny, tmp_path) -> Path:
    """The results of a study with a run of its own, and one that it has from another study."""
    files, _ = trained(tiny, (0,))
    own, other = keep(store, files, "a" * 64), keep(store, files, "b" * 64, "other")
    folder = tmp_path / "results" / "study"
    (folder / "analysis").mkdir(parents=True)
    (folder / "lr.csv").write_text(f"lr,MLflow run\n0.1,{own}\n0.2,{other}\n0.3,\n")
    (folder / "other.csv").write_text("a,b\n1,2\n")
    (folder / "analysis" / "figure.png").write_bytes(b"a figure")
    return folder


def pack(store, results, target, *more) -> tuple[int, str]:
    said = io.StringIO()
    places = ["--output", str(results.parent), "--tracking-uri", store.uri]
    return export.run([*(more or ("study",)), str(target), *places], Console(file=said, width=300)), said.getvalue()


def test_a_study_is_packed_whole_and_opens_elsewhere(store, results, tmp_path):
    status, said = pack(store, results, tmp_path / "study.zip")
    assert status == 0
    assert re.fullmatch(r".*study\.zip: \d+ files, 0\.\d MB; unpacked, it is a folder study\n", said)
    with zipfile.ZipFile(tmp_path / "study.zip") as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        archive.extractall(tmp_path / "elsewhere")
    assert all(name.startswith("study/") for name in names)
    assert {"study/results/study/lr.csv", "study/results/study/analysis/figure.png"} <= set(names)
    assert not [name for name in names if name.endswith((".lock", ".part"))]
    utils._artifact_repos_cache.clear()
    copy = Store(f"sqlite:///{tmp_path / 'elsewhere' / 'study' / 'mlflow.db'}")
    for study in ("study", "other"):
        [trial] = best(copy.finished(study), 1)
        assert copy.checkpoint(trial.run_id) == store.checkpoint(trial.run_id)
    assert not (tmp_path / ".study.zip.part").exists()


def test_in_a_terminal_it_is_said_what_it_is_at(store, results, tmp_path):
    text = io.StringIO()
    places = ["--output", str(results.parent), "--tracking-uri", store.uri]
    shown = Console(file=text, force_terminal=True, width=80, _environ={})
    assert export.run(["study", str(tmp_path / "study.zip"), *places], shown) == 0
    assert "packing study …" in text.getvalue()


def test_a_study_in_use_is_refused_and_leaves_nothing(store, results, tmp_path):
    with locked(results / ".spool" / "driver.lock"), pytest.raises(UserError, match="is in use by process"):
        pack(store, results, tmp_path / "study.zip")
    assert not list(tmp_path.glob("*.zip*"))


def test_what_cannot_be_packed_leaves_nothing(store, results, tmp_path):
    (results / "link").symlink_to("/etc/passwd")
    with pytest.raises(UserError, match="results/study/link is a link, and where it leads is not packed"):
        pack(store, results, tmp_path / "study.zip")
    assert not [path for path in tmp_path.iterdir() if "zip" in path.name]


def test_a_target_that_is_there_is_left_alone(store, results, tmp_path):
    (tmp_path / "study.zip").write_text("mine")
    with pytest.raises(UserError, match=r"study\.zip is there already; name another file, or remove it$"):
        pack(store, results, tmp_path / "study.zip")
    assert (tmp_path / "study.zip").read_text() == "mine"
    with pytest.raises(UserError, match=r"gone/study\.zip cannot be written: .*No such file or directory"):
        pack(store, results, tmp_path / "gone" / "study.zip")


def test_an_unknown_study_is_refused_with_the_nearest(store, results, tmp_path):
    with pytest.raises(UserError, match=r"has no study 'stduy'; did you mean 'study'\?"):
        pack(store, results, tmp_path / "x.zip", "stduy")
    with pytest.raises(UserError, match=r"^there is no folder .*results/other; --output names the one"):
        pack(store, results, tmp_path / "x.zip", "other")
    for study in ("../study", "..", ""):
        with pytest.raises(UserError, match="has no study"):
            pack(store, results, tmp_path / "x.zip", study)


def test_a_server_and_a_database_that_is_not_there_are_refused(results, tmp_path):
    places = ["study", str(tmp_path / "x.zip"), "--output", str(results.parent), "--tracking-uri"]
    with pytest.raises(UserError, match=r"^MLflow at http://127\.0\.0\.1:1 is a server; --tracking-uri sqlite"):
        export.run([*places, "http://127.0.0.1:1"], Console())
    with pytest.raises(UserError, match=r"^there is no database .*none\.db"):
        export.run([*places, f"sqlite:///{tmp_path / 'none.db'}"], Console())
    assert not (tmp_path / "none.db").exists()
