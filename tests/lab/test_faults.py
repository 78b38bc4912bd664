"""A cluster that is hurt while a study runs on it: nothing is lost, and nothing is there twice. Some ten minutes.

Every study leaves a worker to spare, to which a lost trial can go.
"""

import time
from typing import Any

import pytest

from tests.lab.hosts import NEEDS_LAB, Lab, until

pytestmark = NEEDS_LAB
WORKERS = 3
STUDY = "python tests/lab/small.py --no-early-stopping --fresh --epochs 30 --output /root/results"
TRAINING = "ResourceTrainable"  # the name of a process that trains


@pytest.fixture(scope="module")
def undisturbed(lab) -> dict[str, Any]:
    lab.submit(STUDY, timeout=900)
    return result(lab)


@pytest.fixture
def study(lab, undisturbed, request) -> str:  # noqa: ARG001
    """A study under way on two of the workers, a few epochs old: the job's name."""
    name = request.node.name
    lab.submit(STUDY, name=name)
    until(lambda: lab.head("cat ~/results/small/.spool/*/metrics.jsonl || true").count('"step": 5,') == 2, 300)
    return name


def result(lab: Lab) -> dict[str, Any]:
    """Return all that must be the same, whatever happened on the way."""
    runs = lab.told("small")
    print("longest pauses between epochs, s:", *(run.pop("pause") for run in runs))
    for run in runs:
        for records in run["curves"]["seeds"].values():
            for record in records:
                del record["images_per_second"], record["seconds"]
    left, table = (
        lab.head("find ~/results/small/.spool -name trial.json"),
        lab.head("cut -d, -f1-14 ~/results/small/depth.csv"),
    )
    return {"runs": runs, "left": left, "table": table}


def test_a_node_is_cut_off_for_30_seconds_and_returns(lab, study, undisturbed):
    [cut, _] = lab.processes(TRAINING)
    lab("cut", cut)
    time.sleep(30)
    lab("heal", cut)
    status, said = lab.ended(study, 900)
    assert status == 0, said
    assert result(lab) == undisturbed
    until(
        lambda: f"{len(lab.hosts)} local.cluster.node" in lab.head("ray status"), 300
    )  # Ray has been started on it again


def test_mlflow_does_not_answer_for_60_seconds(lab, study, undisturbed):
    def trained() -> int:
        return lab.head("cat ~/results/small/.spool/*/metrics.jsonl || true").count("step")

    server = lab.head("ss -ltnpH 'sport = :5000' | grep -o 'pid=[0-9]*' | cut -c5-").strip()
    lab.head(f"kill -STOP {server}")  # it takes connections and says nothing: worse than to be refused
    before = trained()
    time.sleep(60)
    assert trained() > before  # training has not waited
    lab.head(f"kill -CONT {server}")
    status, said = lab.ended(study, 900)
    assert status == 0, said
    assert result(lab) == undisturbed


def test_a_node_dies(lab, study, undisturbed):
    [dead, other] = lab.processes(TRAINING)
    lab("kill", dead)
    del lab.hosts[dead]
    seconds = until(lambda: len(lab.processes(TRAINING)) == 2)
    print(f"the lost trial trains elsewhere after {seconds:.0f} s")
    assert other in lab.processes(TRAINING)
    status, said = lab.ended(study, 900)
    assert status == 0, said
    assert result(lab) == undisturbed
