"""sweeps.tracking.shared: what is sent of what is kept, and what is noted of it."""

import pytest

from sweeps.decisions.status import Status
from sweeps.tracking.shared import Sent, Shared, Tracked
from sweeps.tracking.spool import About, Line, Spooled, Standing
from tests.sweeps.tracking.trials import KEY, OTHER


@pytest.fixture
def make(tmp_path):
    def trial(key=KEY, name="depth=2"):
        about = About(key, "study", name, {}, {"stage": "depth"}, None, 1)
        return Tracked(Spooled(tmp_path / key, about, Standing(Status.RUNNING, None, 1)))

    return trial


@pytest.fixture
def trial(make):
    return make()


def send(trial):
    """Note all as sent."""
    trial.sent.about, trial.sent.standing = trial.kept.about, trial.kept.standing
    trial.sent.size, trial.sent.files = trial.kept.size, dict(trial.kept.files)


def test_of_a_new_trial_nothing_was_sent_and_all_is_due(trial):
    assert trial.sent == Sent() == Sent(None, None, {}, 0, {}, None, set())
    assert (trial.known_run, trial.began, trial.files_due, trial.retry_due, trial.error) == (None, 0, 0.0, 0.0, None)


def test_a_trial_is_delivered_when_each_thing_that_is_kept_was_sent(trial):
    assert not trial.delivered
    trial.kept.save()
    send(trial)
    assert trial.delivered
    trial.kept.append(Line(1, 1, {"loss": 1.0}))
    assert not trial.delivered
    send(trial)
    trial.kept.put({"a": b"1"})
    assert not trial.delivered
    send(trial)
    trial.kept.standing = Standing(Status.RUNNING, None, 1)  # the same once more is news too
    assert not trial.delivered
    send(trial)
    trial.kept.about = About(KEY, "study", "depth=2", {}, {"stage": "depth"}, None, 1)
    assert not trial.delivered
    send(trial)
    assert trial.delivered


def test_files_are_sent_again_only_where_their_content_changed(trial):
    trial.kept.put({"a": b"1", "b": b"1"})
    send(trial)
    assert trial.files_to_send == {}
    trial.kept.put({"a": b"2", "b": b"1"})
    assert trial.files_to_send == {"a": trial.kept.files["a"]}


def test_a_retired_trial_is_delivered_and_its_run_still_known(trial):
    trial.kept.save()
    trial.kept.append(Line(1, 1, {"loss": 1.0}))
    trial.kept.put({"a": b"1"})
    trial.run_id = "run"
    send(trial)
    trial.retire()
    assert trial.delivered
    assert not trial.kept.folder.exists()
    assert (trial.known_run, trial.sent.files) == ("run", {"a": trial.sent.files["a"]})


def test_a_trial_that_starts_over_has_sent_nothing_but_knows_its_run(trial):
    trial.kept.save()
    send(trial)
    trial.sent.refused.add("'lr'")
    trial.run_id, trial.sent.slot = "run", "state/a.zip"
    trial.start_over()
    assert (trial.sent, trial.known_run) == (Sent(), "run")


def test_notes_replace_one_another_are_logged_once_and_can_be_taken_back(make, caplog):
    shared, trial, other = Shared(), make(), make(OTHER, "depth=3")
    for _ in range(2):
        shared.note(trial, "epoch 1", "is not kept")
    shared.note(other, "epoch 1", "is not kept")
    assert caplog.messages == shared.notes()
    assert shared.notes() == [f"{each.label}: epoch 1 is not kept" for each in (trial, other)]
    shared.note(trial, "epoch 1", "is lost")
    assert shared.notes()[0] == "depth=2 (aaaaaaaaaaaa): epoch 1 is lost"
    shared.take_back(trial, "epoch 1")
    shared.take_back(trial, "epoch 1")
    assert shared.notes() == [f"{other.label}: epoch 1 is not kept"]


def test_damage_is_noted_and_tagged(trial):
    shared, before = Shared(), trial.kept.about
    shared.damaged(trial, "b.zip is damaged")
    assert shared.notes() == [f"{trial.label}: checkpoint: b.zip is damaged"]
    assert trial.kept.about.tags == {"stage": "depth", "checkpoint_damaged": "b.zip is damaged"}
    assert before.tags == {"stage": "depth"}


def test_a_label_is_one_short_line_whatever_the_name_is(make):
    assert (
        make(name="lr: 0.1, \N{GREEK SMALL LETTER ALPHA}").label
        == "lr: 0.1, \N{GREEK SMALL LETTER ALPHA} (aaaaaaaaaaaa)"
    )
    assert make(name="a\nb\x1bc").label == "a b c (aaaaaaaaaaaa)"
    assert make(name="x" * 10_000).label == "x" * 200 + " (aaaaaaaaaaaa)"
    shared = Shared()
    shared.note(make(), "run a\nb" + "c" * 10_000, "is lost")
    assert shared.notes() == ["depth=2 (aaaaaaaaaaaa): run a b" + "c" * 193 + " is lost"]


def test_a_trial_sent_to_the_end_is_delivered_last(make):
    shared, trials = Shared(), [make(letter * 64) for letter in "abc"]
    for trial in trials:
        shared.news(trial)
    shared.to_the_end(trials[0])
    assert shared.waiting() == [trials[1], trials[2], trials[0]]
    assert shared.all() == trials


def test_a_trial_waits_until_it_is_delivered_and_again_when_there_is_news(make):
    shared, trial, other = Shared(), make(), make(OTHER)
    for each in (trial, other):
        shared.news(each)
    shared.settle(trial)
    assert shared.waiting() == [trial, other]
    send(trial)
    shared.settle(trial)
    assert (shared.waiting(), shared.all()) == ([other], [trial, other])
    shared.damaged(trial, "state/a.zip is damaged")
    assert shared.waiting() == [other, trial]
