"""A study whose epochs are short, so that faults can strike amid many of them."""

from sweeps.study import Stage, Study
from trainables.config import CNN, Training, Trial

STUDY = Study(
    name="small",
    baseline=Trial(
        dataset="shapes", model=CNN(channels=(8, 16), fc_layers=1), training=Training(epochs=60, batch_size=64)
    ),
    stages=(Stage("depth", {"model.conv_layers": (1, 2)}),),
)

if __name__ == "__main__":
    from sweeps.main import main

    main(STUDY)
