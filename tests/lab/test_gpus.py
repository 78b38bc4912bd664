"""Trials that share the GPUs of a cluster, which are there in Ray's books alone; and the live page of their study,
through the tunnel. Some three minutes.
"""

import json
import subprocess

from tests.lab.hosts import HEAD, NEEDS_LAB, ROOT, until
from tests.lab.test_traffic import live, running

pytestmark = NEEDS_LAB
CORES, GPUS = 2, 1  # of each of the two workers
STUDY = "python tests/lab/on_gpus.py --no-early-stopping --output /root/results --epochs"
PORT = 8787


def test_trials_share_each_gpu_of_all_workers_and_the_live_page_of_it_comes_through_the_tunnel_alone(lab):
    lab.submit(f"{STUDY} 60 --num-gpus 2 --trials-per-gpu 2", name="study")
    until(lambda: running(lab, "wide") == 4)
    assert "2.0/2.0 GPU" in lab.head("ray status")
    now = live(lab, "wide")
    assert now["where"] == "trials run on 2 GPUs: 2 share each"
    assert [each["gpu"] for each in now["running"]] == [0.5] * 4
    until(lambda: all(each["host"] for each in live(lab, "wide")["running"]))
    hosts = [each["host"] for each in live(lab, "wide")["running"]]
    assert {host: hosts.count(host) for host in hosts} == dict.fromkeys(lab.workers, 2)

    watch = f"cd {ROOT}; python sweeps/watch.py wide --output /root/results"
    page = lab.start(
        "run", "op", f"exec ray exec {lab.folder}/cluster.yaml -p {PORT} '{watch}'", stdout=subprocess.DEVNULL
    )
    try:
        until(lambda: "wide" in lab("run", "op", f"curl -s -m 5 http://127.0.0.1:{PORT}/state.json || true"))
        seen = json.loads(lab("run", "op", f"curl -s -m 5 http://127.0.0.1:{PORT}/state.json"))
        assert seen["study"] == "wide"
        lab("run", "op", f"curl -s -m 5 http://{HEAD}:{PORT}/", status=7)  # refused
    finally:
        page.kill()
        page.wait(10)
    status, said = lab.ended("study")
    assert status == 0, said
    assert [(run["status"], run["steps"][-1]) for run in lab.told("wide")] == [(["FINISHED", "done"], 60)] * 6
