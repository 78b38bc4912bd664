"""Trials that share the GPUs of a cluster, which are there in Ray's books alone. Some three minutes."""

from tests.lab.hosts import NEEDS_LAB, until
from tests.lab.test_traffic import live, running

pytestmark = NEEDS_LAB
CORES, GPUS = 2, 1  # of each of the two workers
STUDY = "python tests/lab/on_gpus.py --no-early-stopping --output /root/results --epochs"


def test_trials_share_each_gpu_of_all_workers(lab):
    lab.submit(f"{STUDY} 30 --num-gpus 2 --trials-per-gpu 2", name="study")
    until(lambda: running(lab, "wide") == 4)
    assert "2.0/2.0 GPU" in lab.head("ray status")
    now = live(lab, "wide")
    assert now["where"] == "trials run on 2 GPUs: 2 share each"
    assert [each["gpu"] for each in now["running"]] == [0.5] * 4
    until(lambda: all(each["host"] for each in live(lab, "wide")["running"]))
    hosts = [each["host"] for each in live(lab, "wide")["running"]]
    assert {host: hosts.count(host) for host in hosts} == dict.fromkeys(lab.workers, 2)
    status, said = lab.ended("study")
    assert status == 0, said
    assert [(run["status"], run["steps"][-1]) for run in lab.told("wide")] == [(["FINISHED", "done"], 30)] * 6
