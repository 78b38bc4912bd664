"""What cluster.yaml promises: Ray understands it, and nobody gets in but by ssh or with the token."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "cluster.yaml").read_text()


def forms() -> dict[str, dict[str, Any]]:
    """Return the file as it is, and as its last paragraphs say: a form of theirs in the place of what stands between
    the two lines, and of any entry of the same name.
    """
    before, _, after = re.split(r"^# ----.*\n", TEXT, flags=re.MULTILINE)
    written = "".join(re.findall(r"^#   (.*\n)", after, flags=re.MULTILINE))
    others = [yaml.safe_load(f"cluster_name: {form}") for form in written.split("cluster_name: ")[1:]]
    rest = yaml.safe_load(before + after)
    return {each["provider"]["type"]: each for each in (yaml.safe_load(TEXT), *(rest | form for form in others))}


FORMS = forms()
SPOT = {
    "aws": ("InstanceMarketOptions", {"MarketType": "spot"}),
    "gcp": ("scheduling", {"preemptible": True, "onHostMaintenance": "TERMINATE"}),
}


def test_there_is_a_form_for_two_clouds_and_for_machines_of_one_s_own():
    assert FORMS.keys() == {"aws", "gcp", "local"}


@pytest.fixture(params=FORMS)
def config(request) -> dict[str, Any]:
    return FORMS[request.param]


def test_ray_understands_it(config):
    assert config["provider"]["type"] in FORMS
    validate_config(prepare_config(config))


def test_the_head_trains_nothing_and_workers_are_on_spot():
    for cloud, (field, spot) in SPOT.items():
        head, worker = (FORMS[cloud]["available_node_types"][name] for name in ("head", "worker"))
        assert FORMS[cloud]["head_node_type"] == "head"
        assert head["resources"] == {"CPU": 0, "GPU": 0}
        assert field not in head["node_config"]
        assert worker["node_config"][field] == spot
        assert (worker["min_workers"], worker["max_workers"]) == (0, FORMS[cloud]["max_workers"])


def test_ray_opens_no_port_to_the_world_but_that_of_ssh(config):
    assert (
        "security_group" not in config["provider"]
    )  # Ray's own group lets in ssh, and the cluster's machines among themselves
    for node in config.get("available_node_types", {}).values():
        assert not {"SecurityGroupIds", "NetworkInterfaces", "networkInterfaces"} & set(node["node_config"])


def test_every_machine_asks_for_the_token(config):
    assert ("~/.ray/auth_token", "~/.ray/auth_token") in config["file_mounts"].items()
    assert "chmod 600 ~/.ray/auth_token" in config["initialization_commands"]
    starts = [
        each for role in ("head", "worker") for each in config[f"{role}_start_ray_commands"] if "ray start" in each
    ]
    assert len(starts) == 2
    for command in starts:
        assert re.search(r"\bRAY_AUTH_MODE=token\b.*\bray start\b", command)


def test_mlflow_and_the_dashboard_answer_on_loopback_alone_and_jobs_know_where(config):
    _, mlflow, ray = config["head_start_ray_commands"]
    server = shlex.split(re.search(r"(mlflow server .*?);", mlflow)[1])
    told = {flag: server[server.index(flag) + 1] for flag in ("--host", "--port")}
    assert told["--host"] == "127.0.0.1"
    assert f"MLFLOW_TRACKING_URI=http://{told['--host']}:{told['--port']}" in re.split("[ ;]", ray)
    assert "--dashboard-host=127.0.0.1" in ray.split()


def test_no_machine_serves_metrics_which_ask_for_no_token(config):
    head, worker = (config[f"{role}_start_ray_commands"][-1] for role in ("head", "worker"))
    assert "RAY_enable_metrics_collection=0" in re.split("[ ;]", head)
    assert "RAY_enable_metrics_collection=0" in re.split("[ ;]", worker)
    assert {"DASHBOARD_METRIC_PORT=-1", "AUTOSCALER_METRIC_PORT=-1"} <= set(re.split("[ ;]", head))


def test_where_memory_runs_out_the_kernel_chooses_not_ray(config):
    for role in ("head", "worker"):
        assert "RAY_memory_monitor_refresh_ms=0" in re.split("[ ;]", config[f"{role}_start_ray_commands"][-1])


def test_mps_is_one_line_to_take_in_and_runs_before_ray():
    """Ray's workers find its daemon by CUDA's default, or by what the command's shell exports."""
    config = yaml.safe_load(TEXT.replace("  # - nvidia-cuda-mps-control", "  - nvidia-cuda-mps-control"))
    daemon, start = config["worker_start_ray_commands"][1:]
    assert daemon == "nvidia-cuda-mps-control -d || true"
    assert "ray start" in start
    assert FORMS["aws"]["worker_start_ray_commands"] == ["ray stop", start]
    validate_config(prepare_config(config))


def test_what_the_project_is_installed_from_travels(config):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = [pattern.removesuffix("*") for pattern in project["tool"]["setuptools"]["packages"]["find"]["include"]]
    wanted = {"pyproject.toml", project["project"]["readme"], *packages}
    assert {there: here for there, here in config["file_mounts"].items() if there.startswith("~/cnn-sweeps/")} == {
        f"~/cnn-sweeps/{name}": name for name in wanted
    }
    assert all((ROOT / name).exists() for name in wanted)
