"""A study of two stages that is over, whose trials are known image by image: what a report is written from."""

from dataclasses import replace

from sweeps.decisions.agenda import Agenda
from sweeps.reporting.material import DataSummary, Material
from sweeps.reporting.provenance import Provenance
from sweeps.reporting.tables import Facts
from sweeps.study import Published, Stage, Study
from tests.sweeps.outcomes import draws, marked, terms
from trainables.config import CNN, Training, Trial
from trainables.history import History

NAMES = ("cat", "dog")
DEPTH = Stage("depth", {"model.conv_layers": (1, 2, 3)}, published={1: Published(0.5, 40, 3), 2: Published(0.5, 71, 9)})
WIDTH = Stage("width", {"model.channels": (4, 6)})
STUDY = Study(
    "small",
    Trial("shapes", CNN(conv_layers=1, channels=4, fc_layers=1), Training(epochs=1)),
    (DEPTH, WIDTH),
    question="What helps?",
)
TERMS = replace(terms(seeds=(0, 1, 2), images=2000, early_stopping=False), contents={"shapes": "d1ge57"})
DATA = DataSummary("shapes", NAMES, 1234, 2000, 2000, multi_label=False)
# of each trial, in the order in which they run; the last one is the width of 6
SCORES = (0.5, 0.7, 0.71, 0.8)


def over(scores=SCORES, study=STUDY) -> Agenda:
    """Return the agenda once its trials have these validation and test accuracies, three seeds each."""
    agenda = Agenda(study, TERMS, lambda _: None)
    for number, score in enumerate(scores):
        agenda.finish(agenda.next().key, seen(score, number))
        agenda.advance()
    return agenda


def seen(score: float, number: int) -> History:
    """Return a history of one epoch with about this accuracy."""
    return marked("", *draws(score, 3, number=number)).history


def material(agenda: Agenda | None = None, **more) -> Material:
    """Return what a report on it is written from."""
    agenda = agenda or over()
    facts = Facts(NAMES, (3, 32, 32), TERMS.yardstick, {key: f"run of {key}" for key in agenda.outcomes})
    return Material(agenda, facts, DATA, more.pop("source", Provenance()), **more)
