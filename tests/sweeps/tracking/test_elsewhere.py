"""sweeps.tracking.elsewhere against a real sqlite store."""

import json

import pytest

from sweeps.decisions.status import Status
from sweeps.tracking.elsewhere import inside
from sweeps.tracking.entry import params
from sweeps.tracking.store import Store
from tests.sweeps.decisions.cluster import BASE, SPACE
from tests.sweeps.outcomes import history, terms

# MLflow 3.17's own mapping, on SQLAlchemy 2.1; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")

TERMS = terms()


def keep(store: Store, study: str, trial, *scores: float, status="done") -> str:
    tags = {"key": TERMS.key(trial), "status": status}
    run = store.client.create_run(store.experiment_id(study), tags=tags).info.run_id
    for name, value in params(trial).items():
        store.client.log_param(run, name, value)
    store.attach(run, "", {"curves.json": json.dumps(history(list(scores)).to_dict()).encode()})
    return run


def test_of_all_studies_the_points_of_the_space_are_found_with_their_curves(store: Store, monkeypatch) -> None:
    one = BASE.with_values({"model.conv_layers": 1, "training.lr": 0.05, "training.batch_size": 32})
    two, three = (one.with_values({"model.conv_layers": layers}) for layers in (2, 3))
    keep(store, "grid", one, 0.3, status="censored")
    longest = keep(store, "mine", one, 0.3, 0.4)
    keep(store, "grid", two, 0.6)
    keep(store, "grid", three, 0.9)
    keep(store, "grid", one.with_values({"training.lr": 0.5}), 0.1)  # outside
    keep(store, "grid", one.with_values({"model.kernel": 5}), 0.2)  # in the space of another start
    read = []
    curves = Store.curves
    monkeypatch.setattr(Store, "curves", lambda self, run: read.append(run.data.tags["key"]) or curves(self, run))
    found = inside(store, SPACE, BASE, TERMS.key, {TERMS.key(three)})
    assert {each.key: each.known.study for each in found} == {TERMS.key(one): "mine", TERMS.key(two): "grid"}
    [first] = [each for each in found if each.key == TERMS.key(one)]
    assert first.values == {"model.conv_layers": 1, "training.lr": 0.05, "training.batch_size": 32}
    assert (first.known.run_id, first.known.status) == (longest, Status.DONE)
    assert first.known.history == history([0.3, 0.4])
    assert sorted(read) == sorted(each.key for each in found)  # no other run's files are fetched


def test_an_empty_store_teaches_nothing(store: Store) -> None:
    assert inside(store, SPACE, BASE, TERMS.key, ()) == []
