"""How many trials share a GPU, and the one line that says so."""

import pytest

from sweeps.decisions.planning import plan_study
from sweeps.execution import gpus
from sweeps.execution.machines import Machines
from sweeps.execution.sharing import MOST, MOST_WITH_MPS, Need, gigabytes, largest, largest_examined, share_out
from sweeps.study import Choice, Search, Space, Stage, Study
from trainables.config import CNN, Training, Trial
from trainables.footprint import Footprint, Images, examination, footprint

GB = 10**9
UNKNOWN = "as its memory is not known here: --trials-per-gpu says it"


def need(gigabytes, data=1):
    """Return what a trial takes that takes so many gigabytes, `data` of them for its data."""
    return Need("a trial of stage lr", Footprint(GB, data * GB, (gigabytes - data - 1) * GB, 0, 0))


@pytest.fixture
def machine(monkeypatch):
    """Return how to have GPUs of so many gigabytes, with MPS or without."""

    def have(memory, *, mps=False):
        monkeypatch.setattr(gpus, "count", lambda: 2)
        monkeypatch.setattr(gpus, "memory", lambda _: memory * GB)
        monkeypatch.setattr(gpus, "mps", lambda: mps)

    have(80)
    return have


def shared(machines, takes=None, *, all_of_them=False):
    return share_out(machines, lambda: takes or pytest.fail("not to be estimated"), all_of_them=all_of_them)


def test_without_a_gpu_a_trial_takes_a_core():
    for all_of_them in (False, True):
        found = shared(Machines(0), all_of_them=all_of_them)
        assert (found.words, found.resources, found.gpus, found.warnings) == ("on the CPU", {"cpu": 1}, 0, ())


@pytest.mark.parametrize(
    ("memory", "cores", "mps", "takes", "trials", "words"),
    [
        (20, 16, False, 8, 2, "2 share each, as many as its memory holds: at most 8.0 GB each of 20.0 GB"),
        (80, 4, True, 2, 2, "2 share each, as many as there are cores for it: at most 2.0 GB each of 80.0 GB"),
        (80, 16, False, 2, MOST, "3 share each, the most without MPS: at most 2.0 GB each of 80.0 GB"),
        (80, 32, True, 2, MOST_WITH_MPS, "8 share each, the most with MPS: at most 2.0 GB each of 80.0 GB"),
        (8, 16, False, 8, 1, "one at a time on each, as many as its memory holds: at most 8.0 GB each of 8.0 GB"),
        (8, 16, False, 9, 1, "one at a time on each, which may hold it only in part: at most 9.0 GB each of 8.0 GB"),
        (80, 1, False, 2, 1, "one at a time on each, as many as there are cores for it: at most 2.0 GB each of "),
    ],
)
def test_as_many_share_a_gpu_as_memory_cores_and_mps_allow(memory, cores, mps, takes, trials, words, machine):
    machine(memory, mps=mps)
    found = shared(Machines(2, num_cpus=cores), need(takes))
    assert (found.gpus, found.trials) == (2, trials)
    assert found.words.startswith(f"on 2 GPUs: {words}")
    assert found.words.endswith("; MPS is running" if mps else "; MPS is not running")
    assert found.resources == {"cpu": 1, "gpu": 1 / trials}
    assert found.warnings == ()


@pytest.mark.usefixtures("machine")
def test_the_number_of_gpus_is_said_and_who_chose_it():
    assert shared(Machines(1), need(2)).words.startswith("on 1 GPU: ")
    found = shared(Machines(2), need(2), all_of_them=True)
    assert found.words.startswith("on 2 GPUs (all that torch sees): ")


@pytest.mark.usefixtures("machine")
def test_where_the_data_has_not_been_read_that_is_said():
    assert ": at most 2.0 GB and the data set each of 80.0 GB" in shared(Machines(1), need(2, data=0)).words


def test_what_the_user_says_is_done_and_what_does_not_fit_is_said(machine):
    machine(16)
    found = shared(Machines(1, trials_per_gpu=4), need(6))
    assert found.words == "on 1 GPU: 4 share each: at most 6.0 GB each of 16.0 GB; MPS is not running"
    assert found.resources == {"cpu": 1, "gpu": 0.25}
    assert found.warnings == (
        "--trials-per-gpu is 4, but a trial of stage lr takes an estimated 6.0 GB of a GPU's 16.0 GB: 2 fit",
    )
    assert shared(Machines(1, trials_per_gpu=4), need(9)).warnings[0].endswith(": 1 fits")
    assert shared(Machines(1, trials_per_gpu=2), need(8)).warnings == ()
    assert shared(Machines(1, trials_per_gpu=1), need(17, data=8)).warnings == ()  # the data may lie on the host


def test_what_fits_no_gpu_is_said_before_it_is_tried(machine):
    machine(16)
    assert shared(Machines(1), need(17, data=1)).warnings == ()
    [warning] = shared(Machines(1), need(18, data=1)).warnings
    takes = "a trial of stage lr takes an estimated 17.0 GB of a GPU, even without its data"
    assert warning == f"{takes}, but one has 16.0 GB: it may fail"


@pytest.mark.parametrize(
    ("machines", "all_of_them", "trials", "words"),
    [
        (
            Machines(4, address="head:1"),
            True,
            1,
            f"on 4 GPUs (all that the cluster has): one at a time on each, {UNKNOWN}",
        ),
        (Machines(4, 3, address="head:1"), False, 3, "on 4 GPUs: 3 share each"),
        (Machines(0, address="head:1"), True, 1, "on the CPU, as the cluster has no GPU now"),
        (Machines(0, address="head:1"), False, 1, "on the CPU"),
        (Machines(4), False, 1, f"on 4 GPUs: one at a time on each, {UNKNOWN}"),  # a plan for another machine
        (
            Machines(address="head:1"),
            True,
            1,
            "on the GPUs that the Ray cluster at head:1 has when trials start, or its cores where it has none",
        ),
    ],
)
@pytest.mark.usefixtures("machine")
def test_of_a_cluster_s_gpus_nothing_is_known_here(machines, all_of_them, trials, words):
    found = shared(machines, all_of_them=all_of_them)
    assert (found.trials, found.words) == (trials, words)


BASE = Trial("shapes", CNN(conv_layers=1, channels=4, fc_layers=1), Training(epochs=3))
IMAGES = Images((3, 32, 32), 10, 100, 10, 20)


def plan_of(*stages):
    return plan_study(Study("s", BASE, stages), IMAGES.shape, IMAGES.classes)


def test_the_largest_trial_is_found_among_all_that_winners_could_lead_to():
    """A wide winner with a large batch is the largest, though the plan shows the batches for the baseline's width."""
    planned = plan_of(
        Stage("width", {"model.channels": (4, 64)}), Stage("batch", {"training.batch_size": (16, 512, 32)})
    )
    wide = BASE.with_values({"model.channels": 64, "training.batch_size": 512})
    assert largest(planned, IMAGES, 3) == Need("a trial of stage batch", footprint(wide, IMAGES, 3))


def test_of_a_search_what_it_could_draw_counts():
    space = Space({"model.channels": Choice((4, 8, 256)), "model.kernel": Choice((3, 99))})  # a kernel that never fits
    found = largest(plan_of(Search("find", space, trials=5, sampler="random")), IMAGES, 1)
    assert found == Need("a trial of stage find", footprint(BASE.with_values({"model.channels": 256}), IMAGES, 1))


def test_the_largest_analysis_is_found_among_the_models():
    wide = BASE.with_values({"model.channels": 64})
    found = largest_examined({"small": BASE, "wide": wide}, IMAGES)
    assert found == Need("an analysis of wide", examination(wide, IMAGES))


def test_sizes_are_in_gigabytes():
    assert [gigabytes(size) for size in (949_000_000, 80 * GB)] == ["0.9 GB", "80.0 GB"]
