import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from sweeps import planned
from sweeps.execution.machines import Machines
from sweeps.options import RunOptions
from sweeps.study import Stage, Study
from trainables.config import CNN, Trial
from trainables.errors import UserError
from trainables.plan import flops, parameters, plan_of

STUDY = Study(
    "small",
    Trial("shapes", CNN(conv_layers=1, channels=4)),
    (Stage("lr", {"training.lr": (0.1, 0.2)}),),
    question="Why?",
)
CPU = RunOptions(num_gpus=0, num_cpus=2, seeds=3)


def test_a_plan_has_what_is_to_run_and_what_it_takes():
    made = planned.plan(STUDY, CPU)
    assert [cell.label for cell, _ in made.stages[0].cells] == ["0.1", "0.2"]
    assert (made.images.shape, made.images.classes) == ((3, 32, 32), 10)
    assert made.demand.total(2) == made.demand.data + sum(made.demand.takes) + planned.memory.REST


def test_a_program_gets_the_plan_as_one_document_and_nothing_else(capsys):
    text = io.StringIO()
    options = RunOptions(num_gpus=0, num_cpus=2, seeds=3, early_stopping=False, json=True, dry_run=True)
    assert planned.show(STUDY, options, Console(file=text)) == 0
    assert text.getvalue() == ""
    found = json.loads(capsys.readouterr().out)
    layers = plan_of(STUDY.baseline, (3, 32, 32), 10)
    [stage] = found.pop("stages")
    assert [trial["value"] for trial in stage["trials"]] == ["0.1", "0.2"]
    assert {(trial["parameters"], trial["flops"]) for trial in stage["trials"]} == {(parameters(layers), flops(layers))}
    assert found.pop("memory").startswith("at most ")
    assert found == {
        "version": 1,
        "study": "small",
        "question": "Why?",
        "dataset": "shapes",
        "epochs": 15,
        "seeds": 3,
        "early_stopping": False,
        "trials": 2,
        "where": "on the CPU",
        "warnings": [],
    }


@pytest.mark.parametrize("how", [{"priority": 1}, {"priority": -1}, {"share": 0.5}])
def test_who_has_a_ray_alone_is_told_that_sharing_it_changes_nothing(how):
    made = planned.plan(STUDY, CPU)
    warned = {
        address: planned.sharing(
            Machines(num_gpus=0, num_cpus=2, address=address), options, made.stages, made.images
        ).warnings
        for address, options in ((None, replace(CPU, **how)), ("10.0.0.1:6379", replace(CPU, **how)), ("", CPU))
    }
    assert warned == {None: (planned.NOBODY_ELSE,), "10.0.0.1:6379": (), "": ()}


def test_people_get_the_same_in_words(capsys):
    text = io.StringIO()
    assert planned.show(STUDY, CPU, Console(file=text, width=200)) == 0
    assert "Why?\nStudy small on shapes: 1 stage, 2 distinct trials, 15 epochs, 3 seeds" in text.getvalue()
    assert "Trials run on the CPU." in text.getvalue()
    assert capsys.readouterr().out == ""


def test_what_cannot_be_found_is_refused():
    with pytest.raises(UserError, match=r"folder:/nowhere"):
        planned.plan(STUDY.changed({"dataset": "folder:/nowhere"}), CPU)
