import argparse
import re
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest

from sweeps.execution import gpus
from sweeps.main import status
from sweeps.options import RunOptions, _parser, parse, seconds
from sweeps.preparing import chosen
from sweeps.study import Stage, Study
from trainables.config import Training, Trial
from trainables.errors import UserError

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
        num_gpus=None,
        trials_per_gpu=None,
        num_cpus=None,
        dataset=None,
        weights=None,
        data_dir=Path("data"),
        epochs=None,
        seeds=1,
        stages=(),
        early_stopping=True,
        grid_rule="behind",
        quick=False,
        dry_run=False,
        output=Path("results"),
        tracking_uri=None,
        address=None,
        fresh=False,
        for_=None,
        budget=None,
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
        "--grid-rule",
        "asha",
        "--output",
        "here",
        "--fresh",
        "--for",
        "1.5h",
        "--budget",
        "500",
        "--until",
        "0.9",
        "--priority",
        "-1",
        "--share",
        "0.5",
    )
    assert options == RunOptions(
        num_gpus=2,
        seeds=3,
        stages=("lr", "conv_layers"),
        early_stopping=False,
        grid_rule="asha",
        output=Path("here"),
        fresh=True,
        address="ray://head:1",
        for_=5400.0,
        budget=500,
        until=0.9,
        priority=-1,
        share=0.5,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num-gpu", "4"], "error: unknown argument '--num-gpu'; did you mean '--num-gpus'?"),
        (["--gpus", "4"], "error: unknown argument '--gpus'; did you mean '--num-gpus'?\n"),
        (["qux"], "error: unknown argument 'qux'; --help shows what there is\n"),
        (["--lr=0.1"], "error: unknown argument '--lr=0.1'; --help shows what there is\n"),
        (["--epochs", "ten"], "error: --epochs: 'ten' is not a whole number"),
        (["--epochs"], "error: --epochs: expected one argument"),
        (["--until", "90"], "error: --until: '90' is neither a fraction between 0 and 1 nor 'decided'\n"),
        (["--until", "decidd"], "error: --until: 'decidd' is neither a fraction between 0 and 1 nor 'decided'\n"),
        (["--until", "decided", "--seeds", "3"], "error: --until decided needs --seeds, above 3: how many each of "),
        (["--priority", "101"], "error: --priority is 101, but must be -100..100\n"),
        (["--share", "75"], "error: --share: '75' is not a part of a whole, such as 0.75\n"),
        (["--share", "half"], "error: --share: 'half' is not a part of a whole, such as 0.75\n"),
        (["--grid-rule", "behnd"], "error: --grid-rule: 'behnd' is not known; did you mean 'behind'?"),
        (["--grid-rule", "x"], "error: --grid-rule: 'x' is not known; known: behind, asha\n"),
        (["--sampler", "x"], "error: --sampler: 'x' is not known; known: tpe, random, gp, cma-es, nsga2, grid\n"),
        (
            ["--rule", "x"],
            "error: --rule: 'x' is not known; known: asha, freeze-thaw, hyperband, median, pasha, none\n",
        ),
        (["--dataset", "x"], "error: unknown data set 'x'; known: cifar10, .*, cifar100, svhn, stl10, folder:PATH\n"),
        (["--for", "2x"], "error: --for: '2x' is not a time above 0, such as 90s, 45m, 1h30m or 2d\n"),
        (["--notify", "http://x.org/a?b"], "error: --notify is 'http://x.org/…', but must be https://, or http:// on"),
        (["--budget", "0"], "error: --budget is 0, but must be at least 1"),
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


def test_the_plan_says_where_trials_would_run_and_what_does_not_fit(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gpus, "count", lambda: 2)
    monkeypatch.setattr(gpus, "memory", lambda _: 2 * 10**9)
    monkeypatch.setattr(gpus, "mps", lambda: False)
    assert status(STUDY, ["--dry-run", "--trials-per-gpu", "2"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    share = "Trials run on 2 GPUs (all that torch sees): 2 share each: at most 1.5 GB each of 2.0 GB; "
    assert share + "MPS is not running." in shown
    assert shown.endswith(
        "warning: --trials-per-gpu is 2, but a trial of stage conv_layers takes an estimated 1.5 GB of a GPU's 2.0 GB: "
        "1 fits"
    )
    assert status(STUDY, ["--dry-run", "--num-gpus", "0"]) == 0
    assert "Trials run on the CPU." in capsys.readouterr().out


def test_a_dry_run_prints_the_plan_and_starts_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert status(STUDY, ["--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "3 distinct trials" in printed or "2 distinct trials" in printed
    assert "16×30×30" in printed
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", [True, False])
def test_the_flag_has_each_seed_split_the_data_in_all_trials_and_takes_no_study_s_choice_back(given):
    own = Stage("own", {"training.lr": (0.1,)}, start=Trial(training=Training(vary_split=True)))
    study = replace(STUDY, stages=(*STUDY.stages, own))
    found = chosen(study, read(*["--vary-split"][: int(given)]))
    assert found.baseline.training.vary_split == given
    assert found.stages[-1].start.training.vary_split


STARTING = Study("start", Trial(dataset="shapes"), (Stage("weights", {"weights": (None, "resnet18-imagenet")}),))


@pytest.mark.parametrize("quick", [[], ["--quick"]])
@pytest.mark.parametrize("given", ["mine.pth", ""])
def test_weights_that_no_trial_would_start_from_are_refused(quick, given, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert status(STUDY, ["--weights", given, *quick]) == 2
    name = "small_quick" if quick else "small"
    assert capsys.readouterr().err == (
        f"error: weights are {given!r}, but no trial of study {name} starts from pretrained weights\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_weights_are_refused_where_the_chosen_stages_need_none(capsys):
    plain = Stage("lr", {"training.lr": (0.1,)}, start=Trial(dataset="shapes"))
    both = Study("both", STARTING.baseline, (*STARTING.stages, plain))
    assert status(both, ["--weights", "mine.pth", "--stages", "lr"]) == 2
    assert "but no trial of study both starts from pretrained weights" in capsys.readouterr().err


def test_given_weights_take_the_place_of_the_study_s_and_quick_alone_leaves_them_out():
    def weights(**options):
        return chosen(STARTING, RunOptions(**options)).stages[0].vary["weights"]

    assert weights() == (None, "resnet18-imagenet")
    assert weights(weights="mine.pth") == (None, "mine.pth")
    assert weights(weights="mine.pth", quick=True) == (None, "mine.pth")
    assert weights(quick=True) == (None,)


@pytest.mark.parametrize("flags", [["--sampler", "random"], ["--num-trials", "4"], ["--rule", "asha"]])
def test_what_only_a_search_has_is_refused_for_a_study_without_one(flags, capsys):
    assert status(STUDY, flags) == 2
    assert capsys.readouterr().err.startswith("error: study small has no search")


HELP = """Many. Which of them is it that matters for a small network, and for which of the data sets does it do so?
And since when?

    python many.py --num-trials 64           # goes on where the first ones ended, on more than a hundred columns
    row  of a table

Another paragraph."""


@pytest.mark.parametrize(("columns", "width"), [(10, 20), (60, 60), (80, 80), (100, 100), (140, 100)])
def test_help_has_one_width_and_what_is_indented_stays(columns, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = _parser(HELP, ["lr"]).format_help().splitlines()
    for line in HELP.splitlines():
        assert not line.startswith(" ") or line in lines
    ours = lines[: lines.index("examples:")]
    set_lines = [line for line in ours if line not in HELP.splitlines() or not line.startswith(" ")]
    if columns >= 60:  # no word is longer
        assert width - 12 < max(map(len, set_lines)) <= width
    assert " ".join(HELP.partition("\n\n")[0].split()) in " ".join(" ".join(lines).split())


def test_help_ends_with_examples_that_can_be_run(monkeypatch):
    monkeypatch.setattr("sys.argv", ["sweeps/part_a.py"])
    lines = _parser("", ["lr"]).format_help().partition("examples:\n")[2].splitlines()
    commands = [line.removeprefix("  python sweeps/part_a.py ") for line in lines if not line.startswith("  # ")]
    assert len(commands) == len(lines) / 2 > 2
    for command in commands:
        assert read(*command.split()) != RunOptions()


def test_help_names_what_can_be_chosen(monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    shown = " ".join(_parser("", ["conv", "lr"]).format_help().split())
    assert "early-stopping rule of stages that are not searches: behind, asha (default: behind)" in shown
    assert "what a search draws its trials with: tpe, random, gp, cma-es, nsga2, grid (default: the study's)" in shown
    assert (
        "early-stopping rule of a search: asha, freeze-thaw, hyperband, median, pasha, none (default: the study's)"
        in shown
    )
    assert "whose winners they need: conv, lr (default: all)" in shown
    assert "emnist-letters, emnist-mnist, usps, cifar100, svhn, stl10, folder:PATH (default: the study's)" in shown


def test_every_option_has_a_flag_with_a_help_text():
    flags = {action.dest: action for action in _parser("", ["lr"])._actions if action.dest != "help"}
    assert set(flags) == {field.name for field in fields(RunOptions)}
    assert all(action.help for action in flags.values())


def test_the_defaults_of_the_flags_are_those_of_the_options(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    parser = _parser("", [])
    assert {field.name: parser.get_default(field.name) for field in fields(RunOptions)} == asdict(RunOptions())


@pytest.mark.parametrize("name", ["num_gpus", "trials_per_gpu", "num_cpus", "epochs", "seeds", "num_trials", "budget"])
def test_numbers_have_a_least_value(name):
    least = 0 if name == "num_gpus" else 1
    assert getattr(RunOptions(**{name: least}), name) == least
    flag = f"--{name.replace('_', '-')}"
    with pytest.raises(UserError, match=f"^{flag} is {least - 1}, but must be at least {least}$"):
        RunOptions(**{name: least - 1})


def test_a_folder_s_tilde_is_the_user_s_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert read("--data-dir", "~/data").data_dir == Path("/home/me/data")


def test_quick_is_the_same_study_under_its_own_name_on_the_embedded_data():
    quick = chosen(STUDY, RunOptions(quick=True))
    assert (quick.name, quick.baseline.dataset, quick.baseline.training.epochs) == ("small_quick", "shapes", 6)
    assert [stage.vary for stage in quick.stages] == [stage.vary for stage in STUDY.stages]
    assert chosen(STUDY, RunOptions(quick=True, epochs=2)).baseline.training.epochs == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", 90),
        ("45m", 2700),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1d2h3m4s", 93_784),
        ("0.5h", 1800),
        ("1.5d", 129_600),
    ],
)
def test_a_time_is_read_as_people_write_it(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "0s", "0h0m", "2", "h", "-1h", "30m1h", "1h 30m", "1e3s", "infs"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match=f"^{text!r} is not a time above 0"):
        seconds(text)
