import re

import pytest

from sweeps.decisions.acts import MOST_CHARACTERS, Act, Steered, point
from tests.damage import any_of, survey
from trainables.errors import UserError


def taken(what, argument="", **effect):
    return Act(what, argument, "maria", time=0.0).answered("done", effect)


@pytest.mark.parametrize(
    ("what", "argument", "said"),
    [
        ("halt", "", "'halt' is not an act; known: stop, pause, resume, drop, add, seeds, epochs, first"),
        ("paus", "", "'paus' is not an act; did you mean 'pause'?"),
        ("stop", "now", "stop takes nothing after it, but got 'now'"),
        ("drop", "", "drop needs KEY after it"),
        ("seeds", "", "seeds needs N after it"),
        ("seeds", "many", "seeds is 'many', but must be a whole number from 1 to 1,000,000"),
        ("seeds", "0", "seeds is '0', but must be"),
        ("add", "-3", "add is '-3', but must be"),
        ("epochs", "1000001", "epochs is '1000001', but must be"),
        ("drop", "a\nb", "drop: what is after it must be printable"),
        ("drop", "x" * (MOST_CHARACTERS + 1), "and at most 300 characters"),
    ],
)
def test_what_is_no_act_is_refused_in_a_line(what, argument, said):
    with pytest.raises(UserError, match=re.escape(said)) as error:
        Act(what, argument, "maria").check()
    assert "\n" not in str(error.value)


def test_a_reason_must_be_printable_too():
    with pytest.raises(UserError, match="stop: the reason must be printable"):
        Act("stop", "", "maria", "\x1b[31m").check()


def test_an_act_says_who_when_and_why():
    act = Act("drop", "pooling: none", "maria", "too slow", time=1_790_000_000.0)
    assert (act.asked, act.by) == ("drop pooling: none", "maria, 2026-09-21 14:13 UTC: too slow")
    assert Act("stop", "", "maria", time=0.0).by == "maria, 1970-01-01 00:00 UTC"


def test_it_comes_back_from_json_as_it_was():
    act = taken("first", "lr=0.1", stage="find", values={"training.lr": 0.1})
    assert Act.from_json(act.to_json()) == act
    asked = Act("stop", "", "maria")
    assert Act.from_json(asked.to_json()) == asked


def test_whatever_is_done_to_it_it_is_an_act_or_a_value_error():
    def read(damaged):
        act = Act.from_json(damaged.decode(errors="surrogateescape"))
        Steered.of([act])
        return act

    text = taken("drop", "abcd", dropped="abcd").to_json()
    whole, refused = survey(any_of(text.encode()), read)
    assert len(refused) > 200
    assert all(act.by.isprintable() and act.asked.isprintable() for act in whole.values())


def test_acts_add_up_in_their_order_and_what_was_refused_sets_nothing():
    acts = [
        taken("seeds", "5", seeds=5),
        taken("seeds", "3", seeds=3),
        taken("epochs", "20", epochs=20),
        taken("drop", "abcd", dropped="abcd" * 16),
        taken("first", "lr=0.1", stage="find", values={"training.lr": 0.1}),
        taken("first", "lr=0.2", stage="find", values={"training.lr": 0.2}),
        taken("add", "8", trials=72),
        Act("seeds", "9", "maria").answered("not done: …", None),
        Act("seeds", "9", "maria"),
        taken("stop"),
    ]
    steered = Steered.of(acts)
    assert steered.plan == (5, 20, 72)
    assert steered.dropped == {"abcd" * 16: "maria, 1970-01-01 00:00 UTC"}
    assert steered.first == {"find": ({"training.lr": 0.1}, {"training.lr": 0.2})}
    assert Steered.of([]) == Steered()


@pytest.mark.parametrize("effect", [{"seeds": "3"}, {"seeds": True}, {"seeds": -1}, {"dropped": 3}, {"stage": "find"}])
def test_an_effect_of_another_form_sets_nothing(effect):
    assert Steered.of([taken("seeds", "3", **effect)]) == Steered()


def test_a_point_is_written_as_labels_write_values():
    text = "lr=1e-2 channels=16-32-64 conv_layers=3 batch_norm=yes model.pooling=none"
    assert point(text) == {
        "lr": 0.01,
        "channels": (16, 32, 64),
        "conv_layers": 3,
        "batch_norm": True,
        "model.pooling": "none",
    }


@pytest.mark.parametrize("text", ["lr", "=3", "lr=", "lr=0.1 x"])
def test_what_is_no_field_with_a_value_is_refused(text):
    with pytest.raises(UserError, match=re.escape("must be a field and its value, such as lr=0.1")):
        point(text)
