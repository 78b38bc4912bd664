"""`ray up cluster.yaml` for real, on three machines that ../shared/lab makes on this one: ssh, tokens, MLflow on the head, a job, again."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.test_cluster_yaml import on_own_machines

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT.parent / "shared" / "lab" / "lab"
HEAD, WORKERS = "10.77.0.11", ["10.77.0.12", "10.77.0.13"]
STUDY = "python sweeps/simple_cnn.py --quick --epochs 1 --output /root/results"


def missing() -> str:
    """Return why the lab cannot be used here; empty if it can."""
    if not LAB.exists():
        return "the lab is not there: ../shared/lab"
    if os.geteuid() != 0:
        return "the lab needs root"
    tools = [tool for tool in ("ip", "sshd", "ssh", "rsync") if not shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")]
    if tools:
        return f"the lab needs {', '.join(tools)}: apt-get install iproute2 openssh-server rsync"
    if subprocess.run(
        ["unshare", "--net", "--pid", "--mount", "--uts", "--ipc", "--fork", "true"], capture_output=True, check=False
    ).returncode:
        return "the lab needs namespaces, and none can be made here"
    return "another lab is up" if Path("/run/netns/cnnlab").exists() else ""


WHY_NOT = missing()
pytestmark = [pytest.mark.lab, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]


class Lab:
    """An operator's machine `op`, outside the cluster, and hosts n1 to n3."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = os.environ | {"LAB": str(folder), "LAB_PATH": str(Path(sys.executable).parent)}

    def start(self, *arguments: str, **how) -> subprocess.Popen:
        return subprocess.Popen([LAB, *arguments], env=self.environment, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, **how)

    def __call__(self, *arguments: str, status: int = 0, timeout: float = 120) -> str:
        """Run a command of the lab and return what it said; its status must be the one that is expected."""
        log = self.folder / "said"
        with log.open("w") as said, self.start(*arguments, stdout=said) as process:  # no pipe: ssh leaves a process that would hold it
            try:
                process.wait(timeout)
            finally:
                process.kill()
        assert process.returncode == status, f"{' '.join(arguments)}: status {process.returncode}\n{log.read_text()}"
        return log.read_text()

    def head(self, command: str) -> str:
        return self("run", "n1", f"export RAY_AUTH_MODE=token; {command}")

    def operator(self, command: str, token: bool = True, **how) -> str:
        home = "export RAY_AUTH_MODE=token" if token else "mkdir -p /root/nobody; export HOME=/root/nobody"
        return self("run", "op", f"{home}; export RAY_API_SERVER_ADDRESS=http://127.0.0.1:8265; cd {ROOT}; {command}", **how)


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Iterator[Lab]:
    """The cluster, as README brings it up, and the tunnel to the dashboard and to MLflow."""
    lab = Lab(tmp_path_factory.mktemp("lab"))
    config = on_own_machines()
    config["provider"] |= {"head_ip": HEAD, "worker_ips": WORKERS}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(lab.folder / "key")}
    config["setup_commands"] = config["head_setup_commands"] = []  # the machines of the lab see what is installed here
    for role, more in (("head", ""), ("worker", " --num-cpus=1")):
        name = f"{role}_start_ray_commands"
        config[name] = [each.replace("ray start", f"ray start --object-store-memory=200000000{more}") for each in config[name]]
    file = lab.folder / "cluster.yaml"
    file.write_text(yaml.safe_dump(config))
    tunnel = None
    try:
        lab("up", "3")
        lab.operator("ray get-auth-token --generate")
        lab.operator(f"ray up -y {file}")
        tunnel = lab.start("run", "op", f"cd {ROOT}; exec ray exec {file} -p 8265 -p 5000 'sleep 1d'", stdout=subprocess.DEVNULL)
        until(lambda: "3 local.cluster.node" in lab.head("ray status"))
        until(lambda: "Ray" in lab("run", "op", "curl -s http://127.0.0.1:8265/ || true"))
        yield lab
    finally:
        subprocess.run([LAB, "down"], env=lab.environment, check=False)
        if tunnel:
            tunnel.wait(10)


def until(true, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(1)


@pytest.mark.parametrize("port", [5000, 8265])
def test_mlflow_and_the_dashboard_are_not_on_the_network(lab, port):
    lab("run", "op", f"curl -s -m 5 http://{HEAD}:{port}/", status=7)  # 7: refused


def test_nobody_gets_in_without_the_token(lab):
    assert "InvalidAuthToken" in lab.operator(f"ray status --address {HEAD}:6379", token=False, status=1)
    job = "-H 'Content-Type: application/json' -d '{\"entrypoint\": \"true\"}'"
    for address in ("127.0.0.1:8265/api/jobs/", *(f"{ip}:52365/api/job_agent/jobs/" for ip in (HEAD, *WORKERS))):  # the tunnel, each agent
        assert lab("run", "op", f"curl -s -m 5 -o /dev/null -w '%{{http_code}}' -X POST {job} http://{address}") == "401"
    assert "600 " in lab.head("stat -c '%a %n' ~/.ray/auth_token")


def test_a_job_runs_a_study_on_the_workers_and_the_same_job_again_runs_nothing(lab):
    said = lab.operator(f"ray job submit --working-dir . -- {STUDY}")
    assert "2 trials run, 0 taken from earlier runs" in said

    actors = json.loads(lab.head("ray list actors --format json 2>/dev/null"))
    nodes = {node["node_id"]: node["node_ip"] for node in json.loads(lab.head("ray list nodes --format json 2>/dev/null"))}
    assert {nodes[each["node_id"]] for each in actors if "Trainable" in each["class_name"]} == set(WORKERS)
    assert {nodes[each["node_id"]] for each in actors if each["class_name"] == "Tracker"} == {HEAD}

    stored = """
import json
from sweeps.tracking import Store
store = Store("http://127.0.0.1:5000")
print("stored", json.dumps({each.name: sorted(store.files(each.run_id)) for each in store.finished("simple_cnn_quick")}))
"""
    (lab.folder / "stored.py").write_text(stored)
    found = json.loads(lab.head(f"cd {ROOT}; PYTHONPATH=. python {lab.folder}/stored.py").partition("stored ")[2])
    assert set(found) == {"activation: relu", "activation: none"}
    assert all("checkpoint/weights.safetensors" in files for files in found.values())
    assert "report.html" in lab.head("ls ~/results/simple_cnn_quick")

    said = lab.operator(f"ray job submit --working-dir . -- {STUDY}")
    assert "nothing to run: all 2 trials are done already" in said


def test_a_job_that_is_stopped_keeps_what_it_has_and_another_goes_on(lab):
    def asked(sql: str) -> str:
        read = f"import sqlite3; print(*sqlite3.connect('mlflow/mlflow.db').execute('{sql}').fetchone())"
        return lab.head(f'python -c "{read}"').strip()

    lab.operator(f"ray job submit --no-wait --submission-id stopped --working-dir . -- {STUDY.replace('epochs 1', 'epochs 40')}")
    until(lambda: "metrics.jsonl" in lab.head("ls ~/results/*/.spool/* || true"))
    said = lab.operator("ray job stop stopped; ray job logs stopped")
    assert "interrupted: finished epochs are kept; the same command goes on from there" in said
    assert lab.head("ls ~/results/*/.spool") == ""  # MLflow has it all
    done = int(asked("select max(step) from metrics"))

    said = lab.operator(f"ray job submit --working-dir . -- {STUDY.replace('epochs 1', f'epochs {done + 1}')}")
    assert "2 trials run, 0 taken from earlier runs" in said
    assert asked("select count(*), min(status), max(status) from runs") == "2 FINISHED FINISHED"  # the same two runs


def test_a_job_that_fails_says_so(lab):
    said = lab.operator("ray job submit --working-dir . -- python sweeps/simple_cnn.py --epochs 0", status=1)
    assert "error: --epochs is 0, but must be at least 1" in said


def test_mlflow_is_started_again_where_it_dies(lab):
    def server() -> str:
        return lab.head("ss -ltnpH 'sport = :5000' | grep -o 'pid=[0-9]*' | cut -c5- || true").strip()

    first = server()
    lab.head(f"kill -9 {first}")
    until(lambda: server() not in ("", first))
    until(lambda: lab("run", "op", "curl -s -m 5 http://127.0.0.1:5000/health || true") == "OK")  # through the tunnel
