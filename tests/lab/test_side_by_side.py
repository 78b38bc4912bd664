"""Several users on one cluster: their studies do not mix, and of one study there is one run. Some three minutes."""

import pytest

from tests.lab.hosts import NEEDS_LAB, Lab

pytestmark = NEEDS_LAB
PLACE = "--no-early-stopping --output /root/results"


def at_once(lab: Lab, first: str, second: str) -> list[tuple[int, str]]:
    """Submit two jobs at the same moment and return their exit statuses and what they said."""
    submit = [f"ray job submit --no-wait --submission-id {name} --working-dir . --" for name in ("first", "second")]
    lab.operator(f"{submit[0]} {first} & {submit[1]} {second} & wait")
    return [lab.ended(name) for name in ("first", "second")]


@pytest.fixture(autouse=True)
def _ids_can_be_used_again(lab):
    yield
    lab.operator("ray job delete first; ray job delete second")


def test_two_studies_share_the_workers_and_do_not_mix(lab):
    jobs = at_once(
        lab, f"python sweeps/simple_cnn.py --quick {PLACE}", f"python sweeps/blocks.py --quick --stages blocks {PLACE}"
    )
    assert [status for status, _ in jobs] == [0, 0], jobs
    assert "2 trials run, 0 taken" in jobs[0][1]
    assert "3 trials run, 0 taken" in jobs[1][1]
    found = {study: lab.told(f"{study}_quick") for study in ("simple_cnn", "blocks")}
    assert [run["name"] for run in found["simple_cnn"]] == ["activation: none", "activation: relu"]
    assert [run["name"] for run in found["blocks"]] == ["blocks: 2", "blocks: 4", "blocks: 6"]
    runs = found["simple_cnn"] + found["blocks"]
    assert [run["status"] for run in runs] == [["FINISHED", "done"]] * 5
    assert len({run["key"] for run in runs}) == 5
    assert all(run["steps"] == list(range(1, len(run["steps"]) + 1)) for run in runs)


def test_of_the_same_study_twice_at_once_one_runs_and_the_other_says_who_holds_it(lab):
    study = f"python tests/lab/small.py --epochs 20 {PLACE}"
    (_, ran), (status, refused) = sorted(at_once(lab, study, study))
    assert "2 trials run, 0 taken" in ran
    assert status == 2
    assert "error: /root/results/small/.spool is in use by process " in refused
    assert "Traceback" not in refused
    assert [run["status"] for run in lab.told("small")] == [["FINISHED", "done"]] * 2
