import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from sweeps.reporting.known_data import FORM, KnownData
from tests.conftest import with_several_labels
from tests.damage import any_of, mistyped, survey, swapped
from trainables.files import unzipped, zipped
from trainables.footprint import Images


def test_what_is_known_of_data_is_read_as_it_was_written(tiny):
    several = with_several_labels(tiny)
    for data in (tiny, several):
        known = KnownData.of(data, {"b.pth": b"b", "a.pth": b"a"})
        content = known.to_bytes()
        again = KnownData.from_bytes(content)
        assert (again, again.to_bytes()) == (known, content)
        assert again.contents("asked for") == {
            "asked for": data.digest,
            "a.pth": hashlib.sha256(b"a").hexdigest(),
            "b.pth": hashlib.sha256(b"b").hexdigest(),
        }
        assert again.images == Images.of(data)
        pairs = zip(again.summary.samples, known.summary.samples, strict=True)
        assert all(one == other and np.array_equal(a, b) for (one, a), (other, b) in pairs)
    assert all(np.array_equal(again.labels[part], getattr(several, part).labels) for part in ("train", "val", "test"))


def test_the_yardstick_knows_the_share_of_validation_and_labels_where_images_have_several(tiny):
    one, several = (KnownData.of(data, {}).yardstick for data in (tiny, with_several_labels(tiny)))
    assert (one.metric, one.images, one.share, one.labels) == ("accuracy", 24, 24 / 120, {})
    assert (several.metric, {part: labels.shape for part, labels in several.labels.items()}) == (
        "mAP",
        {"train": (96, 3), "val": (24, 3), "test": (30, 3)},
    )


def test_weights_of_earlier_commands_stay_known_and_those_of_now_count(tiny):
    earlier, now = KnownData.of(tiny, {"a": b"old", "b": b"b"}), KnownData.of(tiny, {"a": b"new", "c": b"c"})
    assert now.joined(earlier) == KnownData.of(tiny, {"a": b"new", "b": b"b", "c": b"c"})


def test_data_without_samples_is_known_too(tiny):
    known = KnownData.of(tiny, {})
    known = replace(known, summary=replace(known.summary, samples=()))
    assert KnownData.from_bytes(known.to_bytes()).summary.samples == ()


def test_whatever_is_damaged_is_refused_in_one_line(tiny):
    content = KnownData.of(with_several_labels(tiny), {"a": b"a"}).to_bytes()
    assert survey(any_of(content), KnownData.from_bytes)[0] == {}


def test_a_file_that_is_whole_but_wrong_is_refused_or_of_the_right_form(tiny):
    files = unzipped(KnownData.of(with_several_labels(tiny), {"a": b"a"}).to_bytes())
    damage = ((what, zipped({**files, FORM: form})) for what, form in mistyped(files[FORM]))
    whole, refused = survey(damage, KnownData.from_bytes)
    assert {what.partition(" ")[0] for what in whole} == {
        *("name", "metric", "short_name"),  # any text
        *("weights", "weights/a", "samples"),  # none is left
        "several",  # is True, as it was
    }
    for known in whole.values():
        assert KnownData.from_bytes(known.to_bytes()) == known
    assert refused["image_shape/0 is 0"] == "image_shape is [0, 12, 12], but must be three whole numbers above 0"
    assert refused["image_shape/0 is True"].startswith("image_shape is [True")
    form = json.loads(files[FORM]) | {"image_shape": [4, 12, 12]}
    with pytest.raises(ValueError, match="not of the images' channels"):
        KnownData.from_bytes(zipped({**files, FORM: json.dumps(form).encode()}))
    assert refused["several is False"] == "it must have classes, and labels where images have several"
    whole, _ = survey(((what, zipped(each)) for what, each in swapped(files)), KnownData.from_bytes)
    assert whole == {}


@pytest.mark.parametrize("part", ["samples", "labels-val"])
def test_no_memory_is_taken_for_what_a_form_only_claims(tiny, part):
    files = unzipped(KnownData.of(with_several_labels(tiny), {}).to_bytes())
    form = json.loads(files[FORM]) | {"sample_shape": [2**20, 2**20, 3], "images": [96, 2**39, 30]}
    with pytest.raises(ValueError, match="bytes, which are not"):
        KnownData.from_bytes(zipped({**files, FORM: json.dumps(form).encode(), part: b"1234"}))
    with pytest.raises(ValueError, match="labels must be -1, 0 or 1"):
        KnownData.from_bytes(zipped({**files, "labels-val": b"\x02" * len(files["labels-val"])}))
