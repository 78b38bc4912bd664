import io
from dataclasses import replace

import pytest
from rich.console import Console

from sweeps import checks
from sweeps.decisions.planning import plan_study
from sweeps.study import Stage, Study
from tests.sweeps.reporting.materials import STUDY
from trainables.config import ResNet, Trial
from trainables.errors import UserError


def test_a_study_without_weights_reads_none(tiny, tmp_path):
    assert checks.weights(plan_study(STUDY, (3, 32, 32), 3), tiny, tmp_path, Console(file=io.StringIO())) == {}


def test_weights_that_are_not_there_are_refused_before_anything_runs(tiny, tmp_path):
    trial = Trial("tiny", ResNet(depth=18), weights=str(tmp_path / "gone.pth"))
    planned = plan_study(Study("s", trial, (Stage("start"),)), (3, 32, 32), 3)
    with pytest.raises(UserError, match=r"gone\.pth"):
        checks.weights(planned, tiny, tmp_path, Console(file=io.StringIO()))


def test_analyses_are_made_with_their_options_and_a_wrong_one_is_refused():
    assert checks.jobs(STUDY) == []
    [job] = checks.jobs(replace(STUDY, analyses={"mistakes": {"count": 3}}))
    assert (job.name, job.count) == ("mistakes", 3)
    with pytest.raises(UserError, match="count is 0"):
        checks.jobs(replace(STUDY, analyses={"mistakes": {"count": 0}}))
