import numpy as np
import pytest

from analysis import figures
from sweeps.decisions.agenda import Agenda, under_way
from sweeps.decisions.importance import importance_errors
from sweeps.decisions.status import Status
from sweeps.decisions.told import pareto
from sweeps.reporting.album import Album
from sweeps.reporting.leaderboard import account, weighed, what_mattered
from sweeps.reporting.search_figures import search_pictures
from sweeps.study import Study
from tests.sweeps.decisions.cluster import BASE, Cluster, search
from tests.sweeps.outcomes import history, terms
from tests.sweeps.reporting.materials import material


@pytest.fixture(scope="module")
def found():
    return Cluster(search(27, rule="hyperband", seeds=2, confirm=2)).search


@pytest.fixture
def drawn(monkeypatch):
    """Return what is drawn, by its title, without drawing it."""
    calls = {}

    def spy(*what, title, **how):
        calls[title] = (what, how)
        return b"\x89PNG"

    for name in ("points", "parallel", "bars"):
        monkeypatch.setattr(figures, name, spy)
    monkeypatch.setattr(figures, "svg", lambda _: b"<svg/>")
    return calls


def pictures(run, tmp_path):
    return {each.file.stem: each for each in search_pictures(run.result(), material(), Album(tmp_path))}


def test_a_search_has_its_course_what_it_drew_what_mattered_and_its_front(found, drawn, tmp_path):
    assert list(pictures(found, tmp_path)) == ["find-history", "find-pareto", "find-importance", "find-drawn"]
    [(groups,), how] = drawn["find: progress"]
    full, others = groups.values()
    by_number = {draw.number: draw for draw in found.draws.values()}
    assert len(full) + len(others) == 27
    for number, score in [*full, *others]:
        assert score == pytest.approx(100 * max(by_number[number].scores.values()))
    assert {by_number[number].state for number, _ in full} == {Status.DONE}
    np.testing.assert_array_equal(how["steps"][1][:, 1], np.maximum.accumulate(full[:, 1]))


def test_the_front_is_what_no_other_beats(found, drawn, tmp_path):
    pictures(found, tmp_path)
    [(groups,), how] = drawn["find: score against price"]
    names, values, told = weighed(found)
    best = sorted((values[each.number][1], 100 * values[each.number][0]) for each in pareto(told, names))
    np.testing.assert_allclose(groups["not dominated"], best)
    assert len(groups["dominated"]) == len(values) - len(best)
    assert (how["xlabel"], how["ylabel"]) == ("parameters", "validation accuracy, %")


def test_each_trial_is_a_line_over_the_fields_that_vary(found, drawn, tmp_path):
    pictures(found, tmp_path)
    [(axes, scores), _] = drawn["find: what was drawn"]
    draws = list(found.draws.values())
    assert [axis.name for axis in axes] == ["conv_layers", "lr", "batch_size"]
    assert axes[1].values == [draw.values["training.lr"] for draw in draws]
    np.testing.assert_allclose(scores, [100 * max(draw.scores.values()) for draw in draws])


def test_what_mattered_is_drawn_where_enough_trials_tell_it(found, drawn, tmp_path):
    caption = pictures(found, tmp_path)["find-importance"].caption
    (labels, _), how = drawn["find: what mattered"]
    assert labels == ["conv_layers", "lr", "batch_size"]
    epoch, shares = what_mattered(found)
    errors = importance_errors(found.stage.space, found.told, epoch)
    assert how["errors"]["share"] == pytest.approx([1.96 * errors[path] for path in shares])
    assert caption.endswith(
        "small, shapes, PED-ANOVA over the trials' scores at epoch 3. Lines: about 95 % intervals, by resampling the "
        "trials."
    )
    assert "find-importance" not in pictures(Cluster(search(5)).search, tmp_path)


def test_a_search_without_a_score_has_no_figure(drawn, tmp_path):
    agenda = Agenda(Study("s", BASE, (search(5),)), terms(), lambda _: None)
    agenda.next()
    [begun] = under_way(agenda)
    assert begun.outcomes == ()  # what runs has not ended
    assert search_pictures(begun, material(), Album(tmp_path)) == []
    agenda.finish(agenda.next().key, history([0.5] * 9))
    [begun] = under_way(agenda)
    assert [outcome.history.epochs for outcome in begun.outcomes] == [9]
    [course] = search_pictures(begun, material(), Album(tmp_path))  # of one trial no field varies
    assert course.file.stem == "find-history"
    assert drawn["find: progress"][1]["steps"] is None  # one trial in full is a point, and no line that a legend names
    assert account(begun.search)[0] == (
        "2 trials drawn by random: 1 ran in full, 0 were stopped early (asha), 0 failed, 1 runs now."
    )
