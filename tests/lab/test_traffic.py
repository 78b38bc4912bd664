"""Several studies on one cluster by priority and share: two workers with two cores each. Some five minutes."""

import json
from typing import Any

import pytest

from tests.lab.hosts import NEEDS_LAB, ROOT, Lab, until

pytestmark = NEEDS_LAB
CORES = 2  # of each worker: four trials at once
PLACE = "--no-early-stopping --output /root/results"
LONG = "python tests/lab/wide.py --epochs 400"  # six trials


@pytest.fixture(autouse=True)
def _ids_can_be_used_again(lab):
    yield
    lab.operator("ray job stop first; ray job stop second; ray job delete first; ray job delete second")


def live(lab: Lab, study: str) -> dict[str, Any]:
    """Return where the command that runs a study stands; nothing before its trials run."""
    text = lab.head(f"cat /root/results/{study}/live.json 2>/dev/null || echo '{{}}'")
    return json.loads(text)


def running(lab: Lab, study: str) -> int:
    return len(live(lab, study).get("running", []))


def test_a_study_of_lower_priority_gives_way_between_epochs_and_goes_on_later(lab):
    lab.submit(f"{LONG} --priority -1 {PLACE}", name="first")
    until(lambda: running(lab, "wide") == 4)
    lab.submit(f"python tests/lab/wide.py --quick --epochs 20 {PLACE}", name="second")
    until(lambda: running(lab, "wide_quick") == 4)
    assert running(lab, "wide") == 0
    seen = {each["study"]: (each["priority"], each["may"]) for each in live(lab, "wide")["traffic"]}
    assert seen == {"wide": (-1, 0.0), "wide_quick": (0, 4.0)}
    assert lab.ended("second")[0] == 0
    until(lambda: running(lab, "wide") == 4)
    lab.operator("ray job stop first")
    runs = {run["name"]: run for run in lab.told("wide")}
    begun = [run["steps"] for run in runs.values() if run["steps"]]
    assert len(begun) >= 4
    assert all(steps == list(range(1, len(steps) + 1)) for steps in begun)  # none was lost, none came twice


def test_two_studies_have_their_shares_and_the_whole_when_they_are_alone(lab):
    lab.submit(f"{LONG} --share 0.75 --fresh {PLACE}", name="first")
    until(lambda: running(lab, "wide") == 4)
    lab.submit(f"python tests/lab/wide.py --quick --epochs 400 --share 0.25 {PLACE}", name="second")
    until(lambda: (running(lab, "wide"), running(lab, "wide_quick")) == (3, 1))
    watch = f"cd {ROOT}; python sweeps/watch.py wide --output /root/results --once"
    told = (
        "wide (root): 3 of 6 cores that it wants, share 0.75",
        "wide_quick (root): 1 of 6 cores that it wants, share 0.25",
    )
    until(lambda: all(line in lab.head(watch) for line in told))  # reports are two seconds old
    lab.operator("ray job stop first")
    until(lambda: running(lab, "wide_quick") == 4)
