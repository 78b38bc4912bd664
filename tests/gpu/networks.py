"""The larger networks: R1, of VGG's size, and ResNet-18."""

from __future__ import annotations

from dataclasses import replace

from sweeps.voc import RESNET
from sweeps.wide_cnn import STUDY as WIDE_CNN
from tests.gpu.rows import LeftOut, Setting
from tests.gpu.workload import SMALL, dataset, r0
from trainables.config import Trial
from trainables.datasets import Dataset

STEPS = 20  # an epoch


def trial_and_data(setting: Setting, network: str, batch: int) -> tuple[Trial, Dataset]:
    """Return a network's trial with its own recipe, and images for a few steps."""
    if network == "R0":
        trial = r0(setting)
    elif network == "R1":
        trial = WIDE_CNN.baseline.with_values(SMALL if setting.tiny else {})
    elif setting.tiny:
        raise LeftOut("not with --tiny: eleven million weights")
    else:
        trial = RESNET
    trial = replace(trial, training=replace(trial.training, batch_size=batch, resize=None))
    size = 256 if trial.training.crop else 32
    return trial, dataset(setting.size(STEPS, 3) * batch, 20, size)
