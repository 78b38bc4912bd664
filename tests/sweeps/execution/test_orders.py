from dataclasses import replace

from sweeps.decisions.records import Drawn, Known, Task
from sweeps.decisions.stages import Cell
from sweeps.decisions.status import Status
from sweeps.execution.orders import entry, order
from trainables.config import CNN, Training, Trial
from trainables.history import History

TRIAL = Trial(
    model=CNN(conv_layers=2, channels=(4, 8), fc_layers=1), training=Training(epochs=7, lr=0.1, batch_size=16)
)
TASK = Task("lr", Cell("0.1", (0.1,), TRIAL), "0" * 64, None, (0, 1))


def test_an_order_says_what_the_worker_and_mlflow_need():
    made = order(TASK, "cuda", {"study": "s", "device": "gpu"})
    assert (made.key, made.stage, made.trial, made.seeds, made.device) == ("0" * 64, "lr", TRIAL, (0, 1), "cuda")
    assert (made.entry.name, made.entry.run_id) == ("lr: 0.1", None)
    assert made.entry.tags == {"stage": "lr", "value": "0.1", "dataset": TRIAL.dataset, "study": "s", "device": "gpu"}


def test_params_are_flat_and_leave_out_what_is_empty_and_what_may_grow():
    params = order(TASK, "cpu", {}).entry.params
    assert (params["dataset"], params["channels"], params["lr"], params["batch_size"]) == (
        TRIAL.dataset,
        "4-8",
        0.1,
        16,
    )
    assert "epochs" not in params  # more of them go on in the same run, whose params never change
    assert "weights" not in params
    assert not {None, ""} & set(params.values())
    assert "vary_split" not in params
    varied = TRIAL.with_values({"training.vary_split": True})
    task = replace(TASK, cell=replace(TASK.cell, trial=varied))
    assert order(task, "cpu", {}).entry.params == params | {"vary_split": True}


def test_a_known_trial_goes_on_in_its_run():
    known = Known(Status.DONE, History({}), "run 7")
    assert order(replace(TASK, known=known), "cpu", {}).entry.run_id == "run 7"


def test_a_search_s_draw_is_among_the_tags():
    tags = order(replace(TASK, drawn=Drawn("0" * 64, 3, 5, {"training.lr": 0.1})), "cpu", {}).entry.tags
    assert (tags["number"], tags["attempt"], tags["draw"]) == ("3", "5", '{"training.lr": 0.1}')


def test_a_search_goes_on_from_another_studys_trial_in_a_run_of_its_own():
    drawn = Drawn("0" * 64, 3, 5, {"training.lr": 0.1}, taken=4)
    for study, has in (("s", ("run 7", None)), ("grid", (None, "run 7")), ("", ("run 7", None))):
        known = Known(Status.DONE, History({}), "run 7", study=study)
        made = entry(replace(TASK, known=known, drawn=drawn), {"study": "s"})
        assert (made.run_id, made.source) == has
        assert made.tags["taken"] == "4"
        in_a_grid = entry(replace(TASK, known=known), {"study": "s"})
        assert (in_a_grid.run_id, in_a_grid.source) == ("run 7", None)
