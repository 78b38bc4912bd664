"""A study of six trials whose epochs are short: more than a small cluster has cores."""

from sweeps.study import Stage, Study
from trainables.config import CNN, Training, Trial

STUDY = Study(
    name="wide",
    baseline=Trial(
        dataset="shapes", model=CNN(conv_layers=1, channels=8, fc_layers=1), training=Training(batch_size=64)
    ),
    stages=(Stage("lr", {"training.lr": (0.01, 0.02, 0.03, 0.04, 0.05, 0.06)}),),
    quick={},
)

if __name__ == "__main__":
    from sweeps.main import main

    main(STUDY)
