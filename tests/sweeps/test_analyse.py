"""What `sweeps/analyse.py` asks for, from its arguments. That it is done: tests/sweeps/test_engine.py."""

import pytest
from mlflow.exceptions import MlflowException
from rich.console import Console

from analysis.filters.naming import chosen
from analysis.jobs import JOBS, kind
from sweeps import analyse
from sweeps.analyse import _jobs, _parser, _value
from sweeps.decisions.status import Status
from sweeps.part_b import ANALYSES
from sweeps.tracking.store import Store, StoredTrial
from tests.analysis.jobs.test_occlusion import make_subject
from tests.sweeps.tracking.trials import RECORD
from trainables.config import CNN
from trainables.errors import UserError
from trainables.history import History

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


def test_without_names_every_analysis_is_asked_for():
    assert [job.name for job in _jobs((), (), None)] == list(JOBS)
    assert [job.name for job in _jobs((), (), ANALYSES)] == ["occlusion", "filters", "ablation"]


def test_given_options_hold_for_the_jobs_named_and_settings_change_them():
    occlusion, compare = _jobs(("occlusion", "compare"), ("occlusion.windows=5,9", "occlusion.stride=2"), ANALYSES)
    assert (occlusion.windows, occlusion.per_class, occlusion.stride) == ((5, 9), 2, 2)
    assert compare == kind("compare")()
    assert ANALYSES["occlusion"] == {"per_class": 2, "fill": "gray"}  # untouched


@pytest.mark.parametrize("setting", ["neighbours.queries=5", "occlusion.windows=5", "filters_drawn.layers=conv1"])
def test_an_option_of_several_values_takes_a_single_one(setting):
    [job] = _jobs((setting.partition(".")[0],), (setting,), None)
    assert next(iter(vars(job).values())) in ((5,), ("conv1",))


@pytest.mark.parametrize(
    ("text", "several", "value"),
    [
        ("5", False, 5),
        ("0.5", False, 0.5),
        ("None", False, None),
        ("conv1", False, "conv1"),
        ("conv1:0,1", False, "conv1:0,1"),
        ("3,5", True, (3, 5)),
        ("3", True, (3,)),
        ("block1,conv2", True, ("block1", "conv2")),
        ("None", True, None),
        ("'a", False, "'a"),
    ],
)
def test_values_are_read_as_python_does_or_else_as_words(text, several, value):
    assert _value(text, several) == value


def test_a_study_of_its_own_is_asked_where_no_run_is_named():
    assert _parser("part_a").read([]).what == []
    assert _parser("part_a").read(["other"]).what == ["other"]
    with pytest.raises(UserError, match="required"):
        _parser(None).read([])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scnes"], "'scnes' is neither a run's id nor a study in "),
        (["0" * 32], "has no run 00000000"),
        (["scenes", "--jobs", "occlusoin"], "there is no analysis 'occlusoin'; did you mean 'occlusion'?"),
        (["scenes", "--set", "occlusion"], "--set is 'occlusion', but must be JOB.OPTION=VALUE"),
        (
            ["scenes", "--set", "occlusion.window=3"],
            "analysis occlusion has no option 'window'; did you mean 'windows'?",
        ),
        (["scenes", "--top", "0"], "--top is 0, but must be at least 1"),
    ],
)
def test_a_wrong_analysis_is_answered_in_one_line(tmp_path, arguments, message):
    with pytest.raises(UserError) as caught:
        analyse.run([*arguments, "--tracking-uri", f"sqlite:///{tmp_path / 'mlflow.db'}"], Console())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("there", "asked"),
    [({"part_a"}, "part_a"), ({"part_a", "part_a_quick"}, "part_a"), ({"part_a_quick"}, "part_a_quick")],
)
def test_where_a_study_has_only_run_with_quick_that_is_asked(tmp_path, monkeypatch, there, asked):
    def finished(_, what: str) -> list:
        if what not in there:
            raise UserError(f"no {what}")
        return []

    monkeypatch.setattr(Store, "finished", finished)
    said = []
    assert analyse._found(Store(f"sqlite:///{tmp_path / 'mlflow.db'}"), "part_a", said.append) == asked
    assert said == (
        ["part_a has no finished trial here: part_a_quick is asked instead"] if asked == "part_a_quick" else []
    )


def test_where_it_has_not_run_at_all_that_is_said_of_the_study(tmp_path):
    with pytest.raises(UserError, match=r"^'part_a' is neither a run's id nor a study in "):
        analyse._found(Store(f"sqlite:///{tmp_path / 'mlflow.db'}"), "part_a", print)


@pytest.mark.parametrize("layers", [1, 2, 3, 5])
def test_part_b_can_be_asked_of_a_network_of_any_depth(layers):
    subject = make_subject(CNN(conv_layers=layers, channels=4, pooling="none"), count=8)
    occlusion, filters, ablation = _jobs((), (), ANALYSES)
    assert occlusion.parts(subject) == 3
    assert filters.parts(subject) == 4  # one network, three untrained ones
    assert ablation.parts(subject) > 1
    by_place = {f"conv{number + 1}": tuple(range(count)) for number, count in enumerate((3, 3, 4)[:layers])}
    assert chosen(filters.filters, subject) == chosen(ablation.filters, subject) == by_place


def test_of_a_network_without_filters_part_b_says_so_in_one_line():
    subject = make_subject(count=8)
    occlusion, *others = _jobs((), (), ANALYSES)
    assert occlusion.parts(subject) == 3
    for job in others:
        with pytest.raises(UserError, match=r"^net has no convolutions, and so no filters$"):
            job.parts(subject)


@pytest.mark.parametrize("call", ["finished", "dataset"])
def test_an_mlflow_that_goes_away_at_the_start_is_one_line(tmp_path, monkeypatch, call):
    def away(*_):
        raise MlflowException("API request failed:\nconnection refused")

    trial = StoredTrial("0" * 64, "run", "study", "lr: 0.1", Status.DONE, History({0: (RECORD,)}).to_dict(), None)
    monkeypatch.setattr(Store, "finished", lambda *_: [trial])
    monkeypatch.setattr(Store, call, away)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with pytest.raises(UserError) as caught:
        analyse.run(["study", "--tracking-uri", uri], Console())
    why = "MlflowException: API request failed: connection refused"
    assert str(caught.value) == f"cannot read MLflow at {uri}: {why}"


def test_a_report_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "analysis.json").mkdir()
    said = []
    assert not analyse._write(tmp_path, "study", [], said.append)
    [line] = said
    assert line.startswith(f"warning: the report cannot be written to {tmp_path}: ")
    assert analyse._write(tmp_path / "other", "study", [], said.append)
    assert (tmp_path / "other" / "analysis.html").is_file()
