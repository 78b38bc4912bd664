"""The network that a ResNet config describes: torchvision's, as named steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock

from trainables.config import RESNET_STAGES, ResNet
from trainables.models import Network, Step, flattened, normalizing


class ResidualNet(Network, torchvision.models.ResNet):
    """The network that a ResNet config describes: torchvision's modules, initialisation and tensor names, and
    `normalize` before them.

    Features: every convolution by its name in the plan (after batch norm, before activation), every block's output
    (`layer1.0` …), every stage's (`layer1` …), and `flat`.
    """

    def __init__(
        self,
        config: ResNet,
        image_shape: tuple[int, int, int],
        classes: int,
        mean: tuple[float, ...] = (),
        sd: tuple[float, ...] = (),
    ) -> None:
        """Build for images of `image_shape` (C, H, W); `mean` and `sd` are per channel, of pixels scaled to 0..1."""
        super().__init__(BasicBlock, list(RESNET_STAGES[config.depth]), num_classes=classes)
        channels = image_shape[0]
        if channels != 3:
            self.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
            nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.normalize = normalizing(config, channels, mean, sd)

    def steps(self) -> Iterator[Step]:
        """Go through the steps, which compute what torchvision's forward() computes."""
        net: Any = self  # torchvision declares no types
        yield Step("normalize", self.normalize, False, True, True)
        yield Step("conv1", lambda x: net.bn1(net.conv1(x)), True, convolution=net.conv1)
        yield Step("relu", F.relu, False, True, True)
        yield Step("maxpool", net.maxpool, False, True)
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            for number, block in enumerate(getattr(self, stage)):
                yield from _basic_block(block, f"{stage}.{number}")
            yield Step(stage, _unchanged, True, True, True)
        yield Step("avgpool", net.avgpool, False, True)
        yield Step("flat", flattened, True, True, True)
        yield Step("fc", net.fc)

    @property
    def last_activation(self) -> str:
        """The last stage, whose output is that of a ReLU behind the sum of convolution and shortcut."""
        return "layer4"

    @property
    def activation(self) -> nn.Module:
        """The activation behind every convolution. Torchvision's own modules would work in place."""
        return nn.ReLU()


def _basic_block(block: BasicBlock, name: str) -> Iterator[Step]:
    """Go through torchvision's BasicBlock, but for its in-place steps, which would overwrite what features() keeps.

    Between the steps goes what the last one made, and the other branch.
    """
    one, two = block.conv1, block.conv2
    yield Step(f"{name}.conv1", lambda x: (block.bn1(_convolved(one, x)), x), True, convolution=one)
    yield Step(f"{name}.relu", lambda both: (F.relu(both[0]), both[1]), False, True, True)
    yield Step(f"{name}.conv2", lambda both: (block.bn2(_convolved(two, both[0])), both[1]), True, convolution=two)
    if (shortcut := block.downsample) is not None:
        yield Step(f"{name}.downsample.0", lambda both: (shortcut(both[1]), both[0]), True, shortcut=shortcut[0])
    yield Step(name, lambda both: F.relu(both[0] + both[1]), True, False, True)


def _convolved(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Return what a 3×3 convolution, padded by 1, makes of maps; of one place each, its centre alone sees anything."""
    if x.shape[2] * x.shape[3] > 1:
        return cast(Tensor, conv(x))
    return F.conv2d(x, conv.weight[:, :, 1:2, 1:2])


def _unchanged(x: Tensor) -> Tensor:
    return x
