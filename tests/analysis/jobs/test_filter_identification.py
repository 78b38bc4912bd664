"""Filter identification against maps and counts made by hand, and receptive fields against gradients."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.filters.naming import convolution
from analysis.filters.patches import PADDING, patch
from analysis.filters.responses import highest
from analysis.jobs import filter_identification
from analysis.jobs.filter_identification import FilterIdentification
from tests.analysis.filters.test_naming import SMALL, make_subject
from trainables.config import CNN, ResNet
from trainables.errors import UserError


def spots(weight: float = 1.0):
    """Return a network whose one filter is `weight` times the pixel, on six images of one pixel: 0, 40, … 200."""
    subject = make_subject(CNN(conv_layers=1, channels=2, padding=1, fc_layers=1, normalize_input=False), (1, 6, 6))
    with torch.no_grad():
        conv = convolution(subject.model, "conv1")
        conv.bias.zero_()
        conv.weight.zero_()
        conv.weight[:, 0, 1, 1] = torch.tensor([weight, -1.0])
    images = np.zeros((6, 6, 6, 1), np.uint8)
    images[np.arange(6), np.arange(6), 5, 0] = 40 * np.arange(6)
    return replace(subject, images=images)


def found(job, subject):
    """Return what the job computes of the first network, and its finding, undrawn."""
    computed = [job.compute(subject, part) for part in range(job.parts(subject))]
    with pytest.MonkeyPatch.context() as undrawn:
        for draw in ("matrix", "panels", "strips"):
            undrawn.setattr(filter_identification, draw, lambda *_, **__: b"")
        return computed[0], job.finding([subject], computed)


def test_responses_peaks_and_places_by_hand():
    arrays, _ = found(FilterIdentification(filters="conv1:0"), spots(2.0))
    np.testing.assert_allclose(arrays["responses"][:, 0], 2 * 40 * np.arange(6) / 255, rtol=1e-6)
    np.testing.assert_allclose(arrays["peaks"], arrays["responses"], rtol=1e-6)  # all light is in one place
    assert arrays["positions"][1:, 0].tolist() == [6 * row + 5 for row in range(1, 6)]


def test_norm_and_stage():
    subject = spots()
    light = 40 * np.arange(6) / 255
    for norm, stage, expected in (
        ("sum", "before", -light),
        ("sum", "after", 0 * light),
        ("norm", "before", light),
        ("norm", "after", 0 * light),
    ):
        arrays, _ = found(FilterIdentification(filters="conv1:1", norm=norm, stage=stage), subject)
        np.testing.assert_allclose(arrays["responses"][:, 0], expected, rtol=1e-6)


def test_all_is_the_sum_over_the_chosen_filters_and_rows_add_up_to_top():
    subject = make_subject(SMALL, count=20)
    job = FilterIdentification(filters="conv2:0,3 conv3:1", norm="norm", top=7)
    arrays, finding = found(job, subject)
    assert finding.arrays["filters"].tolist() == ["conv2:0", "conv2:3", "conv2:ALL", "conv3:1", "conv3:ALL"]
    assert (finding.arrays["counts"].sum(axis=1) == 7).all()
    both = arrays["responses"][:, :2].astype(float).sum(axis=1)
    expected = sorted(range(20), key=lambda image: (-both[image], image))[:7]
    assert finding.arrays["top"][2].tolist() == expected
    assert finding.arrays["counts"][2].tolist() == np.bincount(subject.labels[expected], minlength=3).tolist()


def test_responses_are_those_of_the_whole_set_at_once():
    subject = make_subject(replace(SMALL, batch_norm=True), count=70)  # more than a batch
    arrays, _ = found(FilterIdentification(stage="after"), subject)
    with torch.inference_mode():
        _, features = subject.model.features(torch.from_numpy(subject.images).permute(0, 3, 1, 2))
    maps = features["conv2"][:, :3].relu().numpy()
    np.testing.assert_allclose(arrays["responses"][:, 3:6], maps.sum(axis=(2, 3)), rtol=1e-4, atol=1e-5)
    assert (arrays["positions"][:, 3:6] == maps.reshape(70, 3, -1).argmax(axis=2)).all()


def test_ties_go_by_image_number_and_a_dead_filter_is_noted():
    arrays, finding = found(FilterIdentification(filters="conv1:0,1", stage="after", top=4), spots())
    assert finding.arrays["top"][1].tolist() == [0, 1, 2, 3]  # filter 1 is dead: all responses are 0
    assert finding.arrays["alive"].tolist() == [5, 0, 5]
    assert [note for note in finding.text if "dead" in note] == [
        "conv1:1 is nearly dead: its map has a positive place in only 0 of 6 images, so that its row says little."
    ]
    assert finding.tables["filters"].rows[1][-2:] == (0, 0)
    assert highest(np.array([1.0, 2.0, 2.0, 1.0]), 3).tolist() == [1, 2, 0]
    assert (arrays["responses"][:, 1] == 0).all()


def test_fewer_images_than_asked_for_is_said():
    _, finding = found(FilterIdentification(top=100), make_subject(SMALL))
    assert (finding.arrays["counts"].sum(axis=1) == 6).all()
    assert "There are only 6 images: all are counted, instead of the 100 asked for." in finding.text


def test_labels_are_counted_where_an_image_has_several():
    subject = make_subject(SMALL)
    labels = np.array([[1, 1, 0], [1, 0, -1], [0, 0, 0], [1, 1, 1], [0, 0, 1], [-1, 0, 1]], np.int8)
    _, finding = found(FilterIdentification(), replace(subject, labels=labels))
    assert (finding.arrays["counts"] == [3, 2, 3]).all()
    assert any("once for each of its labels" in note for note in finding.text)


def test_patches_at_the_border_are_padded_not_resized():
    subject = spots()
    layer = subject.layer("conv1")
    seen = patch(subject.images[5], layer, 6 * 5 + 5)  # the lower right corner
    expected = np.full((3, 3, 1), PADDING, np.uint8)
    expected[:2, :2, 0] = [[0, 0], [0, 200]]
    assert (seen == expected).all()


@pytest.mark.parametrize(
    "model",
    [
        CNN(channels=(2, 3, 2), pooling="average", activation="tanh", fc_layers=1),
        CNN(
            channels=(2, 3, 2),
            kernel=(4, 3, 2),
            stride=(2, 1, 1),
            padding=(2, 1, 1),
            pooling="average",
            activation="tanh",
            fc_layers=1,
        ),
    ],
)
def test_patches_are_what_a_unit_sees(model):
    """The pixels on which a unit depends, by its gradient, are those of the patch."""
    subject = make_subject(model, (1, 30, 30), count=1)
    for name in subject.convolutions:
        layer = subject.layer(name)
        pixels = torch.rand(1, 1, 30, 30, requires_grad=True)
        maps = subject.model.features(pixels)[1][name]
        position = (maps.shape[2] // 2) * maps.shape[3] + maps.shape[3] // 2
        maps[0, 0].flatten()[position].backward()
        seen = (pixels.grad[0, 0] != 0).numpy().astype(np.uint8)[:, :, None]
        assert seen.sum() == layer.receptive_field**2
        assert patch(seen, layer, position).all()


def test_a_field_larger_than_the_image_is_the_whole_image():
    subject = make_subject(ResNet(18), (1, 28, 28), count=3)
    image = subject.images[0]
    assert patch(image, subject.layer("layer1.0.conv1"), 0).shape == (19, 19, 1)
    assert (patch(image, subject.layer("layer4.1.conv2"), 0) == image).all()


@pytest.mark.parametrize(("model", "shape"), [(SMALL, (1, 12, 12)), (SMALL, (3, 12, 12)), (ResNet(18), (3, 32, 32))])
def test_every_family_repeats_to_the_bit(model, shape):
    subject, job = make_subject(model, shape), FilterIdentification(shown="conv1:1", maps=4)
    (first, finding), (second, again) = (found(job, subject) for _ in range(2))
    assert first.keys() == second.keys()
    assert all((first[name] == second[name]).all() for name in first)
    assert finding.files() == again.files()


def test_figures_name_model_data_and_choice():
    subject, job = make_subject(SMALL, (1, 12, 12)), FilterIdentification(filters="conv1:0 conv3:0")
    finding = job.finding([subject], [job.compute(subject, part) for part in range(job.parts(subject))])
    assert set(finding.figures) == {"filters-classes", "filters-nulls", "filters-patches", "filters-maps"}
    for figure in finding.figures.values():
        assert "net" in figure.caption
    for figure in (finding.figures[f"filters-{name}"] for name in ("classes", "patches", "maps")):
        assert figure.png.startswith(b"\x89PNG")
        assert all(word in figure.caption for word in ("net", "random", "sum", "before the activation"))


def test_the_maps_shown_are_those_of_the_top_images():
    subject = spots()
    arrays, _ = found(FilterIdentification(filters="conv1:0,1", maps=2), subject)
    np.testing.assert_allclose(arrays["maps"], subject.images[[5, 4], :, :, 0] / 255, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "max"}, "norm is 'max', but must be 'sum' or 'norm'"),
        ({"stage": "both"}, "stage is 'both', but must be 'before' or 'after'"),
        ({"top": 0}, "top is 0, but must be a whole number from 1 to 1000000"),
        ({"untrained": 21}, "untrained is 21, but must be a whole number from 0 to 20"),
        ({"filters": "conv1"}, "filters has 'conv1'"),
    ],
)
def test_options_are_checked_at_once(options, message):
    with pytest.raises(UserError, match=message):
        FilterIdentification(**options)


def test_the_filter_shown_must_be_chosen():
    with pytest.raises(UserError, match="shown is 'conv1:3', but must be one of the chosen filters"):
        FilterIdentification(filters="conv1:0", shown="conv1:3").parts(make_subject(SMALL))


def replicated(count=40):
    """Return a network with another of a second seed."""
    first = make_subject(SMALL, count=count)
    return replace(first, others=(replace(first, model=first.untrained(5).model, seed=5),))


def test_a_part_for_each_seed_and_each_untrained_network():
    subject, job = replicated(), FilterIdentification(filters="conv2:1", top=9, untrained=2)
    assert job.parts(subject) == 4
    one, other, *untrained = (job.compute(subject, part) for part in range(4))
    alone = job.compute(subject.others[0], 0)
    assert (other["counts"] == alone["counts"]).all()
    assert (one["counts"] != other["counts"]).any()
    assert "responses" in one
    assert "responses" not in other
    fresh = job.compute(subject.untrained(filter_identification.UNTRAINED_SEED), 0)
    assert (untrained[0]["counts"] == fresh["counts"]).all()
    assert (untrained[0]["counts"] != untrained[1]["counts"]).any()
    assert one["counts"].shape == (5, 3)  # all filters of conv2
    assert (one["together"] == one["counts"][1]).all()  # the one filter chosen is all of them


def test_tables_are_of_the_first_seed_and_layers_of_all(monkeypatch):
    monkeypatch.setattr(filter_identification, "MOST_FILTERS", 4)
    subject, job = replicated(), FilterIdentification(filters="conv1:0 conv2:1", top=9)
    _, finding = found(job, subject)
    assert "net (seed 0)" in finding.tables["filters"].title
    assert "net (seed 0)" in finding.tables["filters-claims"].title
    layers = finding.tables["filters-layers"].rows
    assert [(*row[:3], row[3].n) for row in layers] == [
        *[("conv1", "trained", 4, 2), ("conv1", "untrained", 4, 3)],
        *[("conv2", "trained", 4, 2), ("conv2", "untrained", 4, 3)],
    ]
    assert sum(line.startswith("conv2, the first 4 of 5 filters: ") for line in finding.text) == 1


def test_controls_are_rows_below_the_filters_and_said_in_a_line():
    computed, finding = found(FilterIdentification(filters="conv1:0,1", top=9), make_subject(SMALL, count=60))
    rows = {row[0]: row for row in finding.tables["filters"].rows}
    assert list(rows)[:3] == ["conv1:0", "conv1:1", "conv1:ALL"]
    assert list(rows)[-2:] == ["conv1 untrained, most", "chance, most"]
    assert sum(rows["high mean blue"][1:4]) == 9
    assert rows["chance, most"][1:] == (6, 6, 6, None, None, None, None)
    said = [line for line in finding.text if line.startswith("Of 9 images drawn at random, chance has at most 6 of a ")]
    assert len(said) == 1
    assert "in conv1 the largest class of 12 untrained filters has " in said[0]
    claims = finding.tables["filters-claims"].rows
    assert [row[0] for row in claims] == list(rows)[:3]
    assert [row[2] for row in claims] == [max(rows[name][1:4]) for name in list(rows)[:3]]
    assert {len(values) for name, values in computed.items() if name == "counts"} == {4}


def test_without_untrained_networks_the_other_nulls_stay():
    subject, job = make_subject(SMALL, count=30), FilterIdentification(filters="conv1:0", untrained=0)
    assert job.parts(subject) == 1
    _, finding = found(job, subject)
    rows = [row[0] for row in finding.tables["filters"].rows]
    assert rows[2:] == [*(f"{end} mean {what}" for what in COLOURS for end in ("high", "low")), "chance, most"]
    assert not any("untrained" in line for line in finding.text)


COLOURS = ("brightness", "red", "green", "blue")


def test_a_filter_that_is_exactly_blue_is_told_to_answer_to_colour():
    """Its planes are blue: more of them than chance, but no more than blue alone has."""
    subject = make_subject(CNN(conv_layers=1, channels=2, padding=1, fc_layers=1, normalize_input=False), count=300)
    with torch.no_grad():
        conv = convolution(subject.model, "conv1")
        conv.weight.zero_()
        conv.weight[0, 2, 1, 1] = 1.0
        conv.weight[1, 1, 1, 1] = -1.0
    images = subject.images // 4
    images[subject.labels == 1, :, :, 2] += 3
    _, finding = found(FilterIdentification(filters="conv1:0", top=60), replace(subject, images=images))
    [line] = [line for line in finding.text if line.startswith("conv1:0: ")]
    count = max(finding.arrays["counts"][0])
    assert 45 < count < 60
    assert line.startswith(
        f"conv1:0: class1 {count} of 60, more than chance (27), but no more than high mean blue alone ({count}): "
    )
    assert line.endswith("it answers to colour, which explains 100 % of its response.")
    assert "colour" not in finding.tables["filters-claims"].rows[0][-1]


def test_many_filters_have_their_sentences_in_the_table_alone(monkeypatch):
    monkeypatch.setattr(filter_identification, "MOST_SAID", 2)
    _, finding = found(FilterIdentification(filters="conv1:0-2", untrained=0), make_subject(SMALL, count=30))
    assert "The other 2 rows are in the table of claims." in finding.text
    assert sum(line.startswith(("conv1:", "conv1:ALL")) for line in finding.text) == 2


def test_the_heading_is_of_the_layers():
    subject = make_subject(SMALL, count=20)
    _, finding = found(FilterIdentification(filters="conv2:0,3", top=7), subject)
    assert finding.title.startswith("Filters: beyond chance, colour and untrained networks, ")
    assert finding.title.endswith(" % of conv2 prefer a class")
    assert finding.tables["filters"].folded
    assert finding.tables["filters-claims"].folded
