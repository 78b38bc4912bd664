"""The judge over one stage of eight epochs, the first three of which every trial gets; 1,000 validation images."""

import json

import pytest

from sweeps.decisions import judge as judging
from sweeps.decisions.judge import Judge
from sweeps.decisions.stopping import Behind

KEYS = {f"key {label}": label for label in "abcd"}


@pytest.fixture
def judge():
    return Judge(Behind(8, 1000), KEYS)


def run(judge, label, scores, after=0, wanted=False):
    """Report the scores of epochs after `after`, as long as the trial goes on; return the last answer."""
    for epoch, score in enumerate(scores, start=after + 1):
        if not judge.goes_on(f"key {label}", epoch, score, wanted=wanted):
            return False
    return True


def test_who_is_behind_two_others_stops_and_each_epoch_has_one_answer(judge):
    assert run(judge, "a", [0.8] * 8)
    assert run(judge, "b", [0.8] * 8)
    assert not run(judge, "c", [0.3] * 5)
    decided = list(judge.decisions)
    answers = [judge.goes_on("key c", epoch, 0.9, wanted=False) for epoch in (1, 2, 3, 4)]
    assert answers == [True, True, False, False]
    assert judge.decisions == decided
    assert not judge.waits("key c")


def test_while_others_want_the_worker_a_trial_waits_after_the_first_epoch_that_counts(judge):
    assert run(judge, "a", [0.5, 0.5], wanted=True)
    assert not run(judge, "a", [0.6], after=2, wanted=True)
    assert judge.waits("key a")
    assert not judge.goes_on("key a", 3, 0.6, wanted=False)  # a process that was lost reports it again
    assert judge.goes_on("key a", 2, 0.6, wanted=False)
    assert run(judge, "b", [0.7] * 3)  # nobody wants its worker, and a shows less
    assert not run(judge, "c", [0.4] * 3)  # a shows more
    assert judge.first_of(["key c", "key a"]) == "key a"
    assert not judge.waits("key a")
    assert run(judge, "a", [0.6] * 2, after=3, wanted=True)


def test_those_that_wait_take_turns_those_with_fewest_epochs_first(judge):
    assert not run(judge, "a", [0.5] * 3, wanted=True)
    assert run(judge, "b", [0.7] * 5)
    assert not run(judge, "b", [0.7], after=5)  # a has had three
    assert judge.first_of(["key a", "key b"]) == "key a"
    assert run(judge, "a", [0.5] * 2, after=3)
    assert not run(judge, "a", [0.5], after=5)  # b shows more
    assert judge.first_of(["key a", "key b"]) == "key b"
    assert run(judge, "b", [0.7] * 2, after=6)
    assert judge.first_of(["key a"]) == "key a"
    assert run(judge, "a", [0.5] * 2, after=6, wanted=True)


def test_nobody_waits_for_a_trial_that_has_shown_the_same(judge):
    assert not run(judge, "a", [0.5] * 3, wanted=True)
    assert run(judge, "b", [0.5] * 3)


def test_who_waits_is_let_go_once_two_others_are_seen_to_be_ahead(judge):
    assert not run(judge, "c", [0.3] * 3, wanted=True)
    assert run(judge, "a", [0.8] * 3)
    assert judge.let_go(["key c"]) == []
    assert run(judge, "b", [0.8] * 3)
    assert judge.let_go(["key c"]) == ["key c"]
    assert not judge.waits("key c")
    assert judge.decisions[-1]["trial"] == "c"
    assert list(judge.decisions[-1]["ahead"]) == ["a", "b"]


def test_a_stage_of_two_neither_stops_nor_waits():
    judge = Judge(Behind(8, 1000), {"key a": "a", "key b": "b"})
    assert run(judge, "a", [0.9] * 8, wanted=True)
    assert run(judge, "b", [0.1] * 8, wanted=True)


def test_where_all_epochs_are_the_first_ones_nobody_waits():
    assert run(Judge(Behind(3, 1000), KEYS), "a", [0.9] * 3, wanted=True)


def test_nobody_is_held_against_one_that_failed(judge):
    run(judge, "a", [0.8] * 8)
    run(judge, "b", [0.8] * 4)
    judge.failed("key b", "it broke")
    judge.failed("key d", "it never began")
    assert run(judge, "c", [0.3] * 8)


def test_one_that_fails_while_it_waits_waits_no_longer_and_that_is_recorded(judge):
    assert not run(judge, "a", [0.5] * 3, wanted=True)
    assert not run(judge, "b", [0.6] * 3, wanted=True)
    judge.failed("key a", "it broke")
    assert not judge.waits("key a")
    assert judge.waits("key b")
    assert judge.first_of(["key b"]) == "key b"
    assert judge.decisions[-2:] == [
        {"decision": "drop", "trial": "a", "reason": "it broke"},
        {"decision": "due", "trial": "b"},
    ]


def test_a_trial_of_which_earlier_epochs_are_not_known_runs_on(judge):
    run(judge, "a", [0.8] * 8)
    run(judge, "b", [0.8] * 8)
    assert run(judge, "c", [0.1] * 5, after=2, wanted=True)


def test_what_others_have_run_counts_and_is_not_judged_itself(judge):
    judge.take_over("key a", [0.8] * 8)
    judge.take_over("key b", [0.8] * 8)
    judge.take_over("key c", [0.2] * 5)
    assert judge.knows("key c")
    assert not judge.knows("key d")
    assert judge.goes_on("key c", 5, 0.2, wanted=True)
    assert not judge.goes_on("key c", 6, 0.2, wanted=False)


def test_the_decisions_are_plain_data_and_the_same_events_give_them_again(judge):
    judge.take_over("key a", [0.8] * 8)
    run(judge, "c", [0.3] * 3, wanted=True)
    run(judge, "b", [0.8] * 5)
    run(judge, "d", [0.3] * 8)
    judge.let_go(["key c"])
    decisions = json.loads(json.dumps(judge.decisions))
    assert decisions == judge.decisions
    assert [(each["decision"], each["trial"]) for each in decisions if each["decision"] != "note"] == [
        ("known", "a"),
        ("wait", "c"),
        ("drop", "d"),
        ("drop", "c"),
    ]
    assert replayed(decisions) == {"c": 3, "d": 3}


def replayed(decisions) -> dict[str, int]:
    """Return after which epoch each trial was stopped, having the rule alone decide it again."""
    rule, found = Behind(8, 1000), {}
    for number, each in enumerate(decisions):
        name = each["trial"]
        if each["decision"] == "known":
            for score in each["scores"]:
                rule.note(name, score)
        elif each["decision"] == "note":
            rule.note(name, each["score"])
            following = decisions[number + 1] if number + 1 < len(decisions) else {}
            dropped = (following.get("decision"), following.get("trial")) == ("drop", name)
            assert rule.stops(name, each["epoch"]) is dropped
        elif each["decision"] == "drop":
            assert rule.stops(name, each["epoch"])
            assert {label: lead._asdict() for label, lead in rule.ahead(name, each["epoch"]).items()} == each["ahead"]
            found[name] = each["epoch"]
            rule.drop(name)
    return found


def test_of_many_that_wait_some_are_looked_at_each_time_and_all_in_turn(monkeypatch):
    monkeypatch.setattr(judging, "LOOKS", 2)
    labels = "abcdefg"
    many = Judge(Behind(8, 1000), {f"key {label}": label for label in labels})
    for label in labels[2:]:
        assert not run(many, label, [0.3] * 3, wanted=True)
    for label in "ab":
        assert run(many, label, [0.8] * 3)
    laid_aside = [f"key {label}" for label in labels[2:] if label != "d"]  # whose worker is still at it
    gone = [many.let_go(laid_aside) for _ in range(5)]
    assert gone == [["key c"], ["key e", "key f"], ["key g"], [], []]
    assert many.how_many_of(dict.fromkeys(laid_aside)) == 0
    assert many.let_go(["key d"]) == ["key d"]
