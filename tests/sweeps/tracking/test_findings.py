"""Findings on their way to a real sqlite store, which is away, refuses, or takes them. No Ray, no server."""

from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from sweeps.tracking import findings
from sweeps.tracking.artifacts import Unreadable
from sweeps.tracking.findings import (
    LAST,
    OUTAGES,
    Kept,
    Left,
    advice,
    deliver_findings,
    findings_in,
    keep,
    stored,
    waiting,
)
from tests import damage
from trainables.files import zipped

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")

FILES = {LAST: b'{"job": "j"}', "a.csv": b"1", "a.png": bytes(range(256))}


@pytest.fixture
def run(store) -> str:
    return store.client.create_run(store.experiment_id("study"), tags={"key": "a" * 64}).info.run_id


@pytest.fixture
def spool(tmp_path) -> Path:
    return tmp_path / "results" / "study" / ".spool"


def away(*_):
    raise MlflowException("API request failed: connection refused")  # as its client says it


def names(store, run_id, folder) -> set[str]:
    return {Path(each.path).name for each in store.client.list_artifacts(run_id, folder)}


def test_what_is_kept_is_delivered_once_and_then_gone(store, run, spool):
    for folder in ("analysis/x-1", "analysis/x-2", "evaluation/later"):
        keep(spool, (run, folder), FILES)
    assert len(findings_in(spool)) == 3
    assert deliver_findings(store, findings_in(spool)) == Left()
    assert findings_in(spool) == []
    assert [store.attached(run, folder) for folder in ("analysis/x-1", "evaluation/later")] == [FILES, FILES]
    assert deliver_findings(store, findings_in(spool)) == Left()


def test_the_file_that_says_it_is_whole_is_sent_last(store, run, spool, monkeypatch):
    sent = []
    monkeypatch.setattr(store, "attach", lambda *place: sent.append((place[:2], sorted(place[2]))))
    keep(spool, (run, "analysis/x"), FILES)
    deliver_findings(store, findings_in(spool))
    assert sent == [((run, "analysis/x"), ["a.csv", "a.png"]), ((run, "analysis/x"), [LAST])]


def test_a_newer_finding_takes_the_place_of_the_one_that_waits(run, spool):
    place, other = (run, "analysis/x"), (run, "analysis/y")
    keep(spool, place, FILES)
    keep(spool, other, FILES)
    newer = FILES | {"a.csv": b"2"}
    path = keep(spool, place, newer)
    assert len(findings_in(spool)) == 2
    assert waiting(spool, place) == (path, newer)
    assert keep(spool, place, newer) == path  # the same again is the same file
    assert waiting(spool, (run, "analysis/z")) is None


def test_what_mlflow_does_not_take_while_it_is_away_stays(store, run, spool, monkeypatch):
    for number in range(5):
        keep(spool, (run, f"analysis/{number}"), FILES)
    tried = []
    monkeypatch.setattr(store, "attach", lambda *place: tried.append(place) or away())
    left = deliver_findings(store, findings_in(spool))
    assert (len(left.away), left.refused, left.damaged) == (5, [], [])
    assert len(tried) == OUTAGES  # an outage is not waited for again and again
    assert len(findings_in(spool)) == 5
    assert "connection refused" in left.away[0]
    monkeypatch.undo()
    assert deliver_findings(store, findings_in(spool)) == Left()
    assert len(store.client.list_artifacts(run, "analysis")) == 5


def test_one_that_alone_looks_like_an_outage_holds_up_no_other(store, run, spool, monkeypatch):
    paths = [keep(spool, (run, f"analysis/{number}"), FILES) for number in range(3)]
    attach, bad = store.attach, Kept.read(min(paths)).place
    monkeypatch.setattr(store, "attach", lambda *place: away() if place[:2] == bad else attach(*place))
    left = deliver_findings(store, findings_in(spool))
    assert [line.partition(":")[0] for line in left.away] == [f"{bad[1]} of run {run}"]
    assert findings_in(spool) == [min(paths)]


def test_one_that_mlflow_refuses_costs_only_itself(store, run, spool):
    gone = "0" * 32
    refused, _ = keep(spool, (gone, "analysis/x"), FILES), keep(spool, (run, "analysis/x"), FILES)
    left = deliver_findings(store, findings_in(spool))
    [line] = left.refused
    assert line.startswith(f"analysis/x of run {gone} is refused by MLflow and stays in {refused}: MlflowException: ")
    assert findings_in(spool) == [refused]
    assert store.attached(run, "analysis/x") == FILES


def test_a_delivery_that_broke_off_is_repeated(store, run, spool, monkeypatch):
    attach = store.attach

    def broken(run_id, folder, files):
        if LAST in files:
            away()
        attach(run_id, folder, files)

    keep(spool, (run, "analysis/x"), FILES)
    monkeypatch.setattr(store, "attach", broken)
    assert len(deliver_findings(store, findings_in(spool)).away) == 1
    assert names(store, run, "analysis/x") == {"a.csv", "a.png"}
    monkeypatch.undo()
    assert deliver_findings(store, findings_in(spool)) == Left()
    assert store.attached(run, "analysis/x") == FILES


def test_what_is_kept_again_while_it_is_sent_stays(store, run, spool, monkeypatch):
    """Two processes in one folder: the one that sends removes what it has sent, not what came since."""
    place, newer, attach = (run, "analysis/x"), FILES | {"a.csv": b"2"}, store.attach
    monkeypatch.setattr(store, "attach", lambda *call: (attach(*call), keep(spool, place, newer)))
    keep(spool, place, FILES)
    assert deliver_findings(store, findings_in(spool)) == Left()
    assert waiting(spool, place) == (findings_in(spool)[0], newer)


def test_what_another_process_has_delivered_is_no_trouble(store, run, spool):
    path = keep(spool, (run, "analysis/x"), FILES)
    path.unlink()
    assert deliver_findings(store, [path]) == Left()


def test_a_damaged_file_in_the_spool_is_one_line_and_is_left_alone(store, run, spool):
    place = (run, "analysis/x")
    path = keep(spool, place, FILES)
    whole = path.read_bytes()
    read, refused = damage.survey(damage.any_of(whole, most=300), lambda content: _read(path, content))
    assert read == {}
    assert len(refused) > 600
    damage.make_huge(path, whole)
    assert waiting(spool, place) is None
    left = deliver_findings(store, findings_in(spool))
    assert len(left.damaged) == 1
    assert left.damaged[0].startswith(f"{path} cannot be read and is left alone: ValueError: ")
    assert path.exists()


def _read(path: Path, content: bytes) -> Kept:
    path.write_bytes(content)
    return Kept.read(path)


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"about.json": b"[]"},
        {"about.json": b'{"run_id": 1, "folder": "analysis/x"}', f"files/{LAST}": b""},
        {"about.json": b'{"run_id": "r", "folder": ""}', f"files/{LAST}": b""},
        {"about.json": b'{"run_id": "r", "folder": "../x"}', f"files/{LAST}": b""},
        {"about.json": b'{"run_id": "r", "folder": "/x"}', f"files/{LAST}": b""},
        {"about.json": b'{"run_id": "r", "folder": "x"}', "files/a.csv": b""},
        {"about.json": b'{"run_id": "r", "folder": "x"}', f"files/{LAST}": b"", "files/../../x": b""},
        {"about.json": b"[" * 100_000, f"files/{LAST}": b""},
    ],
)
def test_what_another_hand_has_put_there_is_no_finding(tmp_path, members):
    """With a checksum that fits."""
    with pytest.raises(ValueError, match=r"."):
        _read(tmp_path / "x.zip", zipped(members))


def test_mlflow_is_asked_once_what_a_run_has(store, run, monkeypatch):
    for number in range(3):
        store.attach(run, f"analysis/{number}", FILES)
    listed = []
    of = findings.Artifacts.of

    class Noted(findings.Artifacts):
        def listed(self, folder=""):
            listed.append(folder)
            return super().listed(folder)

    monkeypatch.setattr(findings.Artifacts, "of", lambda *where: Noted(of(*where).repository))
    places = [(run, f"analysis/{number}") for number in (0, 1, 7, 8)]
    found = stored(store, [*places, places[0]])
    assert {place: future.result() for place, future in found.items()} == dict(
        zip(places, (FILES, FILES, {}, {}), strict=True)
    )
    assert sorted(listed) == ["analysis", "analysis/0", "analysis/1"]


def test_what_one_run_cannot_tell_is_no_other_run_s_trouble(store, run, tmp_path):
    store.attach(run, "analysis/x", FILES)
    store.attach(run, "analysis/y", FILES)
    link = tmp_path / "mlruns" / "study" / run / "artifacts" / "analysis" / "y" / "a.png"
    link.unlink()
    link.symlink_to(tmp_path / "mlflow.db")
    found = stored(store, [(run, "analysis/x"), (run, "analysis/y"), ("0" * 32, "analysis/x")])
    whole, linked, gone = found.values()
    assert whole.result() == FILES
    assert isinstance(linked.exception(), Unreadable)
    assert isinstance(gone.exception(), MlflowException)


def test_the_advice_can_be_pasted_into_a_shell():
    line = advice(Path("/my results/study/.spool"), "http://127.0.0.1:1")
    by_hand = "python sweeps/sync.py --output '/my results' --tracking-uri http://127.0.0.1:1"
    assert line == (
        "MLflow does not have everything yet; the rest is in /my results/study/.spool: the same command delivers it, "
        f"or `{by_hand}`"
    )


def test_a_kept_finding_is_found_by_later_versions(tmp_path):
    """Its name and form are in users' spools, and must stay."""
    about = b'{"run_id": "r", "folder": "analysis/x"}'
    path = tmp_path / "findings" / "9ee2c9ece57c99518502174542eff15c-ad9374e6efb31833.zip"
    path.parent.mkdir()
    path.write_bytes(zipped({"about.json": about, "files/finding.json": b"{}"}))
    assert waiting(tmp_path, ("r", "analysis/x")) == (path, {LAST: b"{}"})
    assert keep(tmp_path, ("r", "analysis/x"), {LAST: b"{}"}) == path
