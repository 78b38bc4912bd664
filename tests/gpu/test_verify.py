"""The command on the CPU, in sizes that say nothing: every path that needs no GPU, and what it makes of its rows."""

import io
import json
import re
import subprocess
import sys
import time

import pytest
import torch

from tests.gpu import child, children, measure, verify
from tests.gpu.hardware import ROOT
from tests.gpu.report import FAILED, LEFT_OUT, MEASURED, RIGHT_NOW, Outcome, Report, read, shown
from tests.gpu.rows import FAST, RATE, RIGHT, ROWS, LeftOut, Result, Row, Setting
from tests.gpu.workload import apart, relative, small, trained

CPU = torch.device("cpu")
LINE = re.compile(r"(ok|FAILED|measured|left out) +(\S+) +([\d.]+) s *(.*)")


def made(name, check, group=RIGHT, seconds=1.0, **more):
    """Return a row without a module to be in."""
    return Row(name, group, check, f"{name} holds.", seconds, **more)


class Clock:
    """Stands still, but when it is moved."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def row(self, name, seconds, taken):
        """Return a row that takes some of its time."""

        def check(_):
            self.now += taken
            return Result(True)

        return made(name, check, seconds=seconds)


def run(folder, rows, *arguments, **more):
    """Return the exit status, and what came of the rows."""
    status = verify.main(["--device", "cpu", "--tiny", "--output", str(folder), *arguments], rows, **more)
    return status, read(folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of all rows: the exit status, what was printed, and the folder with its files."""
    folder = tmp_path_factory.mktemp("gpu")
    with pytest.MonkeyPatch.context() as patch:
        printed = io.StringIO()
        patch.setattr(sys, "stdout", printed)
        status = verify.main(["--device", "cpu", "--tiny", "--output", str(folder)])
    return status, printed.getvalue(), folder


def test_every_row_that_needs_no_gpu_runs_on_the_cpu(whole):
    status, _, folder = whole
    outcomes = read(folder)
    assert [each for each in outcomes if each.state == FAILED] == []
    assert status == 0
    assert [each.name for each in outcomes] == [row.name for row in verify.IN_TURN]
    gpu = {row.name for row in ROWS if "gpu" in row.needs}
    out = {each.name: each.note for each in outcomes if each.state == LEFT_OUT}
    assert {name for name, note in out.items() if note == "no GPU"} == gpu
    assert {name: out[name] for name in out.keys() - gpu} == dict.fromkeys(
        ("bits-resnet", "cast-ResNet-18"), "not with --tiny: eleven million weights"
    )


def test_what_needs_no_gpu_is_the_cpus_to_the_bit(whole):
    *_, folder = whole
    values = {each.name: each.values for each in read(folder)}
    for name in ("one-step-sgd", "one-step-adam", "bits-norm-dropout", "resumed", "together", "on-the-host"):
        assert values[name]["largest difference"] == 0, name
    assert set(values["every-analysis"].values()) == {0.0}
    assert 1e-4 < values["precision"]["bfloat16"] < 5e-2
    assert values["precision"]["float32"] < 1e-6
    for name in ("grouped-4", "grouped-channels-last-16", "vmap-4", "unfold-bmm-16"):
        assert values[name]["error"] < 1e-6, name


def test_the_table_the_json_and_the_markdown_say_the_same(whole):
    _, printed, folder = whole
    outcomes = read(folder)
    lines = [LINE.fullmatch(line).groups() for line in printed.splitlines()[: len(outcomes)]]
    table = [line.strip("| ").split(" | ") for line in (folder / "verify.md").read_text().splitlines()]
    rows = {cells[0]: cells[1:] for cells in table}
    for (state, name, taken, words), outcome in zip(lines, outcomes, strict=True):
        assert (state, name, taken) == (outcome.state, outcome.name, f"{outcome.seconds:.1f}")
        assert rows[name][:3] == [outcome.claim, state, taken]
        numbers = [f"{each} {shown(value)}" for each, value in outcome.values.items()]
        numbers = [f"{shown(outcome.ratio)} × {outcome.peer}"] * bool(outcome.ratio) + numbers
        figures = " · ".join(numbers)
        assert words == " — ".join(filter(None, (figures, outcome.note)))
        assert [cell.strip() for cell in rows[name][3:] if cell.strip()] == [*filter(None, (figures, outcome.note))]
    assert printed.splitlines()[len(outcomes) :] == [f"{Report({}, outcomes).summary}; {folder / 'verify.md'}"]
    told = json.loads((folder / "verify.json").read_text())["hardware"]
    assert {"date", "device", "commit", "processor", "python", "torch", "torchvision", "numpy"} <= told.keys()
    assert rows["torch"] == [torch.__version__]


def test_ratios_are_to_the_peer_of_the_same_run(whole):
    *_, folder = whole
    outcomes = {each.name: each for each in read(folder)}
    compared = [each for each in outcomes.values() if each.state != LEFT_OUT and each.peer]
    assert len(compared) > 10
    for each in compared:
        if each.ratio is None:
            assert outcomes[each.peer].state == LEFT_OUT
            assert each.note.endswith(f"no ratio: {each.peer} was not measured")
        else:
            assert each.ratio == each.values[RATE] / outcomes[each.peer].values[RATE]


def test_rows_have_names_of_their_own_and_peers_come_first():
    names = [row.name for row in verify.IN_TURN]
    assert len(set(names)) == len(names)
    for row in verify.IN_TURN:
        assert re.fullmatch(r"[\w-]+", row.name)
        assert row.claim.endswith((".", "()."))
        assert "{" not in row.claim
        if row.peer:
            assert names.index(row.peer) < names.index(row.name)
    assert [row.group for row in verify.IN_TURN] == sorted((row.group for row in ROWS), reverse=True)


def breaks(_):
    raise ValueError("it broke\nin two lines")


def test_a_row_that_raises_is_a_failure_with_its_line_and_hides_no_other(tmp_path, capsys):
    rows = [made("broken", breaks), made("wrong", lambda _: Result(False, {"off by": 2})), made("sound", sound)]
    status, outcomes = run(tmp_path, rows)
    assert status == 1
    assert [(each.name, each.state) for each in outcomes] == [
        ("broken", FAILED),
        ("wrong", FAILED),
        ("sound", RIGHT_NOW),
    ]
    line = breaks.__code__.co_firstlineno + 1
    assert outcomes[0].note == f"ValueError: it broke in two lines (test_verify.py:{line})"
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2:] == ["FAILED: broken: broken holds.", "FAILED: wrong: wrong holds."]
    assert printed[3].startswith("1 ok, 0 measured, 2 FAILED, 0 left out; ")


def sound(_):
    return Result(True)


def test_what_is_left_out_says_why(tmp_path):
    def cannot(_):
        raise LeftOut("no daemon")

    rows = [
        made("gpu", sound, needs=("gpu",)),
        made("library", sound, needs=("math", "no_such_library")),
        made("part", sound, needs=("no_such_library.part",)),
        made("inside", cannot, FAST),
    ]
    status, outcomes = run(tmp_path, rows)
    assert status == 0
    assert [each.state for each in outcomes] == [LEFT_OUT] * 4
    whys = ["no GPU", "no no_such_library", "no no_such_library.part", "no daemon"]
    assert [each.note for each in outcomes] == whys


def test_what_no_longer_fits_into_the_time_is_left_out(tmp_path):
    clock = Clock()
    rows = [clock.row("first", 30, 25), clock.row("long", 40, 40), clock.row("short", 35, 30), clock.row("end", 6, 1)]
    status, outcomes = run(tmp_path, rows, "--minutes", "1", clock=clock)
    assert status == 0
    assert [(each.state, each.seconds) for each in outcomes] == [
        (RIGHT_NOW, 25),
        (LEFT_OUT, 0),
        (RIGHT_NOW, 30),
        (LEFT_OUT, 0),
    ]
    assert outcomes[1].note == "takes up to 40 s, but 35 s are left"
    assert outcomes[3].note == "takes up to 6 s, but 5 s are left"


def test_a_row_that_runs_past_its_time_is_stopped(tmp_path):
    def lasting(_):
        try:
            time.sleep(30)
        except Exception:
            return Result(True)

    start = time.monotonic()
    status, outcomes = run(tmp_path, [made("lasting", lasting, seconds=0.1), made("sound", sound)])
    assert time.monotonic() - start < 20
    assert status == 1
    assert outcomes[0].note.startswith(
        "OutOfTime: stopped, after 2 times its seconds or at the end of all (test_verify.py:"
    )
    assert outcomes[1].state == RIGHT_NOW


def test_only_some_rows_run_with_the_peers_they_are_held_against(tmp_path, capsys):
    rows = [
        made("slow", lambda _: Result(None, {RATE: 10.0}), FAST),
        made("other", sound),
        made("fast", lambda _: Result(None, {RATE: 30.0}), FAST, peer="slow"),
        made("faster", lambda _: Result(None, {RATE: 60.0}), FAST, peer="fast"),
    ]
    _, outcomes = run(tmp_path, rows, "--only", "faster")
    assert [(each.name, each.state, each.ratio) for each in outcomes] == [
        ("slow", MEASURED, None),
        ("fast", MEASURED, 3.0),
        ("faster", MEASURED, 2.0),
    ]
    assert "measured  faster                      0.0 s  2 × fast · images/s 60" in capsys.readouterr().out
    assert run(tmp_path, rows, "--only", "faster,othr")[0] == 2
    assert capsys.readouterr().out == "--only has 'othr'; did you mean 'other'?\n"


def test_a_row_leaves_no_setting_behind(tmp_path):
    before = verify._precisions()

    def sets(_):
        torch.backends.cudnn.deterministic = not before[0]
        torch.backends.cudnn.conv.fp32_precision = torch.backends.cuda.matmul.fp32_precision = "ieee"
        return Result(True)

    run(tmp_path, [made("sets", sets), made("finds", lambda _: Result(verify._precisions() == before))])
    assert [each.state for each in read(tmp_path)] == [RIGHT_NOW] * 2


def test_where_the_context_is_lost_the_rest_goes_on_in_another_process(tmp_path, monkeypatch):
    asked = []

    def other(command, **_):
        asked.append(command)
        rest = [Outcome("third", RIGHT, "third holds.", RIGHT_NOW), Outcome("peer", RIGHT, "", MEASURED)]
        Report({"date": "now"}, rest).write(tmp_path / "rest")

    monkeypatch.setattr(verify, "_lost", lambda _: True)
    monkeypatch.setattr(subprocess, "run", other)
    monkeypatch.setattr(verify.hardware, "described", lambda _: {"date": "now"})
    rows = [made("first", breaks), made("second", sound), made("third", sound)]
    status, outcomes = run(tmp_path, rows)
    assert status == 1
    assert [(each.name, each.state, each.note) for each in outcomes[1:]] == [
        ("second", FAILED, "the other process ended before it"),
        ("third", RIGHT_NOW, ""),
    ]
    [command] = asked
    assert command[1:5] == ["-m", "tests.gpu.verify", "--only", "second,third"]
    assert {"--tiny", "--minutes", str(tmp_path / "rest")} <= set(command)


def test_a_run_needs_no_library_that_a_bare_machine_lacks():
    code = "import sys, tests.gpu.verify, tests.gpu.child; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    lacking = {"ray", "mlflow", "matplotlib", "optuna", "cmaes", "openTSNE", "captum", "rich", "pytest"}
    assert not set(loaded.stdout.split()) & lacking


def test_a_difference_is_found_wherever_it_is():
    trial, data = small(Setting(CPU, True), "norm-dropout")
    one, other = (trained(trial, data, CPU) for _ in range(2))
    assert apart(one, other) == 0
    with torch.no_grad():
        other[0].model.head.bias[3] += 1e-6
    assert 0 < apart(one, other) < 1e-4
    other = trained(trial, data, CPU)
    other[0].rng = other[0].rng.clone()
    other[0].rng[-1] ^= 1
    assert apart(one, other) > 0
    assert relative(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 3.0])) == pytest.approx(1 / 18**0.5)


def test_a_trace_says_how_many_kernels_a_step_has_and_how_long_the_device_is_busy():
    """Kernels at 0–4, 2–6 and 10–12 µs, of two steps that took 20 µs: busy for 8, with 10 of work."""
    kernels = [{"cat": "kernel", "name": "k", "ts": ts, "dur": dur} for ts, dur in ((10, 2), (0, 4), (2, 4))]
    calls = [
        ("cudaLaunchKernel", "cuda_runtime"),
        ("cudaGraphLaunch", "cuda_runtime"),
        ("cuLaunchKernelEx", "cuda_driver"),
    ]
    others = [("cudaMemcpyAsync", "cuda_runtime"), ("Memset", "gpu_memset"), ("aten::Launch", "cpu_op")]
    events = kernels + [{"cat": cat, "name": name, "ts": 0, "dur": 1} for name, cat in calls + others] + [{"ph": "M"}]
    assert measure.counted(events, 2, 20e-6) == {
        "kernels a step": 1.5,
        "launches a step": 1.5,
        "busy %": pytest.approx(40.0),
        "overlap": 1.25,
    }
    assert measure.counted([], 2, 20e-6) == {"profile": "no kernels in the trace"}


def test_a_process_trains_for_as_long_as_it_is_asked(capsys):
    orders = iter([json.dumps({"way": "eager", "seconds": 0})] * 2)
    child.train_when_asked(Setting(CPU, True), orders)
    ready, *answers = map(json.loads, capsys.readouterr().out.splitlines())
    assert ready.keys() == {"import s", "context s", "captured"}
    assert [list(answer) for answer in answers] == [[RATE]] * 2


def test_a_process_that_ends_without_an_answer_says_how():
    with (
        children.Child(Setting(CPU, True), "no-such-task", {}) as process,
        pytest.raises(RuntimeError, match=r"^the process ended with status 1: .*KeyError: 'no-such-task'$"),
    ):
        process.answer()
