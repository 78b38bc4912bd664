"""What Grad-CAM shows of right and wrong predictions, and what it is held against."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from analysis import figures
from analysis.finding import Finding
from analysis.jobs.grad_cam import GradCam
from analysis.maps import deletion
from analysis.maps.cam import cam
from analysis.maps.pointing import stretched
from analysis.maps.randomised import DRAW
from analysis.report import Measured
from analysis.subject import Subject
from trainables.config import CNN, Model
from trainables.errors import UserError
from trainables.models import Network, build
from trainables.plan import plan

SMALL = CNN(conv_layers=2, channels=(4, 6), batch_norm=True, fc_layers=2, fc_widths=8)
SHAPE = (3, 20, 20)


def network(config: Model = SMALL, shape: tuple[int, int, int] = SHAPE, classes: int = 3) -> Network:
    """Return a random network whose batch norms have seen something: each shifts and scales."""
    torch.manual_seed(0)
    model = build(config, shape, classes, (0.4,) * shape[0], (0.2,) * shape[0])
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def pictures(count: int, shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape[1:], shape[0]), dtype=np.uint8)


def subject(
    labels: np.ndarray, config: Model = SMALL, shape: tuple[int, int, int] = SHAPE, masks: np.ndarray | None = None
) -> Subject:
    """Return a random network on random images: some it labels rightly, most not."""
    return Subject(
        name="net",
        model=network(config, shape),
        layers=plan(config, shape, 3),
        class_names=("cat", "dog", "bird"),
        dataset="noise",
        images=pictures(len(labels), shape),
        labels=labels,
        training_images=(9, 9, 9),
        masks=masks,
        blank=partial(build, config, shape, 3, (0.4,) * shape[0], (0.2,) * shape[0]),
    )


def with_seeds(of: Subject, seeds: int) -> Subject:
    """Return a subject with slightly different networks beside its own, all with about as many images of each class."""
    middle = torch.from_numpy(of.logits.mean(0))
    with torch.no_grad():
        of.model.head.bias -= middle
    of, others = replace(of), []  # what it has cached goes
    for seed in range(1, seeds):
        model = network()
        with torch.no_grad():
            model.head.bias -= middle
            model.head.weight += 0.01 * torch.randn(3, 8, generator=torch.Generator().manual_seed(seed))
        others.append(replace(of, model=model, seed=seed))
    return replace(of, others=tuple(others))


def find(job: GradCam, of: Subject) -> Finding:
    return job.finding([of], [job.compute(of, part) for part in range(job.parts(of))])


def test_right_predictions_come_by_class_and_wrong_ones_by_confidence_with_both_classes():
    of = subject(np.arange(60) % 3)
    arrays = GradCam(per_class=2, wrong=4).compute(of, 0)
    right = arrays["kinds"] == "right"
    found = [np.flatnonzero((of.labels == label) & (of.predicted == label))[:2] for label in range(3)]
    assert arrays["images"][right].tolist() == np.concatenate(found).tolist()
    assert (arrays["targets"][right] == of.labels[arrays["images"][right]]).all()
    confidence = np.where(of.right, 0, of.probabilities.max(1))
    wrong = np.argsort(-confidence, kind="stable")[:4]
    assert arrays["images"][~right].tolist() == np.repeat(wrong, 2).tolist()
    assert arrays["kinds"][~right].tolist() == ["wrong, true class", "wrong, predicted class"] * 4
    assert arrays["targets"][~right].tolist() == np.stack([of.labels[wrong], of.predicted[wrong]], 1).ravel().tolist()
    expected = cam(of.model, of.pixels(arrays["images"]), torch.from_numpy(arrays["targets"]), None)
    np.testing.assert_allclose(arrays["maps"], expected, rtol=1e-5, atol=1e-7)


def test_multi_label_targets_are_found_false_and_missed_classes():
    of = subject(np.zeros((30, 3), np.int8))
    high = of.probabilities >= 0.5
    assert high.any()
    assert not high.all()
    of.labels[::2] = np.where(high[::2], 1, 0)  # all found
    of.labels[1::4] = np.where(high[1::4], 0, 1)  # all wrong
    of.labels[3::4] = -1
    arrays = GradCam(per_class=2, wrong=3).compute(of, 0)
    right, false, lost = (arrays["kinds"] == kind for kind in ("right", "false positive", "missed"))
    chance, label = (values[arrays["images"], arrays["targets"]] for values in (of.probabilities, of.labels))
    assert (false.sum(), lost.sum()) == (2, 1)
    assert (label[right] == 1).all()
    assert (chance[right] >= 0.5).all()
    assert (label[false] == 0).all()
    assert (chance[false] >= 0.5).all()
    assert (label[lost] == 1).all()
    assert (chance[lost] < 0.5).all()
    assert chance[false].max() == of.probabilities[(of.labels == 0) & high].max()
    assert {"right", "wrong"} < set(find(GradCam(), of).figures)


def test_maps_that_are_zero_everywhere_are_counted_and_marked(monkeypatch: pytest.MonkeyPatch):
    drawn = []
    monkeypatch.setattr(figures, "panels", lambda rows, **words: drawn.append((rows, words)) or b"")
    of = subject(np.zeros(6, np.int64))
    with torch.no_grad():
        of.model.head.weight.zero_()  # no class has evidence
        of.model.head.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))  # all are taken for dogs
    found = find(GradCam(wrong=2), of)
    assert found.text[1].startswith("4 of 4 maps are zero everywhere")
    assert found.text[2] == "3 right predictions were asked for, but there are only 0."
    assert found.text[3:] == (
        "All numbers are of one network, that of seed 0: how they vary with the seed is not known.",
    )
    [(rows, words)] = drawn
    assert [panel.title.splitlines()[-1] for panel in rows[0]] == [
        "image 0",
        "all zero",
        "all zero",
        "image 1",
        "all zero",
        "all zero",
    ]
    assert words["limits"] == (0.0, 1.0)
    assert found.tables["by_kind"].rows == (("wrong, true class", 2, 2, 1.0), ("wrong, predicted class", 2, 2, 1.0))


def test_values_are_raw_and_each_map_is_drawn_up_to_its_own_maximum(monkeypatch: pytest.MonkeyPatch):
    drawn = []
    monkeypatch.setattr(figures, "panels", lambda rows, **words: drawn.append((rows, words)) or b"")
    of = subject(np.arange(60) % 3)
    found = find(GradCam(), of)
    [words, _] = [words for _, words in drawn]  # right, wrong
    shown = [panel for rows, _ in drawn for row in rows for panel in row if panel.overlay is not None]
    overlays, maps = [panel.overlay for panel in shown], found.arrays["maps"]
    assert words["limits"] == (0, 1)
    tops = maps.max((1, 2), keepdims=True)
    assert len(set(tops.ravel().tolist())) > 2
    np.testing.assert_allclose(overlays, stretched(maps / np.where(tops, tops, 1), 20, 20), rtol=1e-6)
    titles = [panel.title.splitlines()[-1] for panel in shown]
    assert titles == [f"max {top:.2g}" if top else "all zero" for top in tops.ravel()]
    assert [row[6] for row in found.tables["grad_cam"].rows] == found.arrays["maps"].max((1, 2)).tolist()
    for part in ("net on noise", "conv2 after its activation"):
        assert part in words["caption"]


def test_known_masks_are_measured_in_the_tables():
    masks = np.zeros((60, 20, 20), bool)
    masks[:, :10] = True
    found = find(GradCam(per_class=3), subject(np.arange(60) % 3, masks=masks))
    table, by_kind = found.tables["grad_cam"], found.tables["by_kind"]
    assert [column.name for column in table.columns][-3:] == [
        "object's share of the image",
        "mass on the object",
        "peak on the object",
    ]
    zero = found.arrays["maps"].max((1, 2)) == 0
    assert 0 < zero.sum() < len(zero)
    for row, values, nothing in zip(
        table.rows, stretched(found.arrays["maps"], 20, 20).astype(float), zero, strict=True
    ):
        share, peak = (
            (None, None)
            if nothing
            else (values[:10].sum() / values.sum(), "yes" if values[:10].max() == values.max() else "no")
        )
        assert row[-3:] == (0.5, pytest.approx(share), peak)
    right = [row for row in table.rows if row[1] == "right" and row[-2] is not None]
    area, own, others, peak = by_kind.rows[0][4:]
    assert area == Measured(0.5, None, 1)
    assert own.mean == pytest.approx(np.mean([row[-2] for row in right]))
    assert others.mean == pytest.approx(own.mean)  # all masks are alike
    assert peak.mean == pytest.approx(np.mean([row[-1] == "yes" for row in right]))
    assert "not significantly different from other images' masks (p = 1) with" in _on_objects(found)


def _on_objects(found: Finding) -> str:
    [line] = [line for line in found.text if line.startswith("Object or surroundings? Share of a map's mass ")]
    return line


def test_objects_where_the_maps_are_are_found():
    of = subject(np.arange(120) % 3, masks=np.random.default_rng(0).random((120, 20, 20)) < 0.3)
    job = GradCam(per_class=8, wrong=0)
    at_random = find(job, of)
    assert "on the object: right: " in _on_objects(at_random)
    assert "%, not significantly different from other images' masks (p = " in _on_objects(at_random)
    arrays = at_random.arrays
    masks = of.masks.copy()
    whole = stretched(arrays["maps"], 20, 20)
    masks[arrays["images"]] = whole > np.quantile(whole, 0.7, axis=(1, 2), keepdims=True)
    found = find(job, replace(of, masks=masks))
    assert "%, more than with other images' masks (p = 0.00" in _on_objects(found)
    assert "objects" in found.figures


def test_right_predictions_are_those_of_all_seeds_and_numbers_are_over_them():
    of = with_seeds(subject(np.arange(120) % 3, masks=np.random.default_rng(0).random((120, 20, 20)) < 0.3), 3)
    found = find(GradCam(per_class=4, wrong=2), of)
    right = found.arrays["kinds"] == "right"
    images, targets = found.arrays["images"][right], found.arrays["targets"][right]
    for label in range(3):
        all_right = np.all([each.predicted == label for each in of.replicates], axis=0) & (of.labels == label)
        assert images[targets == label].tolist() == np.flatnonzero(all_right)[:4].tolist()
    for at, each in enumerate(of.others):
        expected = cam(each.model, of.pixels(images), torch.from_numpy(targets), None)
        np.testing.assert_allclose(found.arrays["other_maps"][:, at], expected, rtol=1e-4, atol=1e-6)
    assert len(set(targets.tolist())) > 1
    assert any(line.startswith("Numbers are means over the networks of 3 seeds ± ") for line in found.text)
    assert found.tables["by_kind"].rows[0][5].n == 3
    assert found.tables["by_kind"].rows[1][5].n == 1
    assert found.tables["randomised"].rows[0][1].n == 3
    assert found.tables["deletion"].rows[0][1].n == 3
    assert found.arrays["deletion"].shape == (len(images), 3, 2, 3, 21)
    assert "classified right by the networks of all 3 seeds" in found.figures["right"].caption


def test_with_all_layers_at_random_maps_are_an_untrained_network_s():
    of = subject(np.arange(60) % 3)
    found = find(GradCam(per_class=2, wrong=0), of)
    arrays = found.arrays
    assert arrays["layers"].tolist() == ["fc2", "fc1", "conv2", "conv1"]
    blank = of.untrained(DRAW).model
    expected = cam(blank, of.pixels(arrays["images"]), torch.from_numpy(arrays["targets"]), None)
    np.testing.assert_allclose(arrays["randomised"][-1, :, 0], expected, rtol=1e-5, atol=1e-7)
    assert [row[0] for row in found.tables["randomised"].rows] == ["none", "fc2", "fc1", "conv2", "conv1"]
    assert found.tables["randomised"].rows[0][1].mean == pytest.approx(1)
    assert {"randomised", "randomised-maps", "deletion"} < set(found.figures)
    assert found.text[-2].startswith("Do the maps show what the network has learned? ")
    assert found.text[-1].startswith("Does the probability rest on what the map marks? ")


def test_curves_that_would_take_longer_than_all_test_images_are_left_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(deletion, "MOMENT", 0)
    found = find(GradCam(), subject(np.arange(60) % 3))
    assert "deletion" not in found.arrays
    assert found.text[-1] == (
        "Deletion and insertion are left out, as they take longer than to classify all test images."
    )


def test_without_right_predictions_there_are_no_controls():
    of = with_seeds(subject(np.zeros(12, np.int64), masks=np.ones((12, 20, 20), bool)), 2)
    of.labels[:] = (of.predicted + 1) % 3
    found = find(GradCam(), of)
    assert set(found.figures) == {"wrong", "objects"}
    assert "randomised" not in found.arrays


def test_without_anything_to_look_at_tables_are_empty_and_it_is_said():
    of = subject(np.zeros(4, np.int64), masks=np.ones((4, 20, 20), bool))
    of.labels[:] = (of.predicted + 1) % 3  # all wrong
    found = find(GradCam(wrong=0), of)
    assert found.text[2] == "3 right predictions were asked for, but there are only 0."
    assert not found.figures
    assert [table.rows for table in found.tables.values()] == [(), ()]


def test_a_gray_image_and_the_same_subject_give_the_same_bytes():
    of = subject(np.arange(12) % 3, CNN(conv_layers=1, channels=4), (1, 12, 14))
    assert find(GradCam(), of).files() == find(GradCam(), of).files()


@pytest.mark.parametrize("options", [{"per_class": 0}, {"wrong": -1}])
def test_options_are_checked(options: dict):
    with pytest.raises(UserError, match="but must be at least"):
        GradCam(**options)


@pytest.mark.parametrize("layer", ["blok1", "flat", "fc1"])
def test_a_layer_without_maps_is_refused(layer: str):
    with pytest.raises(UserError, match=f"net has no maps '{layer}'; (did you mean|known)"):
        GradCam(layer=layer).parts(subject(np.zeros(2, np.int64)))


def test_a_network_without_convolutions_is_refused():
    with pytest.raises(UserError, match="net has no convolutions"):
        GradCam().parts(subject(np.zeros(2, np.int64), CNN(conv_layers=0, fc_widths=4)))


def test_the_heading_says_what_was_found():
    job = GradCam(per_class=8, wrong=2)
    plain = find(job, subject(np.arange(120) % 3))
    assert plain.title.startswith("Grad-CAM: ")
    assert "what was learned" in plain.title
    assert plain.tables["grad_cam"].folded
    masks = np.random.default_rng(0).random((120, 20, 20)) < 0.3
    located = find(job, subject(np.arange(120) % 3, masks=masks)).title
    assert " the network looks at the object (" in located
    assert located.endswith(plain.title.removeprefix("Grad-CAM: "))
    of = subject(np.zeros(12, np.int64))
    of.labels[:] = (of.predicted + 1) % 3
    assert find(job, of).title == "Grad-CAM: no right prediction to look at"
