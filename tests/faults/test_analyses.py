"""Analyses of a study as a real process: MLflow dies while they run; weights and findings are damaged."""

import csv
from pathlib import Path

import pytest

from sweeps.tracking.findings import findings_in
from sweeps.tracking.finished import model_name
from sweeps.tracking.store import Store
from tests.faults.site import FAULT, TRIALS, Server, Site, command, until

pytestmark = FAULT

JOBS = ("contact_sheet", "mistakes")
ASKING = f"""
from dataclasses import replace
STUDY = replace(STUDY, analyses={{name: {{}} for name in {JOBS}}})
"""
# waits with the first finding in hand until the file `go` is there
WAITING = """
import pathlib, time
from sweeps.tracking import findings

def keep(*given, _keep=findings.keep):
    pathlib.Path("found").touch()
    while not pathlib.Path("go").exists():
        time.sleep(0.1)
    return _keep(*given)

findings.keep = keep
"""
ALL_THERE = f"analyses done already, and not done again: {len(JOBS)}"


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path)
    yield server
    server.kill()


@pytest.mark.parametrize("deliverer", ["sync.py", "the same command"])
def test_findings_of_a_server_that_died_while_analyses_ran_are_kept_and_delivered(tmp_path, server, deliverer):
    site = Site(tmp_path, server.uri, epochs=2, before=ASKING + WAITING)
    server.start()
    process = site.start()
    until((tmp_path / "found").exists)
    server.kill()
    (tmp_path / "go").touch()
    status, said = site.end(process)
    assert status == 1, said
    assert "Traceback" not in said
    by_hand = f"python sweeps/sync.py --output {tmp_path / 'results'} --tracking-uri {site.uri}"
    assert f"the rest is in {site.spool}: the same command delivers it, or `{by_hand}`" in said
    assert said.count("MLflow does not take findings now") == 1
    assert len(findings_in(site.spool)) == len(JOBS)
    report = (site.results / "report.html").read_text()
    assert all(f"<h3>{title}: " in report for title in ("Images", "Mistakes"))

    server.start()
    if deliverer == "sync.py":
        status, said = command("sync.py", "--output", str(tmp_path / "results"), "--tracking-uri", site.uri)
        assert (status, said) == (0, f"hurt: {len(JOBS)} of {len(JOBS)} findings delivered to {site.uri}\n")
    status, said = site.run()
    assert status == 0, said
    assert ALL_THERE in said
    assert f"nothing to run: all {TRIALS} trials are done already" in said
    assert findings_in(site.spool) == []


def artifacts(site: Site, run_id: str) -> Path:
    return site.folder / "mlruns" / "hurt" / run_id / "artifacts"


def best(site: Site) -> str:
    """Return the run of the study's best trial on validation."""
    tables = ((site.results / f"{stage}.csv").read_text().splitlines() for stage in ("lr", "width"))
    rows = [row for table in tables for row in csv.DictReader(table)]
    return max(rows, key=lambda row: float(row["validation acc %"]))["MLflow run"]


def test_damaged_weights_and_findings_cost_the_questions_on_them_alone(tmp_path):
    site = Site(tmp_path, epochs=2)
    assert site.run()[0] == 0
    run_id = best(site)
    weights = artifacts(site, run_id) / "checkpoint" / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    site.script.write_text(site.script.read_text().replace("if __name__", f"{ASKING}\nif __name__"))
    status, said = site.run()
    assert status == 1, said
    assert "Traceback" not in said
    [trial] = Store(site.uri).finished(run_id)
    model = model_name(trial)
    damaged = "has no model that can be read: checkpoint/weights.safetensors is not whole: "
    why = f"failed: run {run_id} ({trial.name}) {damaged}"
    assert [said.count(f"{job} of {model}: {why}") for job in JOBS] == [1, 1]
    assert (site.results / "report.html").read_text().count("Failed: run ") == len(JOBS)

    # the other models answer
    places = ("--output", str(tmp_path / "results"), "--tracking-uri", site.uri, "--num-cpus", "2")
    status, said = command("analyse.py", "hurt", "--top", "2", "--jobs", "contact_sheet", *places)
    assert status == 1, said
    assert (said.count("contact_sheet of hurt, "), said.count(": done\n"), said.count(why)) == (2, 1, 1)

    weights.write_bytes(whole)
    assert site.run()[0] == 0
    [finding] = artifacts(site, run_id).glob("analysis/mistakes-*/finding.json")
    content = finding.read_bytes()
    finding.write_bytes(content[:-9])
    status, said = site.run()
    assert status == 0, said
    assert f"mistakes of {model}: its stored finding is damaged and is made again (" in said
    assert said.count(": done\n") == 1
    assert finding.read_bytes() == content
    status, said = site.run()
    assert (status, ALL_THERE in said) == (0, True), said


def test_a_server_that_is_away_is_waited_for_by_the_commands_that_ask(tmp_path, server):
    places = ("--output", str(tmp_path / "results"), "--tracking-uri", server.uri)
    for words in (("analyse.py", "hurt"), ("evaluate.py", "hurt", "--dataset", "shapes")):
        status, said = command(*words, *places)
        assert status == 2, said
        waiting, error = said.splitlines()
        assert waiting == f"MLflow at {server.uri} does not answer; waiting for it, up to 60 s"
        assert error.startswith(f"error: cannot read MLflow at {server.uri}: ")
