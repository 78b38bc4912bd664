from dataclasses import replace

import pytest

from analysis.page import Beside, Folded, Pictures
from sweeps.decisions.acts import Act
from sweeps.decisions.agenda import Agenda
from sweeps.decisions.records import Known
from sweeps.decisions.status import Status
from sweeps.reporting.album import Album
from sweeps.reporting.material import DataSummary
from sweeps.reporting.provenance import Provenance
from sweeps.reporting.setup_chapter import about_data, legend, protocol, setup_chapter, taken
from sweeps.study import Stage
from tests.sweeps.outcomes import record
from tests.sweeps.reporting.materials import STUDY, TERMS, material, over
from trainables.config import ResNet
from trainables.history import History


def tables(chapter):
    [beside] = (block for block in chapter.blocks if isinstance(block, Beside))
    return beside.blocks


def test_the_baseline_is_drawn_layer_by_layer_as_it_is_planned(tmp_path):
    layers, recipe = tables(setup_chapter(material(), Album(tmp_path)))
    assert [row[:4] for row in layers.rows] == [
        ("input", "3×32×32", None, None),
        ("conv1", "4×30×30", 3, 27 * 4 + 4),
        ("pool1", "4×15×15", 4, None),
        ("flat", "900", 4, None),
        ("fc1", "2", 4, 1802),
    ]
    assert layers.rows[1][4] == pytest.approx(2 * 27 * 4 * 900 / 1e6)
    assert layers.title == "Layers: 1,914 parameters, 0.20 MFLOPs an image"
    rows = dict(recipe.rows)
    assert (rows["epochs"], rows["optimizer"], rows["momentum"]) == ("1", "sgd", "0.9")
    assert not {"gamma", "flip", "ap rule", "resize"} & rows.keys()  # they change nothing here


def test_a_deep_network_is_folded(tmp_path):
    trial = replace(STUDY.baseline, model=ResNet(depth=18))
    study = replace(STUDY, baseline=trial, stages=(Stage("lr", {"training.lr": (0.1,)}),))
    deep = material(Agenda(study, TERMS, lambda _: None))
    assert isinstance(tables(setup_chapter(deep, Album(tmp_path)))[0], Folded)


def test_data_and_protocol_are_in_words():
    found = material()
    assert about_data(found) == (
        "shapes: 1,234 training, 2,000 validation and 2,000 test images of 3×32×32 (channels, height, width) in 2 "
        "classes."
    )
    assert protocol(found).startswith("3 seeds per trial; all trials run in full. Winners are chosen on validation")
    several = replace(found, data=replace(found.data, multi_label=True))
    assert about_data(several).endswith("in 2 classes, with any number of labels per image.")
    assert legend(several).endswith(" mAP: the mean over classes of the average precision, 11-point rule.")


def test_what_is_stored_of_the_runs_is_told_and_nothing_else(tmp_path):
    source = Provenance(0.0, 60.0, "python sweeps/x.py", "2 CPUs", "abc", {"torch": "2.11", "ray": "2.60"})
    rows = dict(setup_chapter(material(source=source), Album(tmp_path)).blocks[-1].rows)
    assert rows == {
        "trials": "4 ended",
        "time": "1970-01-01 00:00 UTC to 1970-01-01 00:01 UTC",
        "hardware": "2 CPUs",
        "command": "python sweeps/x.py",
        "commit": "abc",
        "versions": "torch 2.11, ray 2.60",
    }
    assert dict(setup_chapter(material(), Album(tmp_path)).blocks[-1].rows) == {"trials": "4 ended"}


def test_trials_that_other_studies_had_trained_are_told_by_study():
    found = material()
    ledger, keys = found.agenda.ledger, [each.key for each in found.results[0].outcomes]
    ledger.known = {key: Known(Status.DONE, History({}), "run", study="depth") for key in keys}
    assert taken(found) == f"{len(keys)} trials of depth"
    ledger.known = ledger.known | {keys[0]: Known(Status.DONE, History({}), "run", study=found.agenda.study.name)}
    assert taken(found) == f"{len(keys) - 1} trial{'s' * (len(keys) > 2)} of depth"
    ledger.known = {keys[0]: Known(Status.DONE, History({}), "run")}
    assert taken(found) == ""


def test_what_others_asked_for_has_a_table(tmp_path):
    act = Act("seeds", "3", "maria", time=0.0).answered("each trial has 3 seeds", {"seeds": 3})
    table = setup_chapter(material(source=Provenance(acts=(act,))), Album(tmp_path)).blocks[-1]
    assert table.title == "What was asked for while it ran"
    assert table.rows == (("seeds 3", "maria, 1970-01-01 00:00 UTC", "each trial has 3 seeds"),)


def test_samples_of_the_data_are_one_picture_and_a_rate_that_moves_another(tmp_path, tiny):
    found = replace(material(), data=DataSummary.of(tiny))
    chapter = setup_chapter(found, Album(tmp_path))
    [pictures] = (block.pictures for block in chapter.blocks if isinstance(block, Pictures))
    assert [picture.file.name for picture in pictures] == ["samples.png"]
    assert not any(isinstance(block, Pictures) for block in setup_chapter(material(), Album(tmp_path)).blocks)
    agenda = over((), STUDY.changed({"training.epochs": 2}))
    falling = History({seed: (record(0.5), replace(record(0.6), lr=0.05)) for seed in TERMS.seeds})
    agenda.finish(agenda.next().key, falling)
    blocks = setup_chapter(material(agenda), Album(tmp_path)).blocks
    [pictures] = (block.pictures for block in blocks if isinstance(block, Pictures))
    assert [picture.file.stem for picture in pictures] == ["learning-rate"]
