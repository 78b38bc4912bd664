import io
from dataclasses import replace

import pytest
from rich.console import Console

from sweeps import preparing
from sweeps.decisions.acts import Steered
from sweeps.decisions.planning import plan_study
from sweeps.decisions.seeding import CONTESTED, DECIDED
from sweeps.options import RunOptions
from sweeps.study import Choice, Search, Space
from sweeps.tracking import notes
from tests.sweeps.folders import study_on
from trainables.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


class Place:
    """A study on a folder of images, and what is said as it is prepared."""

    def __init__(self, store, folder, data):
        self.store, self.images, self.study = store, folder / "images", study_on(folder / "images", data)
        self.options = RunOptions(output=folder / "results", data_dir=folder)
        self.dataset = self.study.baseline.dataset
        self.run_id = store.client.create_run(store.experiment_id("study")).info.run_id
        self.text = io.StringIO()

    def run(self) -> preparing.Prepared:
        console = Console(file=self.text, width=200)
        return preparing.to_run(self.study, plan_study(self.study, (3, 12, 12), 3), self.options, console)[0]

    def report(self) -> preparing.Prepared:
        return preparing.to_report(self.study, self.options, self.store, Console(file=self.text, width=200))

    def keep(self, prepared) -> None:
        preparing.keep(prepared, self.store, self.run_id, self.say)

    def say(self, line: str) -> None:
        self.text.write(f"{line}\n")


@pytest.fixture
def place(store, tmp_path, tiny) -> Place:
    return Place(store, tmp_path, tiny)


def test_what_mlflow_keeps_does_in_place_of_the_data(place):
    ran = place.run()
    place.keep(ran)
    place.images.rename(place.images.with_name("gone"))
    found = place.report()
    assert found == ran
    assert (found.terms, found.reachable, found.facts({})) == (ran.terms, ran.reachable, ran.facts({}))
    assert place.text.getvalue() == ""


def test_a_store_of_an_earlier_version_has_the_data_read_and_that_is_said(place):
    assert place.report() == place.run()
    line = f"MLflow does not keep all that the report needs of {place.dataset}; it is read from disk\n"
    assert place.text.getvalue() == line
    place.images.rename(place.images.with_name("gone"))
    with pytest.raises(UserError, match="images"):
        place.report()


def test_what_is_damaged_has_the_data_read_too_and_the_next_start_mends_it(place):
    ran = place.run()
    notes.write_data(place.store, "study", place.dataset, place.run_id, b"cut")
    assert place.report() == ran
    first, second = place.text.getvalue().splitlines()
    assert (
        first == f"warning: what MLflow keeps of {place.dataset} is damaged: not whole: its checksum differs (3 bytes)"
    )
    assert second.startswith("MLflow does not keep all")
    place.keep(ran)
    assert preparing.kept(place.store, place.study, place.say) == ran.known


def test_what_is_kept_is_sent_once_and_weights_of_other_commands_stay(place, monkeypatch):
    ran = place.run()
    other = replace(ran, known=replace(ran.known, weights={"a.pth": "0" * 64}))
    place.keep(other)
    place.keep(ran)
    kept = notes.read_data(place.store, "study", place.dataset)
    assert preparing.KnownData.from_bytes(kept) == other.known
    monkeypatch.setattr(notes, "write_data", None)
    place.keep(ran)
    assert place.report() == ran  # whose trials start from no weights


def test_weights_that_are_not_known_are_read(place):
    place.keep(place.run())
    place.study = place.study.changed({"weights": "gone.pth"})
    with pytest.raises(UserError, match=r"gone\.pth"):
        place.report()
    assert "MLflow does not keep all that the report needs" in place.text.getvalue()


def test_mlflow_that_does_not_take_it_costs_a_line(place, monkeypatch):
    def away(*_):
        raise ConnectionError("refused")

    ran = place.run()
    monkeypatch.setattr(place.store.client, "log_artifact", away)
    place.keep(ran)
    uri = place.store.uri
    assert place.text.getvalue() == (
        f"warning: what a report needs of the data is not kept: cannot read MLflow at {uri}: ConnectionError: refused\n"
    )


def test_published_numbers_are_left_out_where_the_data_is_a_part_only(place):
    ran = place.run()
    part = replace(ran, known=replace(ran.known, name="cifar10 (a part: 2 + 1 images)"))
    place.keep(part)
    place.report()
    assert "cifar10 (a part: 2 + 1 images): published numbers are left out" in place.text.getvalue()


def test_what_acts_have_set_is_added_to_the_options_and_never_less(place):
    search = Search("find", Space({"training.lr": Choice((0.1, 0.2))}), trials=12)
    study = replace(place.study, stages=(search,))
    by = Steered(seeds=3, epochs=40, trials=20)
    more = preparing.steered(study, place.options, by)
    assert (more.seeds, more.epochs, more.num_trials) == (3, 40, 20)
    assert replace(more, seeds=1, epochs=None, num_trials=None) == place.options
    asked = replace(place.options, seeds=4, epochs=50, num_trials=30)
    assert preparing.steered(study, asked, by) == asked
    grid = preparing.steered(place.study, place.options, by)  # it has no search by now
    assert grid.num_trials is None
    assert preparing.steered(study, place.options, Steered()) == place.options


@pytest.mark.parametrize(
    ("options", "how"),
    [
        ({}, None),
        ({"budget": 9}, CONTESTED),
        ({"for_": 60.0}, CONTESTED),
        ({"until": 0.9}, None),
        ({"until": "decided"}, DECIDED),
        ({"until": "decided", "budget": 9}, DECIDED),
    ],
)
def test_seeds_are_given_one_by_one_where_the_command_has_a_bound_or_is_to_decide(options, how, place):
    place.options = replace(place.options, seeds=5, **options)
    assert place.run().terms.seeding == how


def test_where_each_seed_has_its_own_images_seeds_are_given_at_once(place):
    place.study = place.study.changed({"training.vary_split": True})
    place.options = replace(place.options, seeds=5, budget=9)
    assert place.run().terms.seeding is None
    place.options = replace(place.options, until="decided")
    with pytest.raises(UserError, match="--until decided compares trials on the same images"):
        place.run()
