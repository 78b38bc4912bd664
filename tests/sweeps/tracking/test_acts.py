"""sweeps.tracking.acts against a real sqlite store."""

import pytest

from sweeps.decisions.acts import Act
from sweeps.tracking import acts

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


def test_acts_are_read_in_the_order_in_which_they_were_asked_for(store):
    experiment = store.experiment_id("study")
    late, early = Act("stop", "", "maria", time=2.0), Act("drop", "abcd", "jo", time=1.0)
    for act in (late, early):
        acts.write(store, experiment, act)
    assert acts.read(store, experiment) == [early, late]
    acts.write(store, experiment, early.answered("dropped", {"dropped": "abcd"}))
    acts.withdraw(store, experiment, late)
    assert acts.read(store, experiment) == [early.answered("dropped", {"dropped": "abcd"})]
    assert acts.taken(store, "study", print) == acts.read(store, experiment)


def test_only_what_was_carried_out_counts_as_taken(store):
    experiment = store.experiment_id("study")
    acts.write(store, experiment, Act("stop", "", "maria"))
    acts.write(store, experiment, Act("stop", "", "maria").answered("not done: it ends already", None))
    assert acts.taken(store, "study", print) == []
    assert acts.taken(store, "another", print) == []


def test_what_is_damaged_is_left_out_and_said(store):
    experiment, said = store.experiment_id("study"), []
    store.client.set_experiment_tag(experiment, f"{acts.PREFIX}1", '{"what": "halt"}')
    assert acts.read(store, experiment, said.append) == []
    assert len(said) == 1
    assert said[0].startswith("warning: an act of this study in MLflow cannot be read, and is left out: it is no act")
