"""Free search. Can a search over all factors at once beat Part A's one factor at a time?

    python sweeps/search.py --num-trials 64 --num-gpus 4
    python sweeps/search.py --num-trials 128           # goes on where the first 64 ended
    python sweeps/search.py --sampler random --rule hyperband

All of Part A's factors, batch norm, learning rate, weight decay and batch are drawn together. The first trials are Part
A's baseline, and the same with more channels.
"""

from sweeps.part_a import BASELINE
from sweeps.study import Choice, Each, Real, Search, Space, Study, When, Whole

SPACE = Space(
    {
        "model.conv_layers": Whole(1, 4),
        "model.channels": Each("model.conv_layers", Choice((8, 16, 32, 64, 128))),
        "model.padding": Choice((0, 1)),
        "model.pooling": Choice(("max", "average", "none")),
        # stride 1 costs many times the rest: Part A has it
        "model.stride": When({"model.pooling": "none"}, Choice((2, 3))),
        "model.activation": Choice(("relu", "tanh", "elu", "gelu")),
        "model.batch_norm": Choice((False, True)),
        "model.conv_dropout": Choice((0.0, 0.1, 0.25)),
        "model.fc_layers": Whole(1, 4),
        "model.fc_dropout": Choice((0.0, 0.25, 0.5)),
        "training.lr": Real(1e-3, 0.3, log=True),
        "training.weight_decay": Real(1e-5, 1e-2, log=True),
        "training.batch_size": Choice((32, 64, 128, 256)),
    }
)

PART_A = {
    "model.conv_layers": 3,
    "model.channels": (16, 32, 64),
    "model.padding": 0,
    "model.pooling": "max",
    "model.activation": "relu",
    "model.batch_norm": False,
    "model.conv_dropout": 0.0,
    "model.fc_layers": 3,
    "model.fc_dropout": 0.0,
    "training.lr": 0.03,
    "training.weight_decay": 2e-3,
    "training.batch_size": 64,
}

STUDY = Study(
    name="search",
    question="Can a search over all factors at once beat Part A's one factor at a time?",
    baseline=BASELINE,
    stages=(
        Search(
            "search",
            SPACE,
            trials=64,
            first=(PART_A, PART_A | {"model.channels": (32, 64, 128)}),
            question="Which combination of architecture and recipe is best?",
        ),
    ),
)

if __name__ == "__main__":
    from sweeps.main import main

    main(STUDY)
