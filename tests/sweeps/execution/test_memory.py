"""What a study needs of a machine's memory, and the one line where that is not there."""

import pytest

from sweeps.decisions.planning import plan_study
from sweeps.execution import memory
from sweeps.execution.machines import Machines
from sweeps.execution.memory import REST, Demand, demand, is_large
from sweeps.study import Choice, Search, Space, Stage, Study
from trainables.config import CNN, Training, Trial
from trainables.errors import UserError
from trainables.footprint import Images, on_cpu

GB = 10**9
BASE = Trial("shapes", CNN(conv_layers=1, channels=4, fc_layers=1), Training(epochs=3))
IMAGES = Images((3, 32, 32), 10, 100_000, 10_000, 20_000)
DATA = 130_000 * 3 * 32 * 32


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """Return how to have so many gigabytes of memory."""

    def have(gigabytes):
        monkeypatch.setattr("trainables.memory.total", lambda: int(gigabytes * GB))

    have(16)
    return have


def demanded(*stages, machines=None, dataset="shapes", images=IMAGES, seeds=1) -> Demand:
    planned = plan_study(Study("s", BASE, stages), images.shape, images.classes)
    return demand(dataset, planned, images, seeds, machines or Machines(0, num_cpus=2))


def takes(*gigabytes, data=1.0, mapped=False, **machines) -> Demand:
    return Demand(int(data * GB), mapped, tuple(int(each * GB) for each in gigabytes), "width", Machines(0, **machines))


WIDTHS = Stage("width", {"model.channels": (4, 64, 16)})


def test_as_many_of_the_largest_trials_count_as_the_study_has():
    sizes = [on_cpu(BASE.with_values({"model.channels": width}), IMAGES, 3).total for width in (64, 16, 4)]
    found = demanded(WIDTHS, seeds=3)
    assert (found.takes, found.data, found.mapped) == (tuple(sizes), DATA, False)
    assert found.largest == "width"
    assert found.total(1) == DATA + sizes[0] + REST
    assert found.total(2) == DATA + sizes[0] + sizes[1] + REST
    assert found.total(99) == DATA + sum(sizes) + REST


def test_trials_that_winners_could_lead_to_count_and_those_alike_do_each():
    """Of the twelve that winners could lead to six are run at most: here the four at the greatest width, and two."""
    rates = Stage("lr", {"training.lr": (0.1, 0.2, 0.3, 0.05)})
    wide = on_cpu(BASE.with_values({"model.channels": 64}), IMAGES, 1).total
    assert demanded(WIDTHS, rates).takes == (wide,) * 4 + (demanded(WIDTHS).takes[1],) * 2


def test_of_a_search_what_it_could_draw_counts():
    space = Space({"model.channels": Choice((4, 256)), "model.kernel": Choice((3, 99))})  # a kernel that never fits
    found = demanded(Search("find", space, trials=5, sampler="random"))
    assert found.takes == tuple(
        on_cpu(BASE.with_values({"model.channels": width}), IMAGES, 1).total for width in (256, 4)
    )


def test_on_gpus_only_the_data_is_known():
    found = demanded(WIDTHS, machines=Machines(1))
    assert (found.takes, found.words) == ((), "0.4 GB of data, once on each machine, beside what trials take")
    found.check()


def test_what_is_needed_is_one_sentence():
    found = takes(2, 1, 1, data=0.3, num_cpus=2)
    assert (
        found.words
        == "at most 4.7 GB of 16.0 GB: 0.3 GB of data; 2 trials at once with at most 2.0 GB each; 1.4 GB for the rest"
    )
    assert takes(2, data=0.0184, num_cpus=2).words.endswith(
        ": 18 MB of data; 1 trial at once with at most 2.0 GB each; 1.4 GB for the rest"
    )
    assert takes(2, data=0, num_cpus=2).words.startswith("at most 3.4 GB of 16.0 GB: the data; ")
    mapped = takes(2, data=40, mapped=True, num_cpus=1).words
    assert mapped.startswith("at most 3.4 GB of 16.0 GB: 40.0 GB of data, mapped from the disk; ")
    assert takes(2, address="a:1").words == "1.0 GB of data, once on each machine, and at most 2.0 GB for each trial"


def refused(found: Demand, **how) -> str:
    with pytest.raises(UserError) as caught:
        found.check(**how)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_does_not_fit_is_refused_with_what_would_help(machine):
    found = takes(3, 3, 3, 3, num_cpus=4)
    assert found.total(4) == 14.4 * GB
    found.check()
    machine(14.4)
    found.check()
    machine(14.3)
    assert refused(found) == (
        "the study needs an estimated 14.4 GB of memory, but this machine has 14.3 GB (1.0 GB of data; 4 trials at "
        "once with at most 3.0 GB each; 1.4 GB for the rest); --num-cpus 3 fits"
    )
    machine(5.4)
    assert refused(found).endswith("; --num-cpus 1 fits")
    machine(5.3)
    assert refused(found).endswith(
        "); a trial of stage width alone does not fit: a smaller training.resize, a smaller batch or fewer images "
        "would help, or --stages without it"
    )
    assert found.warnings == (refused(found),)
    machine(16)
    assert found.warnings == ()


def test_a_host_of_a_cluster_is_held_against_its_own_memory_and_cores():
    found = takes(3, 3, 3, 3, address="a:1")
    found.check(int(8.4 * GB), 2, "node7")
    assert "but node7 has 8.3 GB (1.0 GB of data; 2 trials at once" in refused(
        found, there=int(8.3 * GB), cores=2, host="node7"
    )
    assert found.warnings == ()


def test_images_larger_than_memory_are_refused_unless_they_are_mapped(machine):
    machine(4)
    line = "the images take 4.1 GB of memory, but this machine has 4.0 GB; use fewer or smaller ones"
    found = takes(0.1, data=4.1, num_cpus=1)
    with pytest.raises(UserError, match=line):
        found.check_data()
    assert found.warnings == (line,)
    takes(0.1, data=4.0).check_data()
    takes(0.1, data=4.1, mapped=True).check_data()


def test_a_large_folder_s_images_are_mapped(machine):
    machine(DATA / memory.MAPPED_SHARE / GB + 0.001)
    assert not is_large(DATA)
    assert not demanded(WIDTHS, dataset="folder:x").mapped
    machine(DATA / memory.MAPPED_SHARE / GB - 0.001)
    assert is_large(DATA)
    found = demanded(WIDTHS, dataset="folder:x")
    assert found.mapped
    assert found.total(1) == found.takes[0] + REST
    assert not demanded(WIDTHS, dataset="cifar10").mapped


def test_trials_with_several_threads_are_fewer_at_once():
    base = BASE.with_values({"training.threads": 4})
    planned = plan_study(Study("s", base, (WIDTHS,)), IMAGES.shape, IMAGES.classes)
    found = demand("shapes", planned, IMAGES, 1, Machines(0, num_cpus=8))
    assert found.total(8) == DATA + sum(found.takes[:2]) + REST
    assert found.total(2) == DATA + found.takes[0] + REST
    assert "2 trials at once" in found.words
    varied = Study("s", base, (Stage("threads", {"training.threads": (4, 2)}),))
    fewer = demand("shapes", plan_study(varied, IMAGES.shape, IMAGES.classes), IMAGES, 1, Machines(0, num_cpus=8))
    assert fewer.threads == 2
