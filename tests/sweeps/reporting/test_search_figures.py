import pytest

from sweeps.reporting.album import Album
from sweeps.reporting.search_figures import search_pictures
from tests.sweeps.decisions.test_search_run import Cluster, search
from tests.sweeps.reporting.materials import material


@pytest.fixture(scope="module")
def found():
    return Cluster(search(27, seeds=2, confirm=2)).search


def test_what_mattered_is_drawn_where_enough_trials_tell_it(found, tmp_path):
    drawn = {picture.file.stem: picture for picture in search_pictures(found.result(), material(), Album(tmp_path))}
    assert drawn["find-importance"].caption.endswith("small, shapes, PED-ANOVA over the trials' scores at epoch 1.")
    few = Cluster(search(5)).search
    names = [picture.file.stem for picture in search_pictures(few.result(), material(), Album(tmp_path))]
    assert "find-importance" not in names
