"""Blocks, dropout and activations. What makes a small convolutional network with batch norm generalise?

A block is two 3×3 convolutions, each with batch norm and activation, and max pooling. Each stage varies one thing and
hands its winner on.

    python sweeps/blocks.py --num-gpus 1
    python sweeps/blocks.py --dataset folder:data/my_ten_classes
    python sweeps/blocks.py --quick

The report trained up to 100 epochs on ten classes of 32×32 colour images of its own, and gives accuracies on its
validation split.

Measured on CIFAR-10 2026-11-21 on two cores of an Intel Xeon (AVX512-BF16), 6 of the 100 epochs, --no-early-stopping,
one seed, 21 minutes beside other work. Winners on validation: three blocks, dropout 0.25, ReLU, batch norm without
dropout in the blocks, L2 1e-5, flips without crops: 80.5 %. So few epochs favour what regularises least. The whole
table is in sweeps/MEASURED.md.
"""

from sweeps.study import Claim, Published, Stage, Study
from trainables.config import CNN, Training, Trial

STUDY = Study(
    name="blocks",
    question="What makes a small convolutional network with batch norm generalise?",
    baseline=Trial(
        dataset="cifar10",
        model=CNN(
            conv_layers=6,
            convs_per_block=2,
            channels=(16, 32, 64),
            kernel=3,
            padding=1,
            batch_norm=True,
            fc_layers=3,
            fc_widths=(512, 128),
            fc_batch_norm=True,
            fc_dropout=0.5,
        ),
        training=Training(
            epochs=100, batch_size=64, optimizer="adam", lr=0.001, weight_decay=1e-5, flip=True, crop_padding=4
        ),
    ),
    stages=(
        Stage(
            "blocks",
            {"model.conv_layers": (2, 4, 6)},
            question="How many blocks should it have?",
            note="One, two and three blocks of two convolutions.",
            published={
                2: Published(0.3532, 81.07, 84, part="validation"),
                4: Published(0.2198, 82.00, 76, part="validation"),
                6: Published(0.2010, 83.07, 60, part="validation"),
            },
        ),
        Stage(
            "dropout",
            {"model.fc_dropout": (0.15, 0.25, 0.5)},
            question="How much dropout do the fully connected layers need?",
            published={
                0.15: Published(0.1866, 81.20, 42, part="validation"),
                0.25: Published(0.1560, 82.40, 53, part="validation"),
                0.5: Published(0.2125, 84.13, 57, part="validation"),
            },
        ),
        Stage(
            "activation",
            {"model.activation": ("relu", "tanh", "none")},
            question="Which activation is best, and what is it worth to have one at all?",
            published={
                "relu": Published(0.2125, 84.13, 57, part="validation"),
                "none": Published(0.4378, 80.53, 53, part="validation"),
            },
        ),
        Stage(
            "conv_dropout",
            {"model.batch_norm": (True, False), "model.conv_dropout": (0.0, 0.25)},
            question="Do the conv blocks need batch norm, dropout or both?",
            note="Dropout after the conv blocks against batch norm in them; both and neither for comparison.",
        ),
        Stage(
            "weight_decay",
            {"training.weight_decay": (0.0, 1e-5)},
            question="Does a small L2 penalty help?",
        ),
        Stage(
            "augmentation",
            {"training.flip": (True, False), "training.crop_padding": (4, 0)},
            question="Do random flips and crops help?",
        ),
    ),
    claims=(
        Claim("blocks", 6, delta=1.07, source="R2", note="published on validation, as are the next two"),
        Claim("dropout", 0.5, delta=1.73, source="R2"),
        Claim("activation", "relu", ("none",), delta=3.6, source="R2"),
    ),
    analyses={
        "contact_sheet": {"per_class": 10},
        "filters_drawn": {"layers": ("all",)},
        "feature_maps": {},
    },
    quick={"dataset": "shapes", "training.epochs": 2},
)

if __name__ == "__main__":
    from sweeps.main import main

    main(STUDY)
