"""Occlusion maps against captum, against numpy by hand, and what is made of them against counts by hand and planted
truths.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.attr import Occlusion as CaptumOcclusion

import analysis.jobs.occlusion
from analysis.jobs.occlusion import Occlusion
from analysis.report import Measured
from analysis.subject import Subject
from trainables.config import CNN
from trainables.errors import UserError
from trainables.models import build
from trainables.plan import plan

NAMES = ("ant", "bee", "cow")
LINEAR = CNN(conv_layers=0, fc_layers=1)


def make_subject(config=LINEAR, side=12, channels=3, count=30, labels=None, seed=0, masks=None) -> Subject:
    """Return a random network with random images, labelled as it classifies them where no labels are given."""
    torch.manual_seed(seed)
    shape = (channels, side, side)
    model = build(config, shape, len(NAMES), (0.4,) * channels, (0.2,) * channels).eval()
    images = np.random.default_rng(seed).integers(0, 256, (count, side, side, channels), dtype=np.uint8)
    if labels is None:
        with torch.inference_mode():
            labels = model(torch.from_numpy(images).permute(0, 3, 1, 2)).argmax(1).numpy()
    return Subject(
        "net", model, plan(config, shape, len(NAMES)), NAMES, "noise", images, labels, (1, 1, 1), masks=masks
    )


def with_seeds(subject: Subject, seeds: int = 3) -> Subject:
    """Return a subject of a linear network with those of further seeds beside it."""
    others = (make_subject(side=subject.images.shape[1], seed=seed).model for seed in range(1, seeds))
    return replace(subject, others=tuple(replace(subject, model=each, seed=at) for at, each in enumerate(others, 1)))


def all_parts(job: Occlusion, subject: Subject):
    return [job.compute(subject, part) for part in range(job.parts(subject))]


def finding(job: Occlusion, subject: Subject):
    return job.finding([subject], all_parts(job, subject))


def by_hand(subject: Subject, number: int, label: int, window: int, stride: int, fill) -> np.ndarray:
    """Return the probability map of the linear network, in float64, window by window."""
    weight, bias = (subject.model.state_dict()[f"head.{name}"].double().numpy() for name in ("weight", "bias"))
    side, reach = subject.images.shape[1], window // 2
    centres = range((stride - 1) // 2, side, stride)
    rows = []
    for row in centres:
        for column in centres:
            image = subject.images[number] / 255.0
            image[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1] = fill
            logits = weight @ ((image - 0.4) / 0.2).transpose(2, 0, 1).ravel() + bias
            odds = np.exp(logits - logits.max())
            rows.append(1 / (1 + np.exp(-logits[label])) if subject.multi_label else odds[label] / odds.sum())
    return np.array(rows).reshape(len(centres), -1)


@pytest.mark.parametrize("window", [3, 9])
def test_the_box_average_of_the_drops_is_captums_map(window):
    """captum gives a pixel the mean drop over those windows wholly inside the image that cover it."""
    subject = make_subject(CNN(conv_layers=2, channels=(8, 12), fc_layers=2, fc_widths=16), side=16)
    [part, *_] = (part for part in all_parts(Occlusion(windows=(window,), per_class=1), subject) if len(part["image"]))
    drops, reach = part["unoccluded"][0].astype(float) - part["maps"][0, 0], window // 2
    inside = drops[reach:-reach, reach:-reach]  # by centre
    averaged = np.empty(drops.shape)
    for row, column in np.ndindex(averaged.shape):
        top, left = max(0, row - 2 * reach), max(0, column - 2 * reach)
        averaged[row, column] = inside[top : row + 1, left : column + 1].mean()

    pixels = torch.from_numpy(subject.images[part["image"]]).permute(0, 3, 1, 2) / 255
    peer = CaptumOcclusion(lambda x: subject.model(x).softmax(1))
    theirs = peer.attribute(
        pixels, (3, window, window), baselines=0.5, target=int(part["class"][0]), perturbations_per_eval=32
    )
    assert np.abs(averaged).max() > 0.001
    np.testing.assert_allclose(averaged, theirs[0, 0].detach().numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("channels", "fill", "stride"), [(3, "gray", 1), (3, "mean", 2), (1, "black", 3), (1, "gray", 12)]
)
def test_maps_of_a_linear_network_by_hand(channels, fill, stride):
    subject = make_subject(channels=channels)
    value = {"gray": 0.5, "mean": subject.images.mean(axis=(0, 1, 2)) / 255, "black": 0}[fill]
    job = Occlusion(windows=(1, 5, 11), fill=fill, stride=stride)
    parts = [part for part in all_parts(job, subject) if len(part["image"])]
    assert len(parts) > 1
    for part in parts:
        np.testing.assert_allclose(
            part["unoccluded"], subject.probabilities[part["image"], part["class"]], rtol=0, atol=1e-6
        )
        for at, (number, label) in enumerate(zip(part["image"], part["class"], strict=True)):
            expected = [by_hand(subject, number, label, window, stride, value) for window in (1, 5, 11)]
            np.testing.assert_allclose(part["maps"][at], expected, rtol=0, atol=2e-6)


def test_multi_label_data_is_asked_by_the_sigmoid_of_each_label_present():
    labels = np.random.default_rng(1).choice(np.array([1, 0, -1], np.int8), (30, 3))
    subject = make_subject(labels=labels)
    job = Occlusion(windows=(5,), per_class=3)
    for label, part in enumerate(all_parts(job, subject)):
        fits = (labels[:, label] == 1) & (subject.probabilities[:, label] >= 0.5)
        assert part["image"].tolist() == np.flatnonzero(fits)[:3].tolist() != []
        expected = [by_hand(subject, number, label, 5, 1, 0.5) for number in part["image"]]
        np.testing.assert_allclose(part["maps"][:, 0], expected, rtol=0, atol=2e-6)
        assert (part["changed"] == (part["maps"] < 0.5)).all()


def test_a_prediction_changes_where_another_class_is_more_probable():
    subject = make_subject(seed=3)
    [first, *_] = (part for part in all_parts(Occlusion(windows=(9,)), subject) if part["changed"].any())
    number, label = first["image"][0], first["class"][0]
    others = [by_hand(subject, number, other, 9, 1, 0.5) for other in range(3) if other != label]
    assert (first["changed"][0, 0] == (np.max(others, axis=0) > first["maps"][0, 0])).all()


def test_the_first_images_that_are_classified_right_are_chosen():
    subject = make_subject(count=200)
    right = subject.labels.copy()
    subject.labels[::3] = (subject.labels[::3] + 1) % 3  # every third label is a wrong one now
    for label, part in enumerate(all_parts(Occlusion(windows=(3,), per_class=4, stride=6), subject)):
        hits = np.flatnonzero((subject.labels == label) & (right == label))
        assert part["image"].tolist() == hits[:4].tolist()


def test_where_there_are_fewer_images_it_says_so():
    subject = make_subject(count=6)
    subject.labels[:] = np.where(subject.labels == 0, 1, subject.labels)  # no ant is classified right
    found = finding(Occlusion(windows=(3,), per_class=5), subject)
    counts = {name: int(((subject.labels == number) & subject.right).sum()) for number, name in enumerate(NAMES)}
    assert counts["ant"] == 0 < sum(counts.values())
    assert (
        f"Of some classes there are fewer such images than the 5 asked for: ant (0), bee ({counts['bee']}), cow "
        f"({counts['cow']})." in found.text
    )
    assert len(found.tables["occlusion-images"].rows) == sum(counts.values())


def test_a_network_that_is_never_right_has_no_maps():
    subject = make_subject()
    subject.labels[:] = (subject.labels + 1) % 3
    found = finding(Occlusion(), subject)
    assert found.text == (
        "Of some classes there are fewer such images than the 2 asked for: ant (0), bee (0), cow (0).",
    )
    assert not found.tables
    assert not found.figures


def test_the_same_bits_again_in_any_order():
    subject = make_subject(CNN(conv_layers=1, channels=4))
    job = Occlusion(windows=(3, 5))
    once, again = all_parts(job, subject), [job.compute(subject, part) for part in (2, 1, 0)][::-1]
    for one, two in zip(once, again, strict=True):
        assert {key: value.tobytes() for key, value in one.items()} == {
            key: value.tobytes() for key, value in two.items()
        }


def test_large_images_get_windows_and_stride_in_proportion():
    subject = make_subject(side=96, channels=1, count=3)
    found = finding(Occlusion(per_class=1), subject)
    assert found.arrays["windows"].tolist() == [9, 15, 21, 27]
    assert found.arrays["rows"].tolist() == list(range(1, 96, 3))
    assert found.arrays["maps"].shape[1:] == (4, 32, 32)
    assert "one pixel in 3 along both axes" in found.text[0]


def test_figures_show_ten_images_each_with_probability_and_drop(monkeypatch):
    drawn = []
    monkeypatch.setattr(analysis.jobs.occlusion, "panels", lambda rows, **look: drawn.append((rows, look)) or b"png")
    subject = make_subject(count=60)
    found = finding(Occlusion(windows=(3, 5), per_class=4), subject)
    assert list(found.figures) == ["occlusion-1", "occlusion-2", "occlusion-fills", "occlusion-deletion"]
    assert [len(rows) for rows, _ in drawn] == [10, 2, 3]
    assert all(look["colormap"] == "autumn" and look["limits"] == (0, 1) for _, look in drawn)
    assert all(word in found.figures["occlusion-1"].caption for word in ("net", "noise", "gray", "first 4", "5×5"))
    picture, small, large, less, more = drawn[0][0][0]
    row, column = np.unravel_index(large.image.argmin(), large.image.shape)
    assert picture.box == (column - 2, row - 2, column + 3, row + 3)
    assert picture.title == f"p = {found.arrays['unoccluded'][0]:.3f}"
    assert (small.image == found.arrays["maps"][0, 0]).all()
    assert (small.title, small.shades) == (f"{small.image.min():.3f}", None)
    drops = np.maximum(found.arrays["unoccluded"][0] - found.arrays["maps"][0], 0)
    end = max(drops.max(), 0.05)
    for panel, values in ((less, drops[0]), (more, drops[1])):
        np.testing.assert_allclose(panel.image, values / end, rtol=1e-6)
        assert (panel.title, panel.shades.limits) == (f"{values.max():.3f}", (0, 1))
    assert drawn[0][1]["column_labels"] == ["image", "p, 3×3", "p, 5×5", "drop, 3×3", "drop, 5×5"]
    assert [len(row) for rows, _ in drawn for row in rows[:1]] == [5, 5, 7]  # of the fills, three and three


def test_next_to_no_drop_is_not_drawn_as_if_it_were_much():
    [_, drop] = analysis.jobs.occlusion._both(0.9, np.array([[[0.9, 0.89], [0.95, 0.9]]]))
    np.testing.assert_allclose(drop.image, [[0, 0.01 / 0.05], [0, 0]], atol=1e-12)
    [_, _, some, most] = analysis.jobs.occlusion._both(0.9, np.array([[[0.8]], [[0.4]]]))  # one scale for the row
    assert (some.image[0, 0], most.image[0, 0]) == (pytest.approx(0.2), 1)


def test_the_heading_says_what_was_found():
    subject, job = deep(), Occlusion(windows=(1, 3), per_class=4)
    plain = finding(job, subject)
    lost = 100 * plain.arrays["changed"].mean(axis=(0, 2, 3))
    assert plain.title == (
        f"Occlusion: a 3×3 window changes the prediction at {lost[1]:.0f} % of its positions, a 1×1 one at "
        f"{lost[0]:.0f} %"
    )
    assert plain.tables["occlusion-images"].folded
    assert not plain.tables["occlusion-windows"].folded
    job = Occlusion(windows=(1,), per_class=4)
    for object_at, words in (
        (lambda drops, _: drops >= np.quantile(drops, 0.75), "the network looks at the object ("),
        (lambda drops, _: drops <= np.quantile(drops, 0.25), "the network looks beside the object ("),
        (lambda _, at_random: at_random, "nothing shows that the network looks at the object ("),
    ):
        found = finding(job, with_masks(subject, job, object_at))
        share, others = (found.arrays[name].mean() for name in ("drop_on_object", "drop_on_other_objects"))
        numbers = f"{100 * share:.0f} % of the drop there, {100 * others:.0f} % under other images' masks)"
        assert found.title == f"Occlusion: {words}{numbers}"
    subject.labels[:] = (subject.labels + 1) % 3
    assert finding(Occlusion(), subject).title == "Occlusion: no image is classified right"


def test_tables_by_image_and_by_window():
    found = finding(Occlusion(windows=(3, 7), per_class=2), make_subject())
    arrays, images = found.arrays, found.tables["occlusion-images"]
    assert images.to_csv().splitlines()[0] == (
        "image,class,p without,3×3 lowest,3×3 mean,3×3 lost %,7×7 lowest,7×7 mean,7×7 lost %"
    )
    row, large = images.rows[1], arrays["maps"][1, 1].astype(float)
    assert row[:3] == (arrays["image"][1], NAMES[arrays["class"][1]], arrays["unoccluded"][1])
    assert row[6:] == pytest.approx((large.min(), large.mean(), 100 * arrays["changed"][1, 1].sum() / 144))
    _, lowest, mean, lost = found.tables["occlusion-windows"].rows[1]
    for cell, column in ((lowest, 6), (mean, 7), (lost, 8)):
        assert (cell.n, cell.sd) == (1, None)  # one seed; the images' spread is no spread over seeds
        assert cell.mean == pytest.approx(np.mean([line[column] for line in images.rows]))


def deep(**more) -> Subject:
    """Return a network whose drops are at other places in each image."""
    return make_subject(CNN(conv_layers=1, channels=8, fc_layers=2, fc_widths=16), count=60, **more)


def with_masks(subject: Subject, job: Occlusion, object_at) -> Subject:
    """Return a subject with masks made of the drops (12, 12) of each image's map."""
    masks = np.random.default_rng(0).random(subject.images.shape[:3]) < 0.25
    for part in all_parts(job, subject):
        for number, p, maps in zip(part["image"], part["unoccluded"], part["maps"][:, 0], strict=True):
            masks[number] = object_at(p - maps, masks[number])
    return replace(subject, masks=masks)


@pytest.mark.parametrize(
    ("object_at", "words"),
    [
        (lambda drops, _: drops >= np.quantile(drops, 0.75), "more than with other images' masks (p = 0.001) with"),
        (lambda drops, _: drops <= np.quantile(drops, 0.25), "less than with other images' masks (p = 0.001) with"),
        (lambda _, at_random: at_random, "not significantly different from other images' masks (p = "),
    ],
)
def test_objects_where_the_drops_are_are_found_and_others_are_not(object_at, words):
    job = Occlusion(windows=(1,), per_class=4)
    found = finding(job, with_masks(deep(), job, object_at))
    assert words in found.text[3]
    share, others = (found.arrays[name][..., 0] for name in ("drop_on_object", "drop_on_other_objects"))
    assert f"centred on the object: 1×1: {100 * share.mean():.1f} %, {words}" in found.text[3]
    assert f" with {100 * others.mean():.1f} %, the largest there in " in found.text[3]
    assert "Of the drop on the object: gray" in found.text[4]


def test_windows_are_so_many_tests():
    """Holm: the smallest of two p values is doubled."""
    job = Occlusion(windows=(1, 3), per_class=4)
    found = finding(job, with_masks(deep(), job, lambda drops, _: drops >= np.quantile(drops, 0.75)))
    assert found.text[3].count("more than with other images' masks (p = 0.002)") == 2


def test_drop_on_the_object_by_hand():
    masks = np.zeros((2, 12, 12), bool)
    masks[0, 0, 0:3] = masks[1, 11, 11] = True
    subject = make_subject(count=2, labels=np.array([0, 1]), masks=masks)
    maps = np.full((2, 1, 12, 12), 0.5, np.float32)
    maps[0, 0, 0, 0], maps[0, 0, 0, 1], maps[0, 0, 5, 5], maps[0, 0, 6, 6] = 0.25, 0.375, 0.25, 1.0
    maps[0, 0, 11, 11] = 0.375
    part = {
        "image": np.arange(2),
        "class": np.arange(2),
        "unoccluded": np.full(2, 0.5, np.float32),
        "maps": maps,
        "changed": maps < 0.3,
        "fills": np.full((2, 1, 2, 6, 6), 0.5, np.float32),
        "deletion": np.full((2, 1, 2, 3, 21), 0.5, np.float32),
    }
    found = Occlusion(windows=(3,)).finding([subject], [part])
    # 0.25 + 0.125 of 0.75 in the first, and 0.125 under the mask of the second, which has no drop; of the first one's
    # two largest drops, which tie, the first is the one on the object
    assert found.arrays["drop_on_object"][0, 0, 0] == 0.5
    assert found.arrays["drop_on_other_objects"][0, 0, 0] == pytest.approx(1 / 6)
    assert np.isnan(found.arrays["drop_on_object"][1, 0, 0])
    rows = {row[0]: row[1:] for row in found.tables["occlusion-object"].rows}
    assert list(rows) == ["ant", "bee", "cow", "all"]
    assert rows["ant"] == (1, pytest.approx(300 / 144), Measured(50, None, 1), rows["ant"][3], "1 of 1")
    assert rows["ant"][3].mean == pytest.approx(100 / 6)
    assert rows["bee"] == (1, pytest.approx(100 / 144), None, None, None)
    assert rows["cow"] == (0, None, None, None, None)
    assert rows["all"][:3] == (2, pytest.approx(200 / 144), Measured(50, None, 1))
    alone = "of a single image, so that there are no other images' masks"
    assert f"3×3: 50.0 %, {alone}, the largest there in 1 of 1 maps. " in found.text[3]


def test_the_networks_of_further_seeds_look_at_every_other_place_of_the_same_images():
    subject = with_seeds(make_subject())
    job = Occlusion(windows=(3, 5), per_class=2)
    [part, *_] = (part for part in all_parts(job, subject) if len(part["image"]))
    label = int(part["class"][0])
    right = np.all([network.predicted == label for network in subject.replicates], axis=0)
    assert part["image"].tolist() == np.flatnonzero(right & (subject.labels == label))[:2].tolist()
    for at, network in enumerate(subject.others):
        for index, number in enumerate(part["image"]):
            expected = [by_hand(network, number, label, window, 1, 0.5)[::2, ::2] for window in (3, 5)]
            np.testing.assert_allclose(part["other_maps"][index, at], expected, rtol=0, atol=2e-6)
            assert part["other_unoccluded"][index, at] == pytest.approx(network.probabilities[number, label])


def test_numbers_of_several_seeds_are_means_with_their_spread_over_the_seeds():
    subject = with_seeds(make_subject(masks=np.random.default_rng(0).random((30, 12, 12)) < 0.3))
    found = finding(Occlusion(windows=(3,), per_class=2), subject)
    arrays = found.arrays
    assert "right, by the networks of all 3 seeds" in found.text[0]
    assert found.text[1] == (
        "Numbers are means over the networks of 3 seeds ± their standard deviation; the maps and the table of images "
        "are of the first, seed 0."
    )
    maps = np.concatenate([arrays["maps"][:, None, 0, ::2, ::2], arrays["other_maps"][:, :, 0]], axis=1)
    means = maps.astype(float).mean(axis=(0, 2, 3))
    mean = found.tables["occlusion-windows"].rows[0][2]
    assert (mean.mean, mean.sd, mean.n) == (
        pytest.approx(means.mean()),
        pytest.approx(means.std(ddof=1)),
        3,
    )
    assert f"{means.mean():.3f} ± {means.std(ddof=1):.3f} with 3×3" in found.text[2]
    assert arrays["drop_on_object"].shape == (len(maps), 3, 1)
    assert found.tables["occlusion-object"].rows[-1][3].n == 3
    assert found.tables["occlusion-deletion"].rows[0][1].n == 3
    single = finding(Occlusion(windows=(3,), per_class=2), make_subject())
    assert single.text[1].startswith("All numbers are of one network, that of seed 0: ")


def test_the_other_fills_maps_by_hand():
    subject = make_subject()
    fills = {"gray": 0.5, "mean": subject.images.mean(axis=(0, 1, 2)) / 255, "black": 0}
    for asked in fills:
        job = Occlusion(windows=(1, 5, 9), fill=asked)
        [part, *_] = (part for part in all_parts(job, subject) if len(part["image"]))
        number, label = part["image"][0], part["class"][0]
        expected = [by_hand(subject, number, label, 5, 1, fills[fill])[::2, ::2] for fill in fills if fill != asked]
        np.testing.assert_allclose(part["fills"][0, 0], expected, rtol=0, atol=2e-6)
        found = finding(job, subject)
        rows = {row[0]: row[1:] for row in found.tables["occlusion-fills"].rows}
        assert list(rows) == list(fills)
        assert [name for name, row in rows.items() if row[1] is None] == [asked]
        assert rows[asked][0].mean == pytest.approx(found.arrays["maps"][:, 1, ::2, ::2].mean(), abs=1e-6)


def test_pixels_that_take_most_away_go_first():
    """Of a linear network whose windows are single pixels at every place, the drop's order is the best there is."""
    subject = make_subject()
    subject.model.head.weight.data *= 4
    subject.labels[:] = subject.predicted
    found = finding(Occlusion(windows=(1,), per_class=4), subject)
    rows = {row[0]: row[1:] for row in found.tables["occlusion-deletion"].rows}
    (gone, shown), *rivals = ((row[0].mean, row[1].mean) for row in rows.values())
    assert all(gone < rival[0] - 0.05 and shown > rival[1] + 0.05 for rival in rivals)
    assert found.text[-1].count("the map beats it, p = 0.0") == 4


def test_without_masks_objects_are_not_mentioned():
    found = finding(Occlusion(windows=(3,)), make_subject())
    assert "occlusion-object" not in found.tables
    assert "object" not in " ".join(found.text)
    assert list(found.figures)[1:] == ["occlusion-fills", "occlusion-deletion"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"windows": (3, 4)}, "occlusion window 4 has no pixel in its middle: windows are odd, at least 1"),
        ({"windows": (-1,)}, "occlusion window -1 has no pixel in its middle: windows are odd, at least 1"),
        ({"windows": ()}, "occlusion needs at least one window"),
        ({"windows": (3, 3)}, r"occlusion windows \(3, 3\) name a window twice"),
        ({"windows": (3, 13)}, "occlusion window 13 is larger than the images of noise, 12×12"),
        ({"stride": 0}, "occlusion stride is 0, but must be at least 1"),
        ({"stride": 30}, "occlusion stride 30 is larger than the images of noise, 12×12"),
        ({"per_class": 0}, "occlusion per_class is 0, but must be at least 1"),
        ({"fill": "grey"}, "occlusion knows no fill 'grey'; did you mean 'gray'?"),
        ({"fill": "zzz"}, "occlusion knows no fill 'zzz'; known: gray, mean, black"),
    ],
)
def test_an_option_that_breaks_a_rule_is_refused(options, message):
    with pytest.raises(UserError, match=f"^{message}".replace("?", r"\?") + "$"):
        Occlusion(**options).parts(make_subject(count=1))
