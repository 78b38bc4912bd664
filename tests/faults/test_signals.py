"""The driver is asked to stop: at every moment, and in every way in which a user or a machine does it."""

import os
import re
import signal
import subprocess
import time

import pytest

from sweeps.interruption import LINE
from sweeps.tracking.store import Store
from tests.faults.site import FAULT, Site, until

pytestmark = FAULT

ANALYSED = """
from dataclasses import replace
STUDY = replace(STUDY, analyses={"mistakes": {"count": 4}, "feature_maps": {}})
"""


def running(site: Site) -> list[str]:
    """Return the names of the runs that MLflow shows as under way."""
    if not site.folder.joinpath("mlflow.db").exists():
        return []
    store = Store(site.uri)
    experiment = store.client.get_experiment_by_name("hurt")
    runs = store.client.search_runs([experiment.experiment_id]) if experiment else []
    return [run.info.run_name for run in runs if run.info.status == "RUNNING"]


def orphans(process: subprocess.Popen) -> list[str]:
    """Return the processes that a driver has left behind: they are in its session, or say where its files are."""
    lines = subprocess.run(["ps", "-wweo", "sid,pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in lines.splitlines()[1:] if int(line.split()[0]) == process.pid]


def stopped(site: Site, process: subprocess.Popen, how: int = signal.SIGINT) -> str:
    """Ask a driver to stop. Check that it does, says so in a line, and leaves nothing; return all that it said."""
    os.kill(process.pid, how)
    status, said = site.end(process, timeout=120)
    assert status == 130, said
    lines = said.splitlines()
    assert lines.count(LINE) == 1, said
    assert not re.search(r"Traceback|Exception ignored|Error|\bray", said), said
    until(lambda: not orphans(process), 20)
    assert running(site) == []
    return said


def test_at_every_moment_of_the_start(site):
    """But for the first hundredths of a second, which are Python's own."""
    for tenths in (1, *range(2, 40, 2)):
        process = site.start()
        time.sleep(tenths / 10)
        stopped(site, process)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_while_ray_starts(site, how):
    for part in range(0, 6, 2):
        process = site.start()
        until(lambda: site.processes(process, "gcs_server"))  # noqa: B023
        time.sleep(0.5 * part)
        stopped(site, process, how)


@pytest.mark.parametrize("tenths", range(0, 120, 12))
def test_from_the_last_epoch_to_the_end(site, tenths):
    """Drain, tables, figures, report, analyses, Ray's end, Python's end."""
    site.script.write_text(site.script.read_text().replace("if __name__", ANALYSED + "if __name__"))
    process = site.start("--epochs", "1")
    until(lambda: "width: 12: done" in site.said.read_text())
    time.sleep(tenths / 10)
    process.send_signal(signal.SIGINT)
    status, said = site.end(process, timeout=120)
    assert (status, said.count(LINE)) in {(130, 1), (0, 0)}, said
    assert not [word for word in ("Traceback", "Exception ignored", "Error") if word in said], said
    assert running(site) == []
