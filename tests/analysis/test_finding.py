import io
import json

import numpy as np
import pytest

from analysis.finding import Figure, Finding
from analysis.jobs import JOBS, make
from analysis.report import Column, Measured, Table
from trainables.errors import UserError


def test_a_finding_survives_its_files_but_for_the_arrays():
    table = Table(
        "t",
        (Column("a", best="max", digits=1), Column("b", show=False)),
        ((Measured(1.0, 0.5, 3), None), ("x", 2)),
        (True, False),
    )
    finding = Finding(
        "job", "Title", ("said",), {"numbers": table}, {"picture": Figure(b"png", "of what")}, {"x": np.arange(3)}
    )
    files = json.loads(json.dumps({name: content.hex() for name, content in finding.files().items()}))
    files = {name: bytes.fromhex(content) for name, content in files.items()}
    assert set(files) == {"numbers.csv", "picture.png", "job.npz", "finding.json"}
    back = Finding.from_files(files)
    assert (back.job, back.title, back.text, back.tables, back.figures) == (
        finding.job, finding.title, finding.text, finding.tables, finding.figures,
    )  # fmt: skip
    np.testing.assert_array_equal(np.load(io.BytesIO(files["job.npz"]))["x"], np.arange(3))


def test_jobs_are_made_by_name_with_their_options():
    assert list(JOBS) == [kind.name for kind in JOBS.values()]
    [job] = make({"occlusion": {"windows": (5,)}})
    assert job == JOBS["occlusion"](windows=(5,))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"occlusoin": {}}, "there is no analysis 'occlusoin'; did you mean 'occlusion'?"),
        ({"occlusion": {"window": 3}}, "analysis occlusion has no option 'window'; did you mean 'windows'?"),
    ],
)
def test_what_is_no_job_is_refused_in_one_line(wanted, message):
    with pytest.raises(UserError) as caught:
        make(wanted)
    assert str(caught.value) == message
