"""The rows on the pretended GPU: they run where they ask for one, and find what is planted. It captures nothing: what
would be replayed is run.
"""

import contextlib

import pytest
import torch

from tests.gpu import child, children, measure, rivals, verify
from tests.gpu.report import FAILED, LEFT_OUT, read
from tests.gpu.rows import RATE, RIGHT, LeftOut, Setting
from tests.gpu.workload import small, trained
from tests.pretended import pretended_gpu
from trainables import checkpoint, graphs, lane, scoring
from trainables.footprint import CONTEXT, Footprint
from trainables.resident import Feed

ELSEWHERE = {"capture-fails", "out-of-memory", "device-assert"}  # in processes of their own
ELSEWHERE |= {"footprint-R0", "footprint-R1", "footprint-ResNet-18"}
ELSEWHERE |= {"features-and-neighbours", "every-analysis"}  # tests/analysis/test_on_a_gpu.py
MEASURED = {"graph-tf32", "branches-4", "images-on-the-host", "transport", "epoch-end", "grouped-4", "unfold-bmm-4"}
SELECTED = [row for row in verify.IN_TURN if row.group == RIGHT and row.name not in ELSEWHERE]


def captured(branches, _, own_numbers=True):
    """As graphs.capture(): what it returns takes a step of each branch, in turn."""

    def step():
        for branch in branches:
            with branch.random.in_use() if own_numbers else contextlib.nullcontext():
                branch.step()

    for _ in range(graphs.WARM_UP):
        step()
    return step


@pytest.fixture
def gpu(monkeypatch):
    """A pretended GPU that captures."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    monkeypatch.setattr(graphs, "capture", captured)
    with pretended_gpu(bf16=True, own_random_numbers=True) as gpu:
        yield gpu


def test_every_row_of_what_is_right_holds_on_a_gpu_too(gpu, tmp_path):
    status = verify.main(["--device", "cuda", "--tiny", "--output", str(tmp_path)], SELECTED)
    outcomes = read(tmp_path)
    assert [each for each in outcomes if each.state == FAILED] == []
    assert (status, gpu.faults) == (0, [])
    assert [each.name for each in outcomes if each.state == LEFT_OUT] == ["bits-resnet"]
    differences = [each.values["largest difference"] for each in outcomes if "largest difference" in each.values]
    assert len(differences) > 10
    assert set(differences) == {0.0}


def test_what_is_captured_is_measured_on_a_gpu(gpu, tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "profiled", lambda _: {"launches a step": 1.0})
    monkeypatch.setattr(rivals, "captured", lambda step: step)
    only = ["--only", ",".join(MEASURED)]
    assert verify.main(["--device", "cuda", "--tiny", "--output", str(tmp_path), *only]) == 0
    assert gpu.faults == []
    outcomes = {each.name: each for each in read(tmp_path)}
    assert outcomes.keys() == MEASURED | {"student"}
    for name in ("graph-tf32", "branches-4", "images-on-the-host"):
        assert {"captured": True, "launches a step": 1.0}.items() <= outcomes[name].values.items()
    assert outcomes["branches-4"].ratio > 0


def waits(patch):
    def loss(logits, labels):
        value = scoring.loss(logits, labels)
        if value.requires_grad:
            value.item()
        return value

    patch.setattr(lane, "loss", loss)


def draws_from_elsewhere(patch):
    patch.setattr(graphs, "capture", lambda branches, device: captured(branches, device, own_numbers=False))


def sends_others(patch):
    load = Feed.load
    patch.setattr(Feed, "load", lambda feed, index: load(feed, index.flip(0)))


def forgets_the_optimizer(patch):
    patch.setattr(checkpoint, "restore_optimizer", lambda *_: None)


def refuses(branches, _):
    branches[0].step()
    raise RuntimeError("operation not permitted when stream is capturing")


def cannot_capture(patch):
    patch.setattr(graphs, "capture", refuses)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("plant", "rows"),
    [
        (waits, ["no-wait-eager", "no-wait-graph", "no-wait-host"]),
        (draws_from_elsewhere, ["graph-is-eager-sgd", "graph-is-eager-adam"]),
        (cannot_capture, ["bits-cnn", "graph-is-eager-sgd", "graph-tf32"]),
        (sends_others, ["on-the-host"]),
        (forgets_the_optimizer, ["resumed"]),
    ],
)
def test_a_planted_fault_is_found(plant, rows, monkeypatch, tmp_path):
    plant(monkeypatch)
    only = ["--only", ",".join(rows)]
    assert verify.main(["--device", "cuda", "--tiny", "--output", str(tmp_path), *only]) == 1
    assert [(each.name, each.state) for each in read(tmp_path) if each.name in rows] == [
        (name, FAILED) for name in rows
    ]


def test_a_step_that_cannot_be_captured_is_said_and_trained_eagerly(gpu, monkeypatch):
    monkeypatch.setattr(graphs, "capture", refuses)
    result = child.capture_fails(Setting(gpu.device, tiny=True))
    assert (result.ok, result.values) == (True, {"largest difference": 0.0})
    why = "RuntimeError: operation not permitted when stream is capturing"
    assert result.note == f"steps are not captured as a CUDA graph, which is slower: {why}"


def runs_out(trial, data, device, *more):
    if trial.training.batch_size == 2048:
        raise torch.OutOfMemoryError("CUDA out of memory")
    return trained(trial, data, device, *more)


@pytest.mark.parametrize(("left", "right"), [(150, True), (170, False)])
def test_memory_that_does_not_come_back_is_found(left, right, gpu, monkeypatch):
    reserved, limits = iter([0, left * 2**20]), []
    monkeypatch.setattr(child, "trained", runs_out)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: next(reserved))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (2**40, 2**40))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", limits.append)
    result = child.out_of_memory(Setting(gpu.device, tiny=True))
    assert (result.ok, result.note, limits) == (right, "raised: OutOfMemoryError", [2**-11, 1.0])
    assert result.values["largest difference"] == 0


def test_a_trial_that_runs_through_has_not_run_out_of_memory(gpu, monkeypatch):
    for name, value in (("memory_reserved", 0), ("memory_allocated", 0), ("set_per_process_memory_fraction", None)):
        monkeypatch.setattr(torch.cuda, name, lambda _, value=value: value)
    monkeypatch.setattr(child, "trial_and_data", lambda setting, *_: small(setting, "cnn"))
    result = child.out_of_memory(Setting(gpu.device, tiny=True))
    assert (result.ok, result.note) == (False, "raised: nothing was raised")


@pytest.mark.parametrize("words", ["CUDA error: device-side assert triggered", "the labels are out of range"])
@pytest.mark.parametrize("dead", [True, False])
def test_a_device_assert_is_recognised_and_leaves_nothing_to_compute_with(words, dead, gpu, monkeypatch):
    def asserts(*_, **__):
        raise RuntimeError(words)

    monkeypatch.setattr(child, "trained", asserts)
    if dead:
        monkeypatch.setattr(torch, "ones", asserts)
    result = child.device_assert(Setting(gpu.device, tiny=True))
    assert result.ok == (dead and words.startswith("CUDA error"))
    assert result.note == f"RuntimeError: {words}"


@pytest.mark.parametrize("over", [0, 1])
def test_a_trial_that_takes_more_than_the_plan_reckons_with_is_found(over, gpu, monkeypatch):
    estimate = Footprint(context=10, data=1, network=2, activations=4, evaluation=8)
    kept = []
    monkeypatch.setattr(child, "footprint", lambda *_: estimate)
    monkeypatch.setattr(child, "keep_within", lambda *given: kept.append(given))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (0, 100))
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda _: 15 + over)
    result = child.TASKS["footprint-R0"](Setting(gpu.device, tiny=True))
    assert kept == [(0.25, 10)]
    assert result.ok == (not over)
    assert result.values["share %"] == pytest.approx(100 * (15 + over) / 15)


@pytest.fixture
def control(tmp_path, monkeypatch):
    """A daemon of MPS that writes down how it is called, and ends with the status in the file `status`."""
    script, calls = tmp_path / children.CONTROL, tmp_path / "calls"
    noted = f'echo "$* $CUDA_MPS_PIPE_DIRECTORY $(cat)" >> {calls}'
    script.write_text(f"#!/bin/sh\n{noted}\necho no permission >&2\nexit $(cat {tmp_path}/status)\n")
    script.chmod(0o755)
    (tmp_path / "status").write_text("0")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def test_a_daemon_of_our_own_is_ended(control):
    with children.daemon() as env:
        folder = env[children.PIPES]
        assert env["CUDA_MPS_LOG_DIRECTORY"] == folder
    assert (control / "calls").read_text().splitlines() == [f"-d {folder} ", f" {folder} quit"]


def test_where_no_daemon_can_be_had_the_row_is_left_out(control):
    (control / "status").write_text("3")
    with pytest.raises(LeftOut, match=f"^{children.CONTROL} -d ends with status 3: no permission$"), children.daemon():
        pass
    (control / children.CONTROL).unlink()
    with pytest.raises(LeftOut, match=f"^no {children.CONTROL}$"), children.daemon():
        pass


class Trainer:
    """A process that is 10 images/s fast eagerly, and 100 captured."""

    begun = 0.0

    def __init__(self, setting, task, env):
        assert task == "train"
        assert env.keys() in ({children.PIPES}, set())
        self.answers = [{"captured": setting.tiny, "reserved MiB": 100.0, "import s": 2.0, "context s": 1.0}]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def ask(self, way, seconds):
        assert seconds == 0
        self.answers.append({RATE: {"eager": 10.0, "graph": 100.0}[way]})

    def answer(self):
        return self.answers.pop(0)


def test_processes_are_measured_together(monkeypatch):
    monkeypatch.setattr(children, "Child", Trainer)
    result = children.processes(Setting(torch.device("cpu"), tiny=True), shared=False)
    one = {
        f"{way} x{count}": rate * count for way, rate in (("eager", 10.0), ("graph", 100.0)) for count in (1, 2, 4, 8)
    }
    assert result.values == one | {"eager x8 / x1": 8.0, "graph x8 / x1": 8.0}
    assert (result.ok, result.note) == (None, "")


def test_a_process_s_context_is_what_it_takes_beside_torchs_memory(monkeypatch):
    free = iter([(1000 * 2**20, 0), (300 * 2**20, 0)])
    monkeypatch.setattr(children, "Child", Trainer)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: next(free))
    values = dict(children.context(Setting(torch.device("cuda"), tiny=True)).values)
    assert values.pop("start s") > 0
    assert values.pop("reckoned MiB") == CONTEXT / 2**20
    assert values == {"context MiB": 600.0, "torch's MiB": 100.0, "import s": 2.0, "context s": 1.0}
