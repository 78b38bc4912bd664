"""Kernel size. How far should each convolution of a small network look?

    python sweeps/kernels.py --seeds 3
    python sweeps/kernels.py --quick

Part A's recipe on two unpadded conv layers: a third one would leave no room for kernels of 7.
"""

from sweeps.part_a import BASELINE
from sweeps.study import Stage, Study

STUDY = Study(
    name="kernels",
    question="How far should each convolution of a small network look?",
    baseline=BASELINE.with_values({"model.conv_layers": 2}),
    stages=(Stage("kernel", {"model.kernel": (1, 3, 5, 7)}, question="Which kernel size is best?"),),
)

if __name__ == "__main__":
    from sweeps.main import main

    main(STUDY)
