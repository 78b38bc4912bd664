import pytest

from sweeps.tracking.artifacts import Unreadable
from sweeps.tracking.notes import Times, read_data, read_note, times, write_data, write_note
from sweeps.tracking.store import TAG_LENGTH

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


def test_a_note_is_read_as_it_was_written(store):
    assert read_note(store, "study") == ""
    write_note(store, "study", '{"a": "größer"}')
    assert read_note(store, "study") == '{"a": "größer"}'
    write_note(store, "study", "b")
    assert (read_note(store, "study"), read_note(store, "other")) == ("b", "")


def test_a_note_that_no_tag_holds_is_refused(store):
    with pytest.raises(ValueError, match="5,001 characters"):
        write_note(store, "study", "x" * (TAG_LENGTH + 1))


def test_of_each_data_set_the_last_is_kept_in_one_run(store):
    assert read_data(store, "study", "cifar10") is None
    experiment = store.experiment_id("study")
    first, second = (store.client.create_run(experiment).info.run_id for _ in range(2))
    assert read_data(store, "study", "cifar10") is None
    write_data(store, "study", "cifar10", first, b"1")
    write_data(store, "study", "folder:/a/../b'`\\%", second, b"2")
    write_data(store, "study", "cifar10", second, b"3")
    assert read_data(store, "study", "cifar10") == b"3"
    assert read_data(store, "study", "folder:/a/../b'`\\%") == b"2"
    assert read_data(store, "other", "cifar10") is None
    assert [len(store.attached(run_id, "data")) for run_id in (first, second)] == [1, 1]
    [name] = store.attached(first, "data")
    store.delete_artifact(first, f"data/{name}")
    assert read_data(store, "study", "cifar10") is None


def test_a_kept_file_that_leads_elsewhere_is_not_read(store, tmp_path):
    run_id = store.client.create_run(store.experiment_id("study")).info.run_id
    write_data(store, "study", "cifar10", run_id, b"1")
    [file] = (tmp_path / "mlruns").rglob("data/*.zip")
    file.unlink()
    file.symlink_to("/etc/passwd")
    with pytest.raises(Unreadable):
        read_data(store, "study", "cifar10")


def test_times_are_from_the_first_start_to_the_last_end_of_the_runs_that_count(store):
    assert times(store, "study") is None
    experiment = store.experiment_id("study")
    for began, ended, status, commit in (
        *((2000, 9000, "done", "abc"), (1000, 3000, "failed", "def")),
        (500, 99000, "superseded", "old"),
    ):
        tags = {"status": status, "git_commit": commit}
        run = store.client.create_run(experiment, start_time=began, tags=tags)
        store.client.set_terminated(run.info.run_id, end_time=ended)
    assert times(store, "study") == Times(1.0, 9.0, "def")
