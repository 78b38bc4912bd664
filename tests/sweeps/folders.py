"""A study on a folder of images, for tests of what becomes of it where the folder is gone."""

from pathlib import Path

from PIL import Image

from sweeps.study import Stage, Study
from tests.sweeps.finished import TRIAL
from trainables.datasets import Dataset


def study_on(folder: Path, data: Dataset, lrs: tuple[float, ...] = (0.05,)) -> Study:
    """Write the data's training and test images as class folders, and return a study on them with one stage."""
    for part, split in (("train", data.train), ("test", data.test)):
        for number, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
            place = folder / part / data.class_names[label] / f"{number:03}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place)
    start = TRIAL.with_values({"dataset": f"folder:{folder}"})
    return Study("study", start, (Stage("lr", {"training.lr": lrs}),))
