"""A finding as files."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from analysis.finding import Figure, Finding
from analysis.page.writing import table_html
from analysis.report import Column, Measured, Table
from tests import damage

END_OF_PNG = 12  # bytes of the mark that ends one


def png(size: int = 8) -> bytes:
    drawn = io.BytesIO()
    Image.fromarray(np.arange(size * size, dtype=np.uint8).reshape(size, size)).save(drawn, "PNG")
    return drawn.getvalue()


TABLE = Table(
    "t",
    (Column("a", best="max", digits=1), Column("b", show=False)),
    ((Measured(1.0, 0.5, 3), None), ("x", 2)),
    (True, False),
)
FINDING = Finding(
    "job", "Title", ("said",), {"numbers": TABLE}, {"picture": Figure(png(), "of what")}, {"x": np.arange(3)}
)


def before() -> dict[str, bytes]:
    """Return FINDING as it was written before findings had digests."""
    files = FINDING.files()
    form = json.loads(files["finding.json"])
    del form["digests"], form["digest"]
    return files | {"finding.json": json.dumps(form, indent=1).encode()}


def same(one: Finding, other: Finding) -> bool:
    """Whether two are the same but for their arrays, which are not read back."""
    return all(getattr(one, name) == getattr(other, name) for name in ("job", "title", "text", "tables", "figures"))


def test_a_finding_survives_its_files_but_for_the_arrays():
    finding = FINDING
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


def test_a_finding_of_an_earlier_version_is_read():
    assert same(Finding.from_files(before()), FINDING)
    files = before()
    form = json.loads(files["finding.json"])
    del form["tables"]["numbers"]["folded"]
    assert same(Finding.from_files(files | {"finding.json": json.dumps(form).encode()}), FINDING)


def test_raw_rows_stay_folded():
    table = Table("t", (Column("a"),), ((1,),), folded=True)
    files = Finding("job", "Title", tables={"t": table}).files()
    assert Finding.from_files(files).tables["t"].folded
    form = json.loads(files["finding.json"])
    del form["digest"]
    form["tables"]["t"]["folded"] = "yes"
    with pytest.raises(ValueError, match="folded is 'yes'"):
        Finding.from_files(files | {"finding.json": json.dumps(form).encode()})


def test_of_a_damaged_finding_nothing_is_shown():
    files = FINDING.files()
    read, refused = damage.survey(
        damage.any_of(files["finding.json"], most=500), lambda form: Finding.from_files(files | {"finding.json": form})
    )
    assert [what for what, finding in read.items() if not same(finding, FINDING)] == []
    assert len(refused) > 800


def test_of_an_earlier_version_s_finding_what_is_read_can_be_shown():
    """It has no digests: what a flipped bit has made of a word cannot be told, but it is a word."""
    files = before()
    read, refused = damage.survey(
        damage.any_of(files["finding.json"], most=500), lambda form: Finding.from_files(files | {"finding.json": form})
    )
    assert len(refused) > 800
    for finding in read.values():
        for table in finding.tables.values():
            table_html(table), table.to_csv(), table.to_json(), table.to_rich()
        assert json.dumps(finding.files()["finding.json"].decode(), ensure_ascii=False).encode()


def test_each_file_that_is_damaged_or_lost_is_named():
    files = FINDING.files()
    for name in files.keys() - {"finding.json"}:
        for content in (b"", files[name][:-1], files[name] + b"x", bytes(8)):
            with pytest.raises(ValueError, match=f"^{name} is not what was written$"):
                Finding.from_files(files | {name: content})
        with pytest.raises(ValueError, match=f"^{name} is missing$"):
            Finding.from_files({other: content for other, content in files.items() if other != name})
    for what, swapped in damage.swapped(files):
        with pytest.raises(ValueError, match=r"not what was written|describes no finding|delimiter|codec|value"):
            assert not Finding.from_files(swapped), what
    with pytest.raises(ValueError, match=r"^there is no finding\.json$"):
        Finding.from_files({})


def test_without_digests_pictures_are_looked_at():
    files = before()
    for what, content in (*damage.truncated(png()), *damage.flipped(png())):
        if content[: len(png()) - END_OF_PNG] == png()[:-END_OF_PNG]:
            continue  # all of the picture is there
        with pytest.raises(ValueError, match=r"^picture\.png is not a whole picture$"):
            assert not Finding.from_files(files | {"picture.png": content}), what
    for name in ("picture.png", "numbers.csv"):
        with pytest.raises(ValueError, match=f"^{name} is missing$"):
            Finding.from_files({other: content for other, content in files.items() if other != name})


@pytest.mark.parametrize("stem", ["../../x", "/x", "a/b", "a\\b", "a\0b", ""])
def test_no_name_in_a_finding_leads_elsewhere(stem):
    form = json.loads(before()["finding.json"])
    form["captions"] = {stem: "of what"}
    files = before() | {"finding.json": json.dumps(form).encode(), f"{stem}.png": png()}
    with pytest.raises(ValueError, match="is not a file name"):
        Finding.from_files(files)


def test_what_is_damaged_on_purpose_is_no_finding_either():
    """A digest can be made to fit; the words and numbers must make sense all the same."""
    [number] = json.loads(before()["finding.json"])["tables"]["numbers"]["columns"][:1]
    assert number["digits"] == 1
    for where, value in (("digits", 10**9), ("digits", True), ("show", 1), ("name", "\ud800"), ("best", "most")):
        form = json.loads(before()["finding.json"])
        form["tables"]["numbers"]["columns"][0][where] = value
        with pytest.raises(ValueError, match=r"."):
            Finding.from_files(before() | {"finding.json": json.dumps(form).encode()})


def test_a_notebook_shows_words_figures_and_what_is_shown_of_tables():
    found = Finding("job", "A < B", ("so & so",), {"t": TABLE}, {"f": Figure(png(), 'a "cat"')})
    picture = base64.b64encode(png()).decode()
    assert found._repr_html_() == (
        "<h3>A &lt; B</h3><p>so &amp; so</p>"
        f'<figure><img src="data:image/png;base64,{picture}" alt="a &quot;cat&quot;" style="max-width:100%">'
        "<figcaption>a &quot;cat&quot;</figcaption></figure>"
        "<details><summary>t</summary><table><tr><th>a</th></tr>"
        "<tr><td>1.0 ± 0.5 (3)</td></tr><tr><td>x</td></tr></table></details>"
    )
