"""Part A. Which architecture choices matter for a small convolutional network on CIFAR-10?

Each stage varies one factor and hands its winner on; pooling goes back to the winner of the first stage, stride has a base of its own.
"""

from sweeps.study import Stage, Study
from trainables.config import CNN, Training, Trial

BASELINE = Trial(
    dataset="cifar10",
    # convolutions are unpadded, so that 32 → 15 → 6 → 2 leaves no room for a fourth: that one alone is padded by 1 (2 → 2 → 1);
    # a fourth convolution is as wide as the third
    model=CNN(conv_layers=3, channels=(16, 32, 64), kernel=3, padding=(0, 0, 0, 1), pooling="max", fc_layers=3, fc_widths=(256, 128, 64)),
    training=Training(
        epochs=15, batch_size=64, optimizer="sgd", lr=0.03, momentum=0.9, weight_decay=2e-3, schedule="exponential", gamma=0.8
    ),
)

STUDY = Study(
    name="part_a",
    baseline=BASELINE,
    stages=(
        Stage(
            "conv_layers",
            {"model.conv_layers": (0, 1, 2, 3, 4)},
            published={0: (1.32, 49, 15), 1: (0.418, 61, 10), 2: (0.855, 59, 15), 3: (0.676, 64, 14), 4: (1.21, 55, 10)},
        ),
        Stage(
            "fc_layers",
            {"model.fc_layers": (1, 2, 3, 4)},
            published={1: (0.721, 68, 8), 2: (0.245, 68, 8), 3: (0.186, 68, 10), 4: (0.152, 70, 10)},
        ),
        Stage(
            "channels",
            {"model.channels": ((6, 12, 20), (16, 32, 64), (32, 64, 256))},
            published={(6, 12, 20): (0.470, 56, 9), (16, 32, 64): (0.152, 69, 10), (32, 64, 256): (0.048, 74, 12)},
        ),
        Stage(
            "pooling",
            {"model.pooling": ("max", "none")},
            start="conv_layers",
            published={"max": (0.676, 64, 14), "none": (1.05, 53, 14)},
        ),
        Stage(
            "epochs",
            start="channels",
            published={(): (0.0487, 74, 12)},
            note="The winner's own curve against the number of epochs: no new trial.",
        ),
        Stage(
            "stride",
            {"model.stride": (1, 2, 4, 6)},
            start=BASELINE.with_values({"model.conv_layers": 1, "model.pooling": "none", "model.fc_layers": 4}),
            published={1: (0.419, 62, 10), 2: (0.421, 57, 13), 4: (0.72, 56, 11), 6: (0.927, 55, 13)},
        ),
    ),
)

if __name__ == "__main__":
    from sweeps.main import main

    main(STUDY)
