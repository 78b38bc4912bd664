import optuna

from sweeps.decisions.as_optuna import as_database, frozen
from sweeps.decisions.told import Told
from tests.sweeps.decisions.drawn import SPACE, drawn, mixed, off


def test_what_is_kept_is_optunas_study_with_the_truth_in_it(tmp_path):
    path, told = tmp_path / "optuna.db", mixed(counts=(3, 2, 1, 1))
    path.write_bytes(as_database("search", SPACE, ("score",), told[::-1], {5: {"reason": "it broke"}}))
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    study = optuna.load_study(study_name="search", storage=storage)
    states = {"running": "RUNNING", "censored": "PRUNED", "done": "COMPLETE", "failed": "FAIL"}
    assert [trial.state.name for trial in study.trials] == [states[trial.state] for trial in told]
    for trial, kept in zip(told, study.trials, strict=True):
        assert kept.intermediate_values == trial.scores
        if trial.state == "done":
            assert kept.values == list(trial.objectives)
        assert kept.user_attrs["epochs"] == max(trial.scores, default=0)
        assert kept.params == {
            name: str(v) if isinstance(v, tuple) else v for name, v in SPACE.flat(trial.values).items()
        }
    assert [trial.user_attrs.get("reason") for trial in study.trials] == [None] * 5 + ["it broke", None]
    assert study.best_value == max(-off(trial.values) for trial in told[:3])
    storage.remove_session()
    storage.engine.dispose()


def test_bounds_are_optunas_constraints_and_where_there_are_none_there_is_no_trace_of_them():
    [point] = drawn(1)
    over = Told(0, point, "done", {1: 0.5}, (0.5,), {"seconds": 0.25, "flops": -1.0})
    assert frozen(SPACE, over, over.scores).constraints == {"seconds": 0.25, "flops": -1.0}
    free = frozen(SPACE, Told(0, point, "done", {1: 0.5}, (0.5,)), {1: 0.5})
    assert (free.constraints, free.system_attrs) == ({}, {})
