import pytest

from sweeps.reporting.provenance import Provenance

VERSIONS, AGAIN = {"torch": "2.11", "ray": "2.60"}, {"k": ("it hung",)}
KNOWN = Provenance(1764156000.0, 1764159660.5, "python sweeps/part_a.py", "2 CPUs", "abc", VERSIONS, AGAIN)


def test_it_comes_back_as_it_was():
    found = Provenance.from_json(KNOWN.to_json())
    assert found == KNOWN
    assert list(found.versions) == ["torch", "ray"]  # a report has them in this order


def test_times_are_in_utc_and_unknown_where_nobody_knows_them():
    assert (KNOWN.date, KNOWN.time) == ("2025-11-26 12:21 UTC", "2025-11-26 11:20 UTC to 2025-11-26 12:21 UTC")
    assert (Provenance().date, Provenance().time) == ("", "")
    assert Provenance(ended=0.0).time == ""


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', '{"began": "now", "versions": 3, "command": null}'])
def test_what_is_damaged_is_not_known(text):
    assert Provenance.from_json(text) == Provenance()
