"""A cluster that `ray up cluster.yaml` brought up on three machines that ../shared/lab makes on this one.

An operator's machine is beside it.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.test_cluster_yaml import FORMS

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT.parent / "shared" / "lab" / "lab"
HEAD = "10.77.0.11"
PRIVATE = json.dumps({"env_vars": {"TMPDIR": "/root"}})  # /tmp is the one folder that the lab's machines share


def missing() -> str:
    """Return why the lab cannot be used here; empty if it can."""
    if not LAB.exists():
        return "the lab is not there: ../shared/lab"
    if os.geteuid() != 0:
        return "the lab needs root"
    tools = [
        tool
        for tool in ("ip", "sshd", "ssh", "rsync")
        if not shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    ]
    if tools:
        return f"the lab needs {', '.join(tools)}: apt-get install iproute2 openssh-server rsync"
    spaces = ["unshare", "--net", "--pid", "--mount", "--uts", "--ipc", "--fork", "true"]
    if subprocess.run(spaces, capture_output=True, check=False).returncode:
        return "the lab needs namespaces, and none can be made here"
    return "another lab is up" if Path("/run/netns/cnnlab").exists() else ""


WHY_NOT = missing()
NEEDS_LAB = [pytest.mark.lab, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]


class Lab:
    """An operator's machine `op`, outside the cluster, n1, the head, and the workers n2, n3, …"""

    def __init__(self, folder: Path, workers: int):
        self.folder = folder
        self.workers = {f"n{2 + each}": f"10.77.0.{12 + each}" for each in range(workers)}  # name → address
        self.hosts = {"n1": HEAD} | self.workers
        self.environment = os.environ | {"LAB": str(folder), "LAB_PATH": str(Path(sys.executable).parent)}

    def start(self, *arguments: str, **how) -> subprocess.Popen:
        return subprocess.Popen(
            [LAB, *arguments], env=self.environment, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, **how
        )

    def __call__(self, *arguments: str, status: int = 0, timeout: float = 300) -> str:
        """Run a command of the lab and return what it said; its status must be the one that is expected."""
        log = self.folder / "said"
        with (
            log.open("w") as said,
            self.start(*arguments, stdout=said) as process,
        ):  # no pipe: ssh leaves a process that would hold it
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
        return self(
            "run", "op", f"{home}; export RAY_API_SERVER_ADDRESS=http://127.0.0.1:8265; cd {ROOT}; {command}", **how
        )

    def submit(self, command: str, name: str | None = None, **how) -> str:
        """Submit a job from outside and wait for its end; or with a name for it, let it run."""
        detached = f"--no-wait --submission-id {name} " if name else ""
        return self.operator(
            f"ray job submit {detached}--runtime-env-json '{PRIVATE}' --working-dir . -- {command}", **how
        )

    def ended(self, name: str, seconds: float = 600) -> tuple[int, str]:
        """Wait for the end of a job and return its exit status and what it said."""
        ask = f"from ray.job_submission import JobSubmissionClient as C; job = C().get_job_info('{name}')"
        asked = f'python -c "{ask}; print(job.status.is_terminal(), job.driver_exit_code)"'
        until(lambda: "True " in self.operator(asked), seconds)
        return int(self.operator(asked).rpartition("True ")[2]), self.operator(f"ray job logs {name}")

    def told(self, study: str) -> list[dict[str, Any]]:
        """Return what MLflow has of a study: its runs, by name."""
        return json.loads(self.head(f"cd {ROOT}; PYTHONPATH=. python tests/lab/told.py {study}").partition("told ")[2])

    def processes(self, name: str) -> list[str]:
        """Return the hosts on which a process of Ray has this name."""
        return [host for host in self.hosts if f"ray::{name}" in self("run", host, "ps axo args")]


@contextmanager
def cluster(folder: Path, workers: int, cores: int, gpus: int) -> Iterator[Lab]:
    """Bring the cluster up as the README says, with the tunnel to dashboard and MLflow; at the end all of it goes."""
    lab = Lab(folder, workers)
    config = deepcopy(FORMS["local"])
    config["provider"] |= {"head_ip": HEAD, "worker_ips": [*lab.workers.values()]}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(folder / "key")}
    config["setup_commands"] = config["head_setup_commands"] = []  # the machines of the lab see what is installed here
    for role, more in (("head", ""), ("worker", f" --num-cpus={cores} --num-gpus={gpus}")):
        name = f"{role}_start_ray_commands"
        config[name] = [
            each.replace("ray start", f"ray start --object-store-memory=200000000{more}") for each in config[name]
        ]
    file = folder / "cluster.yaml"
    file.write_text(yaml.safe_dump(config))
    tunnel = None
    try:
        lab("up", f"{len(lab.hosts)}")
        lab.operator("ray get-auth-token --generate")
        lab.operator(f"ray up -y {file}")
        tunnel = lab.start(
            "run", "op", f"cd {ROOT}; exec ray exec {file} -p 8265 -p 5000 'sleep 1d'", stdout=subprocess.DEVNULL
        )
        until(lambda: f"{len(lab.hosts)} local.cluster.node" in lab.head("ray status"))
        until(lambda: "Ray" in lab("run", "op", "curl -s http://127.0.0.1:8265/ || true"))
        yield lab
    finally:
        subprocess.run([LAB, "down"], env=lab.environment, check=False)
        if tunnel:
            tunnel.wait(10)


def until(true, seconds: float = 120) -> float:
    """Wait until it is so, and return the seconds that it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() < began + seconds, f"waited {seconds} s in vain"
        time.sleep(1)
    return time.monotonic() - began
