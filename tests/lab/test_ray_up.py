"""`ray up cluster.yaml` for real: ssh, tokens, closed doors, MLflow on the head, jobs, analyses, again.

About four minutes.
"""

import json

import pytest

from tests.lab.hosts import HEAD, NEEDS_LAB, ROOT, until

pytestmark = NEEDS_LAB
STUDY = "python sweeps/simple_cnn.py --quick --epochs 1 --output /root/results"


@pytest.mark.parametrize("port", [5000, 8265])
def test_mlflow_and_the_dashboard_are_not_on_the_network(lab, port):
    lab("run", "op", f"curl -s -m 5 http://{HEAD}:{port}/", status=7)  # 7: refused


def test_nobody_gets_in_without_the_token(lab):
    assert "InvalidAuthToken" in lab.operator(f"ray status --address {HEAD}:6379", token=False, status=1)
    job = "-H 'Content-Type: application/json' -d '{\"entrypoint\": \"true\"}'"
    agents = [f"{ip}:52365/api/job_agent/jobs/" for ip in lab.hosts.values()]
    for address in ("127.0.0.1:8265/api/jobs/", *agents):  # the first is the tunnel's
        assert (
            lab("run", "op", f"curl -s -m 5 -o /dev/null -w '%{{http_code}}' -X POST {job} http://{address}") == "401"
        )
    assert "600 " in lab.head("stat -c '%a %n' ~/.ray/auth_token")


def test_every_port_of_the_cluster_is_closed_or_asks_for_the_token(lab):
    lab.submit("python tests/lab/small.py --epochs 1000 --output /root/results", name="working")
    until(
        lambda: set(lab.processes("ResourceTrainable.train")) == set(lab.workers)
    )  # drivers, workers and actors listen, too
    listening = {
        name: lab("run", name, "ss -ltnH | awk '{print $4}' | grep -o '[0-9]*$' | sort -u").split()
        for name in lab.hosts
    }
    doors = [f"{lab.hosts[name]}:{port}" for name, ports in listening.items() for port in ports]
    found = json.loads(lab.operator(f"python tests/lab/knock.py {' '.join(doors)}", token=False))
    lab.operator("ray job stop working")

    refusals = {"closed": [], "ssh": [], "http": [401], "grpc": ["UNAUTHENTICATED"]}
    openings = {
        door: answer
        for door, answer in found.items()
        if answer["kind"] not in refusals
        or any(said not in refusals[answer["kind"]] for said in answer.get("said", {}).values())
    }
    assert not openings
    kinds = {kind: sum(answer["kind"] == kind for answer in found.values()) for kind in refusals}
    assert kinds["ssh"] == len(lab.hosts)
    assert kinds["http"] >= 2 * len(lab.hosts)  # each host's agents: the dashboard's and the runtime environments'
    assert (
        kinds["grpc"] >= 3 * len(lab.hosts) + len(lab.workers) + 4
    )  # agents, raylets' two, trials; Ray, its client, Tracker, driver


def test_the_token_is_in_no_command_line_log_or_result(lab):
    assert len(lab("run", "op", "cat ~/.ray/auth_token").strip()) == 64
    for host in ("op", *lab.hosts):
        # MLflow's database and files among them
        places = "/root /tmp/ray --exclude-dir=.cache --exclude-dir=.pyenv --exclude-dir=.ray"
        assert lab("run", host, f"grep -rlFf ~/.ray/auth_token {places} || true") == ""
        assert lab("run", host, "cat /proc/*/cmdline | grep -acFf ~/.ray/auth_token || true") == "0\n"


def test_a_job_runs_a_study_on_the_workers_and_the_same_job_again_runs_nothing(lab):
    said = lab.submit(STUDY)
    assert "2 trials run, 0 taken from earlier runs" in said

    actors = json.loads(lab.head("ray list actors --format json 2>/dev/null"))
    nodes = {
        node["node_id"]: node["node_ip"] for node in json.loads(lab.head("ray list nodes --format json 2>/dev/null"))
    }
    assert {nodes[each["node_id"]] for each in actors if "Trainable" in each["class_name"]} == set(lab.workers.values())
    assert {nodes[each["node_id"]] for each in actors if each["class_name"] == "Tracker"} == {HEAD}

    found = lab.told("simple_cnn_quick")
    assert [each["name"] for each in found] == ["activation: none", "activation: relu"]
    assert all("checkpoint/weights.safetensors" in each["files"] for each in found)
    assert "report.html" in lab.head("ls ~/results/simple_cnn_quick")

    said = lab.submit(STUDY)
    assert "nothing to run: all 2 trials are done already" in said


def test_analyses_of_the_study_run_on_the_workers_and_what_they_find_is_in_mlflow(lab):
    said = lab.submit(
        "python sweeps/analyse.py simple_cnn_quick --jobs mistakes,filters_drawn --output /root/results --address auto"
    )
    assert said.count(": done\n") == 2
    tasks = json.loads(lab.head("ray list tasks --limit 1000 --format json 2>/dev/null"))
    nodes = {
        node["node_id"]: node["node_ip"] for node in json.loads(lab.head("ray list nodes --format json 2>/dev/null"))
    }
    assert {nodes[each["node_id"]] for each in tasks if each["name"] == "_compute"} <= set(lab.workers.values())

    found = [path for each in lab.told("simple_cnn_quick") for path in each["findings"]]
    assert sorted(path.partition("-")[0] for path in found) == ["analysis/filters_drawn", "analysis/mistakes"]
    assert "analysis.html" in lab.head("ls ~/results/simple_cnn_quick")


def test_no_worker_keeps_or_sees_results(lab):
    assert lab.head("ls -d ~/mlflow ~/results").split() == ["/root/mlflow", "/root/results"]
    kept = (
        "find /root /tmp/ray -not -path '/root/.*' '(' -name '*.safetensors' -o -name curves.json -o -name "
        "'*.html' -o -name mlflow.db ')'"
    )
    ours = ("*/runtime_resources/*", "*/analysis/page/*", "*/sweeps/reporting/watch.html")  # the checkout's own
    for worker in lab.workers:
        assert lab("run", worker, " ".join([kept, *(f"-not -path '{each}'" for each in ours)])) == ""
    assert not (ROOT / "results" / "simple_cnn_quick").exists()


def test_a_job_that_is_stopped_keeps_what_it_has_and_another_goes_on(lab):
    study = "python tests/lab/small.py --no-early-stopping --fresh --output /root/results --epochs"
    lab.submit(f"{study} 1000", name="stopped")
    until(lambda: lab.head("cat ~/results/small/.spool/*/metrics.jsonl || true").count('"step": 3,') == 2, 300)
    said = lab.operator("ray job stop stopped; ray job logs stopped")
    assert "interrupted: each trial's last snapshot is kept; the same command goes on from there" in said
    before = lab.told("small")
    assert [each["status"] for each in before] == [["KILLED", "interrupted"]] * 2

    epochs = max(each["steps"][-1] for each in before) + 2  # one may be in the spool still: the next start delivers it
    said = lab.submit(f"{study.replace('--fresh ', '')} {epochs}")
    assert "2 trials run, 0 taken from earlier runs" in said
    after = lab.told("small")
    assert [each["key"] for each in after] == [each["key"] for each in before]  # the same two runs
    assert [each["status"] for each in after] == [["FINISHED", "done"]] * 2
    assert [each["steps"] for each in after] == [list(range(1, epochs + 1))] * 2  # each epoch once
    assert lab.head("find ~/results/small/.spool -name trial.json") == ""  # MLflow has it all


def test_a_job_that_fails_says_so(lab):
    said = lab.submit("python sweeps/simple_cnn.py --epochs 0", status=1)
    assert "error: --epochs is 0, but must be at least 1" in said


def test_mlflow_is_started_again_where_it_dies(lab):
    def server() -> str:
        return lab.head("ss -ltnpH 'sport = :5000' | grep -o 'pid=[0-9]*' | cut -c5- || true").strip()

    first = server()
    lab.head(f"kill -9 {first}")
    until(lambda: server() not in ("", first))
    until(lambda: lab("run", "op", "curl -s -m 5 http://127.0.0.1:5000/health || true") == "OK")  # through the tunnel
