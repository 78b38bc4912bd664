"""VOC's devkit: small ones of the same layout, and the real one where it is."""

from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from PIL import Image

from trainables import datasets
from trainables.datasets import Box, voc
from trainables.datasets.voc import CLASS_NAMES
from trainables.errors import UserError

CAT, PERSON, TRAIN = (CLASS_NAMES.index(name) for name in ("cat", "person", "train"))
OBJECT = """<object><name>{name}</name><pose>Left</pose><truncated>0</truncated><difficult>{difficult}</difficult>
<bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox>
<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part></object>"""


def annotation(*objects: str, width: int = 40, height: int = 20) -> str:
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation>{size}{''.join(objects)}</annotation>"


def write_part(root: Path, part: str, shown: dict[str, dict[str, str]]) -> None:
    """Write a part of a devkit: image → class → "1" or "0" as in its list; what is not given is absent, "-1"."""
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for n, image in enumerate(shown):
        Image.new("RGB", (40, 20), (10 * n, 100, 200)).save(root / "JPEGImages" / f"{image}.jpg")
        boxes = [
            OBJECT.format(11, 6, 20, 15, name=name, difficult=int(label == "0")) for name, label in shown[image].items()
        ]
        (root / "Annotations" / f"{image}.xml").write_text(annotation(*boxes))
    for name in CLASS_NAMES:
        lines = [f"{image} {labels.get(name, '-1'):>2}\n" for image, labels in shown.items()]
        (root / "ImageSets" / "Main" / f"{name}_{part}.txt").write_text("".join(lines))


@pytest.fixture
def root(tmp_path):
    """A devkit of 20 training images, ten of cats and ten of people, and three test images."""
    root = tmp_path / "VOCdevkit" / "VOC2007"
    write_part(root, "trainval", {f"{n:06}": {"cat": "1"} if n < 10 else {"person": "1"} for n in range(20)})
    write_part(root, "test", {"000100": {"cat": "1", "person": "0"}, "000101": {"train": "1"}, "000102": {}})
    return root


def refusal(root: Path, part: str = "test") -> str:
    with pytest.raises(UserError) as caught:
        voc.read_part(root, part)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def main_list(root: Path, name: str) -> Path:
    return root / "ImageSets" / "Main" / f"{name}.txt"


def test_labels_are_present_absent_and_unknown(root):
    split = voc.read_part(root, "test")
    images, labels = split.images, split.labels
    expected = np.zeros((3, 20), np.int8)
    expected[0, CAT], expected[0, PERSON], expected[1, TRAIN] = 1, -1, 1
    assert np.array_equal(labels, expected)
    assert (labels.dtype, images.shape, images.dtype) == (np.int8, (3, 256, 256, 3), np.uint8)
    assert images.flags.c_contiguous
    assert labels.flags.c_contiguous


def test_the_whole_image_is_warped(root):
    halves = np.zeros((20, 40, 3), np.uint8)
    halves[:, 20:] = 255  # of a wide image; both its edges must stay
    Image.fromarray(halves).save(root / "JPEGImages" / "000102.jpg", quality=100, subsampling=0)
    image = voc.read_part(root, "test").images[2]
    assert image[:, :120].max() < 10
    assert image[:, 136:].min() > 245


def test_boxes_are_fractions_of_the_image_and_parts_of_objects_are_none(root):
    text = annotation(
        OBJECT.format(1, 1, 40, 20, name="cat", difficult=0), OBJECT.format(11, 6, 20, 15, name="person", difficult=1)
    )
    (root / "Annotations" / "000100.xml").write_text(text)
    boxes = voc.read_part(root, "test").boxes
    assert boxes[0] == (Box(CAT, False, 0, 0, 1, 1), Box(PERSON, True, 0.25, 0.25, 0.5, 0.75))
    assert boxes[2] == ()


def test_a_missing_list_is_named(root):
    main_list(root, "sofa_test").unlink()
    assert f"{main_list(root, 'sofa_test')} is missing" in refusal(root)


@pytest.mark.parametrize("line", ["000100 2", "000100", "000100 1 1", "", "../../000100 1", "/etc/x 1"])
def test_a_line_that_is_no_label_is_shown(root, line):
    main_list(root, "sofa_test").write_text(f"{line}\n")
    assert f"sofa_test.txt: the line {line!r} must be" in refusal(root)


@pytest.mark.parametrize(
    "lines", ["000100 1\n000101 1\n", "000101 1\n000100 1\n000102 1\n", "000100 1\n000101 1\n000103 1\n"]
)
def test_lists_that_disagree_about_the_images(root, lines):
    main_list(root, "sofa_test").write_text(lines)
    assert "sofa_test.txt does not list the images that aeroplane_test.txt does" in refusal(root)


def test_lists_without_images(root):
    main_list(root, "aeroplane_test").write_text("")
    assert "aeroplane_test.txt lists no images" in refusal(root)


@pytest.mark.parametrize("file", ["JPEGImages/000101.jpg", "Annotations/000101.xml"])
def test_a_listed_file_that_is_not_there_is_named(root, file):
    (root / file).unlink()
    assert f"{root / file} is missing, though aeroplane_test.txt lists it" in refusal(root)


def test_an_image_that_cannot_be_decoded_is_named(root):
    path = root / "JPEGImages" / "000101.jpg"
    path.write_bytes(path.read_bytes()[:-10])
    assert f"{path} cannot be read (image file is truncated" in refusal(root)
    path.write_text("no image")
    assert f"{path} is not an image" in refusal(root)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<annotation>", "no element found"),
        ("<annotation/>", "an element <annotation> has no size/width"),
        (annotation(width=0), "its size is 0×20 pixels"),
        (annotation("<object><name>cat</name></object>"), "an element <object> has no bndbox/xmin"),
        (
            annotation(OBJECT.format("one", 1, 2, 2, name="cat", difficult=0)),
            "could not convert string to float: 'one'",
        ),
        (annotation(OBJECT.format(1, 1, 2, 2, name="unicorn", difficult=0)), "'unicorn' is not a class of VOC 2007"),
    ],
)
def test_an_annotation_that_cannot_be_read_is_named(root, text, reason):
    path = root / "Annotations" / "000101.xml"
    path.write_text(text)
    message = refusal(root)
    assert f"{path} cannot be read (" in message
    assert reason in message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le"])
def test_an_annotation_declares_no_entity_in_any_encoding(root, encoding):
    text = '<!DOCTYPE a [<!ENTITY b "c">]>' + annotation()
    (root / "Annotations" / "000101.xml").write_bytes(text.encode(encoding))
    assert "000101.xml cannot be read (it declares a DOCTYPE" in refusal(root)


# --- as a data set


@pytest.mark.usefixtures("root")
def test_the_data_set(tmp_path):
    data = datasets.load("voc2007", tmp_path)
    assert [len(data.train), len(data.val), len(data.test)] == [18, 2, 3]
    assert (data.val.labels == 1).sum(axis=0)[[CAT, PERSON]].tolist() == [1, 1]
    assert (data.multi_label, data.metric, data.class_names) == (True, "mAP", CLASS_NAMES)
    assert (
        datasets.image_shape("voc2007", tmp_path / "nowhere") == (data.image_shape, data.classes) == ((3, 256, 256), 20)
    )
    for part in (data.train, data.val, data.test):  # boxes went with their images
        assert [{box.label for box in boxes} for boxes in part.boxes] == [
            set(np.flatnonzero(labels)) for labels in part.labels
        ]


def test_boxes_are_no_part_of_the_digest(root, tmp_path):
    first = datasets.load("voc2007", tmp_path).digest
    (root / "Annotations" / "000101.xml").write_text(annotation())
    assert datasets.load("voc2007", tmp_path).digest == first
    path = main_list(root, "sofa_test")
    path.write_text(path.read_text().replace("000102 -1", "000102  0"))
    assert datasets.load("voc2007", tmp_path).digest != first


@pytest.mark.usefixtures("root")
def test_labelled_is_the_test_part_in_the_model_s_order_of_classes(tmp_path):
    names = ("unicorn", *reversed(CLASS_NAMES))
    split = datasets.labelled("voc2007", tmp_path, names, (3, 256, 256), multi_label=True)
    assert len(split) == 3
    assert [names[label] for label in np.flatnonzero(split.labels[0] == 1)] == ["cat"]
    assert {names[box.label] for box in split.boxes[0]} == {"cat", "person"}
    assert split.labels[:, 0].tolist() == [-1, -1, -1]  # nothing is known of unicorns


@pytest.mark.usefixtures("root")
def test_labelled_refuses_a_model_of_another_kind(tmp_path):
    with pytest.raises(
        UserError, match="voc2007 has any number of classes per image, but the model was trained on data with one class"
    ):
        datasets.labelled("voc2007", tmp_path, CLASS_NAMES, (3, 256, 256), multi_label=False)


@pytest.fixture
def torchvision_datasets():
    return pytest.importorskip("torchvision.datasets")


def test_without_network_the_refusal_says_what_to_do(tmp_path, torchvision_datasets, monkeypatch):
    def no_network(*_, **__):
        raise URLError("Name or service not known")

    monkeypatch.setattr(torchvision_datasets, "VOCDetection", no_network)
    with pytest.raises(UserError) as caught:
        datasets.load("voc2007", tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    for part in ("VOCdevkit/VOC2007 with trainval lists", str(tmp_path), "Name or service not known", "--data-dir"):
        assert part in message


def test_only_what_is_missing_is_downloaded(root, tmp_path, torchvision_datasets, monkeypatch):
    asked = []

    def download(data_dir, year, image_set, download):
        asked.append((year, image_set, download))
        write_part(data_dir / voc.FOLDER, image_set, {"000200": {}, "000201": {}})

    monkeypatch.setattr(torchvision_datasets, "VOCDetection", download)
    for path in (root / "ImageSets" / "Main").glob("*_test.txt"):
        path.unlink()
    assert len(datasets.load("voc2007", tmp_path).test) == 2
    datasets.load("voc2007", tmp_path / "new")
    assert asked == [("2007", "test", True), ("2007", "trainval", True), ("2007", "test", True)]


def test_the_real_devkit(real_data):
    if not (real_data / voc.FOLDER).is_dir():
        pytest.skip(f"no {voc.FOLDER} in {real_data}")
    data = datasets.load("voc2007", real_data)
    assert data.image_shape == (3, 256, 256)
    parts = (data.train, data.val, data.test)
    every = np.concatenate([part.images for part in parts])[:, ::16, ::16]
    assert len(np.unique(every.reshape(len(every), -1), axis=0)) > 190
    for part in parts:
        for labels, boxes in zip(part.labels, part.boxes, strict=True):  # lists and annotations agree
            easy, all_ = ({box.label for box in boxes if wanted or not box.difficult} for wanted in (False, True))
            assert set(np.flatnonzero(labels == 1)) == easy
            assert set(np.flatnonzero(labels == -1)) == all_ - easy
            assert all(0 <= box.left < box.right <= 1 and 0 <= box.top < box.bottom <= 1 for box in boxes)
    together = data.train.labels == 1, data.val.labels == 1
    found, held = (present.sum(axis=0) for present in together)
    assert (held[found + held >= 2] >= 1).all()
    assert (found[found + held >= 1] >= 1).all()
