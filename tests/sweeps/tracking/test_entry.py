"""sweeps.tracking.entry: plain data."""

import dataclasses

import pytest

from sweeps.tracking.entry import Entry


def test_an_entry_needs_only_a_name_and_does_not_change():
    entry = Entry("depth=2")
    assert entry == Entry("depth=2", {}, {}, None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        entry.name = "depth=3"
