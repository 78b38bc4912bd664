import sweeps.study
from sweeps.study import Choice, Each, Published, Real, Search, Space, Stage, Study, Watch, When, Whole
from trainables.config import CNN, Training, Trial

BASE = Trial("shapes", CNN(conv_layers=2, channels=(4, 8)), Training(epochs=2))


def test_every_word_of_a_study_is_here():
    assert sorted(sweeps.study.__all__) == [
        *("Choice", "Claim", "Each", "Published", "Real", "Search", "Space", "Stage", "Study", "Watch", "When", "Whole")
    ]


def test_a_study_is_written_in_these_words_alone():
    space = Space(
        {
            "model.conv_layers": Whole(1, 3),
            "model.channels": Each("model.conv_layers", Choice((4, 8))),
            "model.pooling": Choice(("max", "none")),
            "model.stride": When({"model.pooling": "none"}, Choice((1, 2))),
            "training.lr": Real(1e-3, 0.1, log=True),
        }
    )
    grid = Stage("depth", {"model.conv_layers": (1, 2)}, published={1: Published(0.5, 61, 10)})
    study = Study("words", BASE, (grid, Search("find", space, trials=4)), watch=Watch(images=(0,)))
    assert [cell.published for cell in grid.cells(BASE)] == [Published(0.5, 61, 10), None]
    assert study.parent(study.stages[1]) == "depth"
    assert study.open_ended
