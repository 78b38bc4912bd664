import re
from pathlib import Path

import pytest

from sweeps.engine import chosen
from sweeps.main import status
from sweeps.options import RunOptions, parse
from sweeps.study import Stage, Study
from trainables.config import Trial

STUDY = Study(
    "small",
    Trial(dataset="shapes"),
    (Stage("conv_layers", {"model.conv_layers": (0, 1)}), Stage("lr", {"training.lr": (0.1,)})),
)


def read(*arguments):
    return parse(arguments, description="", stages=["conv_layers", "lr"])


def test_without_flags_the_contract_of_the_design_holds(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert read() == RunOptions()
    assert RunOptions() == RunOptions(
        num_gpus=0,
        trials_per_gpu=None,
        num_cpus=None,
        dataset=None,
        weights=None,
        data_dir=Path("data"),
        epochs=None,
        seeds=1,
        stages=(),
        early_stopping=True,
        quick=False,
        dry_run=False,
        output=Path("results"),
        tracking_uri=None,
        address=None,
        fresh=False,
    )


def test_every_flag_is_read(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:1")
    options = read(
        "--num-gpus",
        "2",
        "--seeds",
        "3",
        "--stages",
        "lr,conv_layers",
        "--no-early-stopping",
        "--output",
        "here",
        "--fresh",
    )
    assert options == RunOptions(
        num_gpus=2,
        seeds=3,
        stages=("lr", "conv_layers"),
        early_stopping=False,
        output=Path("here"),
        fresh=True,
        address="ray://head:1",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num-gpu", "4"], "error: unknown argument '--num-gpu'; did you mean '--num-gpus'?"),
        (["--epochs", "ten"], "error: argument --epochs: 'ten' is no whole number"),
        (["--epochs", "0"], "error: --epochs is 0, but must be at least 1"),
        (["--seeds", "-1"], "error: --seeds is -1, but must be at least 1"),
        (["--stages", "conv_layer"], "error: study small has no stage 'conv_layer'; did you mean 'conv_layers'?"),
        (["--dataset", "cifar"], "error: .*'cifar'.*cifar10"),
        (["--tracking-uri", "ftp://x"], "error: tracking URI 'ftp://x': must be sqlite:///PATH or http"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert status(STUDY, arguments) == 2
    printed = capsys.readouterr()
    assert len(printed.err.splitlines()) == 1
    assert re.match(message if ".*" in message else re.escape(message), printed.err)
    assert printed.out == ""


def test_a_dry_run_prints_the_plan_and_starts_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert status(STUDY, ["--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "3 distinct trials" in printed or "2 distinct trials" in printed
    assert "16×30×30" in printed
    assert list(tmp_path.iterdir()) == []


def test_quick_is_the_same_study_under_its_own_name_on_the_embedded_data():
    quick = chosen(STUDY, RunOptions(quick=True))
    assert (quick.name, quick.baseline.dataset, quick.baseline.training.epochs) == ("small_quick", "shapes", 6)
    assert [stage.vary for stage in quick.stages] == [stage.vary for stage in STUDY.stages]
    assert chosen(STUDY, RunOptions(quick=True, epochs=2)).baseline.training.epochs == 2
