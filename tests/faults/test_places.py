"""The folder of a finished study is renamed, and copied. And what its runs keep is damaged."""

import shutil
from pathlib import Path

from sweeps.tracking.store import Store
from tests.faults.site import FAULT, TRIALS, Site

pytestmark = FAULT


def finished(folder: Path) -> Site:
    site = Site(folder, epochs=2)
    status, said = site.run()
    assert status == 0, said
    return site


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_study_whose_folder_is_renamed_and_copied_reads_goes_on_and_leaves_the_original_alone(tmp_path):
    finished(tmp_path / "home")
    (tmp_path / "home").rename(tmp_path / "renamed")
    renamed = Site(tmp_path / "renamed", epochs=2)
    status, said = renamed.run()
    assert (status, f"nothing to run: all {TRIALS} trials are done already" in said) == (0, True), said
    assert said.count(f"mlflow.db has moved here from {tmp_path}/home; its runs' files are now looked for in") == 1

    copy = Site(Path(shutil.copytree(renamed.folder, tmp_path / "copy")), epochs=2)
    before = bytes_of(renamed.folder)
    status, said = copy.run("--epochs", "3")
    assert (status, f"{TRIALS} trials run" in said) == (0, True), said
    assert bytes_of(renamed.folder) == before
    assert not (tmp_path / "home").exists()
    records = {len(trial[2]["0"]) for trial in copy.outcome()["trials"].values()}
    assert records == {3}
    assert renamed.run()[0] == 0


def test_curves_that_are_lost_are_mended_or_said_to_be_and_never_trained_again_silently(tmp_path):
    site = finished(tmp_path / "home")
    whole = site.outcome()
    mended, lost, *_ = sorted(Store(site.uri).trials(whole["trials"]).values(), key=lambda trial: trial.name)
    folders = {trial.name: next(site.folder.glob(f"mlruns/hurt/{trial.run_id}/artifacts")) for trial in (mended, lost)}
    (folders[mended.name] / "curves.json").write_bytes(b'{"seeds": {}}')
    (folders[lost.name] / "curves.json").unlink()
    shutil.rmtree(folders[lost.name] / "state")
    status, said = site.run()
    assert status == 0, said
    assert f"run {mended.run_id} ({mended.name}): its curves.json holds no record; what its state has is taken" in said
    told = f"warning: {lost.name} (run {lost.run_id}) is done, but its curves.json is missing, and it has no state"
    assert said.count(told) == 1
    assert "1 trials run, 3 taken from earlier runs" in said
    assert site.outcome()["trials"] == whole["trials"]
    status, said = site.run()
    assert (status, "nothing to run" in said, "warning" in said) == (0, True, False), said
