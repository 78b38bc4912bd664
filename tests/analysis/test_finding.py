"""A finding as files."""

import io
import json

import numpy as np

from analysis.finding import Figure, Finding
from analysis.report import Column, Measured, Table


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
    assert files["finding.json"].startswith(b'{\n "job": "job",\n')  # for people to read
    back = Finding.from_files(files)
    assert (back.job, back.title, back.text, back.tables, back.figures) == (
        finding.job, finding.title, finding.text, finding.tables, finding.figures,
    )  # fmt: skip
    np.testing.assert_array_equal(np.load(io.BytesIO(files["job.npz"]))["x"], np.arange(3))


def test_a_finding_without_arrays_has_no_file_of_them():
    assert set(Finding("job", "Title").files()) == {"finding.json"}
    assert Finding("job", "Title").arrays == {}
    table = Table("t", (Column("a"),), ((1,),))
    assert Finding.from_files(Finding("job", "Title", tables={"t": table}).files()).tables == {"t": table}
