"""Wide CNN. How much does a network of 256-1024-2048-2048 channels gain from input normalisation?

Four convolutions, each followed by max pooling, and three FC layers: 28 million parameters. The best epoch on
validation is kept, since the network soon over-fits.

    python sweeps/wide_cnn.py --num-gpus 1
    python sweeps/wide_cnn.py --epochs 3
    python sweeps/wide_cnn.py --quick       # a narrow network without the report's filters; the analyses say so

The recipe is ours; the report gives none. Measured 2026-11-21 on two cores of an Intel Xeon (AVX512-BF16), two of the
15 epochs, one seed: 62.3 % test accuracy with normalisation (published best 81 %), 51.2 % without (77 %), at 29 to 41
images/s a core.
"""

from sweeps.study import Claim, Published, Stage, Study
from trainables.config import CNN, Training, Trial

FILTERS = "conv1:100,200,240 conv2:400,800,1000 conv3:1000,2000 conv4:1000,2000"

STUDY = Study(
    name="wide_cnn",
    question="How much does a network of 256-1024-2048-2048 channels gain from input normalisation?",
    baseline=Trial(
        dataset="cifar10",
        model=CNN(
            conv_layers=4, channels=(256, 1024, 2048, 2048), kernel=(5, 3, 3, 1), fc_layers=3, fc_widths=(1024, 256)
        ),
        training=Training(
            epochs=15, batch_size=64, optimizer="sgd", lr=0.02, momentum=0.9, schedule="exponential", gamma=0.85
        ),
    ),
    stages=(
        Stage(
            "normalize_input",
            {"model.normalize_input": (True, False)},
            question="Does it help to normalise the input?",
            published={True: Published(None, 81, 13), False: Published(None, 77, None)},
        ),
    ),
    claims=(Claim("normalize_input", True, (False,), delta=4, source="R1"),),
    # ten filters, and responses measured by the matrix norm, as in the report
    analyses={
        "occlusion": {"windows": (3, 5, 7, 9)},
        "filters": {"filters": FILTERS, "norm": "norm", "patches": 5},
        "ablation": {"filters": FILTERS},
    },
    quick={"dataset": "shapes", "training.epochs": 4, "model.channels": (32, 64, 128, 128)},
)

if __name__ == "__main__":
    from sweeps.main import main

    main(STUDY)
