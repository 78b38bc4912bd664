"""What an undisturbed run of the small study comes to."""

from typing import Any

import pytest

from tests.faults.site import TRIALS, Site


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> dict[str, Any]:
    site = Site(tmp_path_factory.mktemp("undisturbed"))
    status, said = site.run()
    assert status == 0, said
    outcome = site.outcome()
    assert [(status, steps) for _, status, steps in outcome["runs"]] == [("FINISHED", list(range(1, 13)))] * TRIALS
    return outcome


@pytest.fixture
def site(tmp_path) -> Site:
    return Site(tmp_path)
