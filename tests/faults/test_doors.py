"""What a study under way shows: to another user of the machine, and of its own user's secrets in any file."""

import json
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.faults.site import FAULT, ROOT, Site, until

pytestmark = FAULT
NOBODY = 65534
KNOCK = ROOT / "tests" / "lab" / "knock.py"
SECRETS = {
    **{
        name: f"hush-{name.lower()}-5f2c"
        for name in (
            *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN"),
            *("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
            *("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY", "GITHUB_TOKEN", "PGPASSWORD"),
        )
    },
    "HTTP_PROXY": "http://me:hush-proxy-5f2c@127.0.0.1:9",
    "https_proxy": "http://me:hush-secure-proxy-5f2c@127.0.0.1:9",
    "GOOGLE_APPLICATION_CREDENTIALS": "/nowhere/hush-google-5f2c.json",
    "AZURE_STORAGE_CONNECTION_STRING": "AccountName=me;AccountKey=hush-azure-5f2c",
    "DATABASE_URL": "postgresql://me:hush-database-5f2c@localhost/db",
}
HUSH = re.compile(rb"hush-[a-z_-]+-5f2c")


class Study(NamedTuple):
    """A study under way, with one trial that fails, and when it was started."""

    site: Site
    driver: subprocess.Popen
    began: float
    home: Path

    @property
    def processes(self) -> list[int]:
        return self.site.processes(self.driver, "")

    @property
    def session(self) -> Path:
        """The folder of its Ray."""
        [raylet] = self.site.processes(self.driver, "raylet/raylet")
        return Path(environment(raylet)["RAY_TMPDIR"])

    @property
    def token(self) -> bytes:
        [raylet] = self.site.processes(self.driver, "raylet/raylet")
        return environment(raylet)["RAY_AUTH_TOKEN"].encode()


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Iterator[Study]:
    folder = tmp_path_factory.mktemp("doors")
    folder.chmod(0o755)  # as others' places are; pytest's own would hide all there is
    site = Site(folder, epochs=200)
    script = site.script.read_text().replace("(0.001, 0.01, 0.05)", "(1000.0, 0.01, 0.05)")
    site.script.write_text(script.replace("fc_layers=1", 'fc_layers=1, activation="none"'))
    home = folder / "home"
    home.mkdir()
    began = time.time()
    driver = site.start(HOME=str(home), **SECRETS)
    try:
        until(lambda: site.trained() > 15 and list(folder.rglob("error.txt")))
        yield Study(site, driver, began, home)
    finally:
        driver.kill()
        driver.wait()


def environment(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def as_nobody(*command: str) -> subprocess.CompletedProcess:
    if os.geteuid() != 0:
        pytest.skip("only root can try as another user")
    user = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": "/nowhere"}
    return subprocess.run([*user, *command], capture_output=True, text=True, check=False, env=variables)


def open_files(pids: Iterable[int]) -> set[Path]:
    """Return the regular files that these processes have open, with the ways to those that are deleted already."""
    found = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                status = descriptor.stat()
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode) and status.st_size < 2**26:  # larger is the object store's memory alone
                found.add(descriptor)
    return found


def written_since(began: float, *places: Path) -> set[Path]:
    """Return all regular files below these places that have changed since."""
    found = set()
    for place in places:
        for folder, _, names in os.walk(place):
            for path in (Path(folder, name) for name in names):
                try:
                    status = path.lstat()
                except OSError:
                    continue
                if stat.S_ISREG(status.st_mode) and status.st_ctime >= began:
                    found.add(path)
    return found


def told(files: Iterable[Path], token: bytes) -> dict[str, set[bytes]]:
    """Return what of the secrets stands in which file."""
    found = {}
    for path in files:
        try:
            content = path.read_bytes()
        except OSError:  # it has come and gone
            continue
        if secrets := set(HUSH.findall(content)) | ({token} if token in content else set()):
            found[str(path)] = secrets
    return found


def everywhere(study: Study) -> set[Path]:
    own = written_since(study.began, study.site.folder, study.session, study.home)
    shared = written_since(study.began, Path("/dev/shm"), Path("/var/tmp"), Path("/run"))  # noqa: S108
    loose = {path for path in Path("/tmp").iterdir() if path.is_file() and path.stat().st_ctime >= study.began}  # noqa: S108
    return own | shared | loose | open_files(study.processes)


def test_the_workers_have_the_secrets_where_they_belong(study):
    [driver, *others] = sorted(study.processes, key=lambda pid: pid != study.driver.pid)
    assert environment(driver).items() >= SECRETS.items()
    assert any(environment(pid).items() >= SECRETS.items() for pid in others)


def test_no_secret_is_in_any_file_or_command_line_of_a_study_under_way(study):
    files = everywhere(study)
    assert len({path for path in files if study.session in path.parents}) > 20  # Ray's logs are among them
    assert told(files, study.token) == {}
    lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in study.processes}
    assert len(lines) > 8
    assert {pid: line for pid, line in lines.items() if HUSH.search(line) or study.token in line} == {}


def test_another_user_can_enter_nothing_of_ray_s(study):
    assert stat.S_IMODE(study.session.stat().st_mode) == 0o700
    assert not list(study.home.rglob("*auth_token*"))
    assert as_nobody("ls", str(study.session)).stderr.endswith("Permission denied\n")
    [raylet] = study.site.processes(study.driver, "raylet/raylet")
    assert as_nobody("cat", f"/proc/{raylet}/environ").returncode != 0
    sockets = [
        line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines() if str(study.session) in line
    ]
    assert len(set(sockets)) >= 2
    connect = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    for path in set(sockets):
        assert "PermissionError" in as_nobody(sys.executable, "-c", connect, path).stderr


def test_every_port_is_on_the_loopback_and_answers_nothing_without_the_token(study):
    lines = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout.splitlines()
    own = [line for line in lines if any(f"pid={pid}," in line for pid in study.processes)]
    doors = [line.split()[3].replace("[::ffff:127.0.0.1]", "127.0.0.1") for line in own]
    assert len(doors) >= 8
    assert {door.rpartition(":")[0] for door in doors} == {"127.0.0.1"}
    answered = as_nobody(sys.executable, str(KNOCK), *doors)
    refusals = {"http": {401}, "grpc": {"UNAUTHENTICATED"}, "closed": set()}
    for door, answer in json.loads(answered.stdout).items():
        assert set(answer.get("said", {}).values()) <= refusals[answer["kind"]], (door, answer)


def test_nothing_is_left_of_it_but_its_results_and_no_secret_is_in_them(study):
    session, token = study.session, study.token
    study.driver.terminate()
    status, said = study.site.end(study.driver, timeout=120)
    assert status == 130, said
    assert not session.exists()
    files = written_since(study.began, study.site.folder, study.home, Path("/dev/shm"), Path("/var/tmp"))  # noqa: S108
    assert any(path.name == "error.txt" for path in files)
    assert told(files, token) == {}
    assert not list(study.home.rglob("auth_token"))
