"""Ablation against the whole network, against weights set to 0, and against counts and a test made by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from analysis.filters.chain import chain, switched_off
from analysis.filters.naming import convolution
from analysis.inference.lost import over_seeds_and_images
from analysis.jobs import ablation
from analysis.jobs.ablation import Ablation
from analysis.report import Measured
from tests.analysis.filters.test_naming import SMALL, make_subject
from tests.trainables.test_models import add_excite
from trainables.config import CNN, ResNet
from trainables.errors import UserError

DOUBLE = CNN(
    conv_layers=4,
    convs_per_block=2,
    channels=(4, 5),
    padding=1,
    batch_norm=True,
    conv_dropout=0.5,
    fc_dropout=0.5,
    fc_batch_norm=True,
)


def run(model, images, off=None, fill=0.0):
    x = torch.from_numpy(images).permute(0, 3, 1, 2)
    with torch.inference_mode():
        for layer, link in chain(model).items():
            x = link(x)
            if off and layer == off[0]:
                maps = x[0] if isinstance(x, tuple) else x
                x = switched_off(x, off[1], torch.full((maps.shape[1],), fill))
    return x


def shake(model):
    """Give batch norms statistics and shifts of their own, as training would."""
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                tensor.copy_(torch.randn_like(tensor))
            module.running_var.uniform_(0.5, 2)


def computed(job, subject):
    return [job.compute(subject, part) for part in range(job.parts(subject))]


def silence(norm, channels):
    """Set a batch norm's scale and shift to 0, so that its channels are 0 behind a ReLU."""
    for tensor in (norm.weight.data, norm.bias.data):
        tensor[list(channels)] = 0


@pytest.mark.parametrize("layer", ["conv1", "conv2", "conv3", "conv4"])
def test_off_is_what_a_batch_norm_without_scale_and_shift_leaves(layer):
    subject = make_subject(DOUBLE)
    shake(subject.model)
    off = run(subject.model, subject.images, (layer, (1, 3)))
    assert not torch.equal(off, run(subject.model, subject.images))
    number = int(layer[4:]) - 1
    silence(subject.model.blocks[number // 2].convs[number % 2][1], (1, 3))
    assert torch.equal(off, run(subject.model, subject.images))


@pytest.mark.parametrize(
    ("layer", "norm"), [("conv1", "bn1"), ("layer2.0.conv1", "layer2.0.bn1"), ("layer4.1.conv2", "layer4.1.bn2")]
)
def test_off_in_a_resnet(layer, norm):
    subject = make_subject(ResNet(18), (3, 32, 32), count=3)
    shake(subject.model)
    off = run(subject.model, subject.images, (layer, (0, 5)))
    assert not torch.equal(off, run(subject.model, subject.images))
    silence(subject.model.get_submodule(norm), (0, 5))
    assert torch.equal(off, run(subject.model, subject.images))


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "gelu"])
def test_zeroing_the_weights_would_not_do(activation):
    """Bias and, with a sigmoid, the activation itself stay; ours is 0 in the block's output for any activation."""
    subject = make_subject(replace(SMALL, activation=activation))
    conv = convolution(subject.model, "conv1")
    with torch.no_grad():
        conv.weight[0], conv.bias[0] = 0, 1
    _, _, features = next(subject.batches())
    assert features["block1"][:, 0].max() > 0.5
    x = torch.from_numpy(subject.images).permute(0, 3, 1, 2)
    with torch.inference_mode():
        x = chain(subject.model)["conv1"](x)
        assert torch.equal(x, features["block1"])
        assert switched_off(x, (0,), torch.zeros(4))[:, 0].abs().max() == 0


def test_mean_is_that_of_what_enters_the_next_layer_over_the_test_set():
    subject = make_subject(SMALL, count=70)  # more than a batch
    job = Ablation(filters="conv2:1", fill="mean", sets=0)
    mean = np.concatenate([features["block2"][:, 1].numpy() for _, _, features in subject.batches()]).mean(dtype=float)
    assert mean > 0.01
    [arrays] = computed(job, subject)
    expected = run(subject.model, subject.images, ("conv2", (1,)), float(mean))
    np.testing.assert_allclose(arrays["after"], expected.numpy(), rtol=1e-4, atol=1e-6)


def test_a_filter_that_is_0_already_changes_nothing():
    subject = make_subject(SMALL, count=70)
    conv = convolution(subject.model, "conv1")
    with torch.no_grad():
        conv.weight[2], conv.bias[2] = 0, -1
    [arrays] = computed(Ablation(filters="conv1:2", sets=0), subject)
    assert (arrays["before"] == arrays["after"]).all()


@pytest.mark.parametrize("fill", ["zero", "mean"])
@pytest.mark.parametrize(("model", "layer"), [(replace(SMALL, channels=(4, 18, 6)), "conv2"), (DOUBLE, "conv3")])
def test_one_at_a_time_is_each_alone(model, layer, fill):
    subject = make_subject(model, count=70)
    shake(subject.model)
    together, *single = computed(Ablation(filters="conv1:0", fill=fill, each_of=layer, sets=0), subject)
    each = np.concatenate([part["each"] for part in single], axis=1)
    assert each.shape == (70, model.channels[1])
    assert (single[0]["before"] == together["before"].argmax(1)).all()
    for number in range(each.shape[1]):
        [alone] = computed(Ablation(filters={layer: (number,)}, fill=fill, sets=0), subject)
        assert (alone["after"].argmax(1) == each[:, number]).all()


def made_up(before, after, labels):
    """Return the finding where these classes were predicted, each with probability near 1."""
    subject = replace(make_subject(SMALL, count=len(labels)), labels=np.array(labels))
    arrays = {"before": 9.0 * np.eye(3, dtype=np.float32)[before], "after": 9.0 * np.eye(3, dtype=np.float32)[after]}
    return Ablation(filters="conv1:0", sets=0).finding([subject], [arrays])


LABELS, BEFORE, AFTER = [0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1, 0, 0], [0, 1, 1, 1, 1, 0, 0, 1]


def test_contingency_classes_and_confusions_by_hand():
    finding = made_up(BEFORE, AFTER, LABELS)
    assert [row[1] for row in finding.tables["ablation"].rows] == [2, 2, 3, 1, 8]
    classes = finding.tables["ablation-classes"]
    assert [column.name for column in classes.columns] == [
        *("class", "right before", "right→wrong", "wrong→right", "right after", "difference", "change, points")
    ]
    assert classes.rows == (
        ("class0", 3, 2, 0, 1, -2, -50.0),
        ("class1", 2, 1, 1, 2, 0, 0.0),
        ("class2", 0, 0, 0, 0, 0, None),  # no images: not known
        ("total", 5, 3, 1, 3, -2, -25.0),
    )
    assert finding.tables["ablation-confusions"].rows == (("class0", "class1", 1, 3, 2),)
    assert finding.text[:3] == (
        "Off: conv1:0 at 0.",
        (
            "Right before: 62.50 % of 8 test images, after: 37.50 %; 3 lost against 1 gained, McNemar's exact test "
            "p = 0.62."
        ),
        "Confusions that grew most: class0 → class1 (+2).",
    )
    assert set(finding.figures) == {"ablation-matrix", "ablation-lost"}


def test_nothing_lost_draws_no_gallery():
    finding = made_up(BEFORE, BEFORE, LABELS)
    assert set(finding.figures) == {"ablation-matrix"}
    assert finding.tables["ablation-confusions"].rows == ()


def test_one_at_a_time_reports_each_filter(monkeypatch):
    monkeypatch.setattr(ablation, "DRAWN", 3)
    subject = make_subject(SMALL, count=20)
    job = Ablation(each_of="conv2", sets=0)
    finding = job.finding([subject], computed(job, subject))
    assert [row[0] for row in finding.tables["ablation-each"].rows] == [f"conv2:{number}" for number in range(5)]
    before, each = finding.arrays["each_before"], finding.arrays["each"]
    lost = ((before == subject.labels)[:, None] & (each != subject.labels[:, None])).sum(axis=0)
    assert [row[1] for row in finding.tables["ablation-each"].rows] == lost.tolist()
    assert "The 3 of 5 filters that lose most." in finding.figures["ablation-each"].caption


def test_several_labels_are_compared_by_average_precision():
    labels = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, -1]], np.int8)
    subject = replace(make_subject(SMALL, count=4), labels=labels)
    before = np.array([[4, 0, 0], [3, 0, 0], [2, 9, 0], [1, 8, 0]], np.float32)
    after = np.array(
        [[1, 0, 0], [2, 0, 0], [3, 9, 0], [4, 8, 0]], np.float32
    )  # class 0 ranks last: precision 1/2 at every recall
    finding = Ablation(filters="conv1:0", sets=0).finding([subject], [{"before": before, "after": after}])
    rows = finding.tables["ablation-classes"].rows
    assert rows == (
        ("class0", 100.0, 50.0, -50.0),
        ("class1", 100.0, 100.0, 0.0),
        ("class2", None, None, None),
        ("mean", 100.0, 75.0, -25.0),
    )
    with pytest.raises(
        UserError, match=r"^each_of counts changed predictions, but images of random can have several labels$"
    ):
        Ablation(each_of="conv1").parts(subject)


def test_repeats_to_the_bit_and_leaves_the_network_alone():
    subject = make_subject(ResNet(18), (3, 32, 32), count=4)
    state = {name: tensor.clone() for name, tensor in subject.model.state_dict().items()}
    job = Ablation(fill="mean", sets=0)
    [first], [second] = (computed(job, subject) for _ in range(2))
    assert all((first[name] == second[name]).all() for name in ("before", "after"))
    assert all(torch.equal(tensor, state[name]) for name, tensor in subject.model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in subject.model.modules())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fill": "noise"}, "fill is 'noise', but must be 'zero' or 'mean'"),
        ({"filters": "x"}, "filters has 'x'"),
        ({"sets": -1}, "sets is -1, but must be a whole number from 0 to 10000"),
    ],
)
def test_options_are_checked_at_once(options, message):
    with pytest.raises(UserError, match=message):
        Ablation(**options)


def test_a_layer_that_is_not_there_is_named():
    with pytest.raises(UserError, match="net has no convolution 'conv9'"):
        Ablation(each_of="conv9").parts(make_subject(SMALL))


@pytest.mark.parametrize("behind", ["conv2", "activation2", "block2"])
@pytest.mark.parametrize("fill", ["zero", "mean"])
def test_a_step_added_to_a_block_is_computed_too(monkeypatch, behind, fill):
    """Before is the network itself; after is it too, with a batch norm that lets only the fill value through."""
    subject = make_subject(replace(SMALL, batch_norm=True), count=70)
    shake(subject.model)
    add_excite(monkeypatch, behind, 5)
    pixels = torch.from_numpy(subject.images).permute(0, 3, 1, 2)
    [arrays] = computed(Ablation(filters="conv2:1,3", fill=fill, sets=0), subject)
    with torch.inference_mode():
        before = torch.cat([subject.model(part) for part in pixels.split(64)])
    assert (arrays["before"] == before.numpy()).all()
    assert (arrays["after"] != arrays["before"]).any()
    if fill == "zero":
        silence(subject.model.blocks[1].convs[0][1], (1, 3))
        with torch.inference_mode():
            after = torch.cat([subject.model(part) for part in pixels.split(64)])
        np.testing.assert_allclose(arrays["after"], after.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("option", [{"dilation": 2}, {"groups": (1, 2)}])
def test_dilated_and_grouped_filters_are_switched_off(option):
    subject = make_subject(replace(DOUBLE, channels=(4, 6), padding=2, **option))
    shake(subject.model)
    off = run(subject.model, subject.images, ("conv3", (1, 3)))
    assert not torch.equal(off, run(subject.model, subject.images))
    silence(subject.model.blocks[1].convs[0][1], (1, 3))
    assert torch.equal(off, run(subject.model, subject.images))


def planted(channels=8):
    """Return a network, on images of its own choosing, that needs filter 3 of conv 1 and no other.

    A head of one layer: what it says comes from that filter's map alone.
    """
    subject = make_subject(CNN(conv_layers=1, channels=channels, padding=1, fc_layers=1, pooling="none"), count=60)
    with torch.no_grad():
        weights = subject.model.head.weight.view(3, -1, channels).mT
        weights -= weights.mean(2, keepdim=True)  # classes go by where it is light, not by how light it is
        weights[:, [number for number in range(channels) if number != 3]] = 0
        subject.model.head.bias.zero_()
    return replace(subject, labels=subject.predicted)


def test_a_set_that_is_planted_to_be_the_worst_is_told_to_matter():
    """Of the 56 sets of three those with filter 3 lose: 21. Without it nothing is lost."""
    subject, job = planted(), Ablation(filters="conv1:0,1,3")
    finding = job.finding([subject], computed(job, subject))
    lost = finding.arrays["sets_lost"]
    assert len(lost) == 55
    assert sorted(set(lost.round(6))) == [0, pytest.approx(finding.arrays["sets_own"], abs=1e-5)]
    assert (lost > 0).sum() == 20
    [line] = [line for line in finding.text if line.startswith("Against all 55 other sets of as many filters")]
    assert "36.4 % of them lose at least as much, p = 0.38: nothing shows" in line
    assert line.endswith("Tried on all 60 test images.")
    subject, job = planted(channels=24), Ablation(filters="conv1:3")
    told = job.finding([subject], computed(job, subject))
    assert any("0 % of them lose at least as much, p = 0.042: these filters matter more" in line for line in told.text)
    assert "p = 0.042" in told.figures["ablation-sets"].caption


def test_sets_lose_what_each_loses_when_it_is_asked_for():
    subject, job = make_subject(replace(SMALL, batch_norm=True), count=40), Ablation("conv1:0 conv2:1", sets=7)
    shake(subject.model)
    finding = job.finding([subject], computed(job, subject))
    sets = job._sets(subject, {"conv1": (0,), "conv2": (1,)})
    assert sets[:2] == [{}, {"conv1": (0,), "conv2": (1,)}]
    assert len(sets) == 9
    for filters, lost in zip(sets[1:], [finding.arrays["sets_own"], *finding.arrays["sets_lost"]], strict=True):
        [alone] = computed(Ablation(filters, sets=0), subject)
        right = [(alone[when].argmax(1) == subject.labels).mean() for when in ("before", "after")]
        assert lost == pytest.approx(100 * (right[0] - right[1]))


def test_parts_are_networks_then_filters_then_sets(monkeypatch):
    monkeypatch.setattr(ablation, "SETS_PER_PART", 4)
    subject = make_subject(SMALL, count=20)
    subject = replace(subject, others=(replace(subject, model=subject.untrained(3).model, seed=3),))
    job = Ablation(filters="conv1:0", each_of="conv2", sets=5)
    keys = [set(arrays) for arrays in computed(job, subject)]
    both, each, scores = {"before", "after"}, {"before", "each"}, {"scores"}
    assert keys == [both, both, each, scores, scores]  # conv1 has but three other sets of one filter
    assert len(computed(Ablation(filters="conv1:0,1", sets=5), subject)) == 2 + 2


def test_where_there_is_no_other_set_that_is_said():
    subject, job = make_subject(SMALL, count=20), Ablation(filters="conv1:0-3")
    finding = job.finding([subject], computed(job, subject))
    assert any(line.startswith("There is no other set of as many filters of the same layers") for line in finding.text)
    assert "ablation-sets" not in finding.figures


def test_the_less_there_is_to_compute_the_more_images_are_used(monkeypatch):
    subject = make_subject(SMALL, count=60)
    monkeypatch.setattr(ablation, "FEWEST", 6)
    behind = {layer.name: layer.flops for layer in subject.layers}
    assert len(Ablation(sets=2)._images(subject, {"conv1": (0,)})) == 60
    monkeypatch.setattr(ablation, "SET_FLOPS", 0)
    few = Ablation(sets=2)._images(subject, {"conv1": (0,)})
    assert np.bincount(subject.labels[few]).tolist() == [2, 2, 2]
    monkeypatch.setattr(ablation, "MOST", 9)
    monkeypatch.setattr(ablation, "SET_FLOPS", 2 * 400 * (behind["fc1"] + behind["conv3"]))
    assert len(Ablation(sets=2)._images(subject, {"conv3": (0,), "conv2": (1,)})) == 9


def test_networks_of_all_seeds_are_told_with_an_interval_and_tables_are_of_the_first():
    subject = make_subject(SMALL, count=8)
    subject = replace(subject, labels=np.array(LABELS), seed=4, others=(replace(subject, seed=9),))

    def arrays(*classes):
        return {
            when: 9.0 * np.eye(3, dtype=np.float32)[of] for when, of in zip(("before", "after"), classes, strict=True)
        }

    networks = [arrays(BEFORE, AFTER), arrays(LABELS, BEFORE)]  # 62.5 → 37.5 and 100 → 62.5
    finding = Ablation(filters="conv1:0", sets=0).finding([subject], networks)
    assert [row[1] for row in finding.tables["ablation"].rows] == [2, 2, 3, 1, 8]
    assert "net (seed 4)" in finding.tables["ablation"].title
    assert finding.tables["ablation-seeds"].rows[:2] == (("4", 62.5, 37.5, 25.0), ("9", 100.0, 62.5, 37.5))
    assert finding.tables["ablation-seeds"].rows[2][3] == Measured(31.25, pytest.approx(6.25 * 2**0.5), 2)
    [line] = [line for line in finding.text if line.startswith("Accuracy of 2 seeds: ")]
    assert "81.25 ± 26.52 (2) % before, 50.00 ± 17.68 (2) % after: 31.25 [" in line
    assert line.endswith("points lost (95 % interval over seeds and images).")
    assert "McNemar's exact test p = 0.62 (seed 4)." in finding.text[1]


def test_one_seed_has_an_interval_over_images_and_says_so():
    finding = made_up(BEFORE, AFTER, LABELS)
    [line] = [
        line for line in finding.text if line.startswith("Accuracy of 1 seed: 62.50 % before, 37.50 % after: 25.00")
    ]
    assert line.endswith("(95 % interval over images; another seed's network may differ by more).")
    assert "ablation-seeds" not in finding.tables


def test_filters_tried_alone_are_corrected_for_their_number():
    subject = planted()
    job = Ablation(filters="conv1:0", each_of="conv1", sets=0)
    finding = job.finding([subject], computed(job, subject))
    rows = finding.tables["ablation-each"].rows
    assert [row[-1] < 0.05 for row in rows] == [number == 3 for number in range(8)]
    assert rows[3][-1] == pytest.approx(8 * rows[3][-2])
    [line] = [
        line for line in finding.text if line.startswith("One at a time, 1 of the 8 filters of conv1 cost accuracy")
    ]
    assert "0 gain some" in line


def test_several_labels_are_set_against_other_sets_by_map():
    subject = make_subject(SMALL, count=30)
    labels = np.random.default_rng(0).integers(-1, 2, (30, 3)).astype(np.int8)
    subject, job = replace(subject, labels=labels), Ablation(filters="conv1:0")
    finding = job.finding([subject], computed(job, subject))
    assert finding.arrays["sets_lost"].shape == (3,)
    row = finding.tables["ablation-classes"].rows[-1]
    assert float(finding.arrays["sets_own"]) == pytest.approx(-row[3], abs=1e-4)
    assert any(line.startswith("mAP of 1 seed: ") and line.endswith("points lost.") for line in finding.text)


def test_labels_that_are_few_are_not_all_left_out(monkeypatch):
    monkeypatch.setattr(ablation, "FEWEST", 6)
    monkeypatch.setattr(ablation, "SET_FLOPS", 0)
    subject, job = make_subject(SMALL, count=30), Ablation(filters="conv1:0")
    labels = np.zeros((30, 3), np.int8)
    with pytest.raises(UserError, match="no image of random is known to have any of the classes"):
        job.parts(replace(subject, labels=labels))
    labels[4, 1] = 1
    assert len(job._images(replace(subject, labels=labels), {"conv1": (0,)})) == 30
    labels[::2, 1] = 1
    assert len(job._images(replace(subject, labels=labels), {"conv1": (0,)})) == 6


def test_the_heading_says_what_is_lost_and_whether_other_filters_would_cost_as_much():
    subject = make_subject(SMALL, count=60)
    job = Ablation(filters="conv1:0,1 conv2:0")
    found = job.finding([subject], computed(job, subject))
    before, after = (100 * (found.arrays[when].argmax(1) == subject.labels) for when in ("before", "after"))
    lost = over_seeds_and_images((before - after)[None])
    start = f"Ablation: without 3 filters, {lost:.1f} points of accuracy are lost, "
    verdicts = ("more than", "not significantly more than")
    assert found.title in (f"{start}{which} other sets of the same size cost" for which in verdicts)
    alone = Ablation(filters="conv1:0", sets=0)
    assert alone.finding([subject], computed(alone, subject)).title.startswith("Ablation: without 1 filter, ")
    assert found.tables["ablation-confusions"].folded
