"""What a config's fields may hold, and which of them make its identity."""

from dataclasses import dataclass, field

import pytest

from trainables.errors import UserError
from trainables.fields import Config, PerLayer, check_known, number, one_of, per_layer, switch, whole, wholes


@dataclass(frozen=True)
class Net(Config):
    first_fields = frozenset({"layers", "width"})

    layers: int = whole(3, 1, 8)
    width: PerLayer = per_layer(4, low=2, layers="layers")
    rate: float = number(0.0, 0.0, 0.5)
    wide: bool = switch(False)
    kind: str = one_of("a", ("a", "b"))
    at: tuple[int, ...] = wholes((), 1, 9)
    size: int | None = whole(None, 1)
    gaps: PerLayer = per_layer(1, low=1, layers="layers")
    notes: list = field(default_factory=list)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layers": 0}, "layers is 0, but must be 1..8"),
        ({"layers": 9}, "layers is 9, but must be 1..8"),
        ({"layers": None}, "layers is None, but must be 1..8"),
        ({"layers": 2.0}, "layers is 2.0, but must be 1..8"),
        ({"width": (4, 1)}, "width is 1, but must be a whole number of at least 2"),
        ({"width": []}, "width is empty, but must be a number or a tuple of at least one"),
        ({"rate": 0.51}, "rate is 0.51, but must be 0..0.5"),
        ({"rate": False}, "rate is False, but must be 0..0.5"),
        ({"wide": 0}, "wide is 0, but must be True or False"),
        ({"kind": "c"}, "kind is 'c', but must be one of a, b"),
        ({"at": (10,)}, "at is 10, but must be 1..9"),
        ({"size": 0}, "size is 0, but must be a whole number of at least 1"),
    ],
)
def test_a_value_that_breaks_its_rule_is_named_with_the_rule(values, message):
    with pytest.raises(UserError) as caught:
        Net(**values)
    assert str(caught.value) == message


def test_defaults():
    assert Net() == Net(layers=3, width=4, rate=0.0, wide=False, kind="a", at=(), size=None, gaps=1, notes=[])
    assert Config.first_fields == frozenset()


def test_the_ends_of_a_range_are_in_it():
    assert [Net(layers=ends).layers for ends in (1, 8)] == [1, 8]
    assert [Net(rate=ends).rate for ends in (0.0, 0.5)] == [0.0, 0.5]
    assert [Net(at=(ends,)).at for ends in (1, 9)] == [(1,), (9,)]
    assert Net(width=2).width == 2


def test_none_is_allowed_where_it_is_the_default():
    assert Net(size=None).size is None
    assert Net(size=5).size == 5


def test_a_list_becomes_a_tuple():
    assert (Net(width=[2, 3]).width, Net(at=[1, 2]).at) == ((2, 3), (1, 2))


def test_values_per_layer_are_spread():
    assert Net(width=5).spread("width") == (5, 5, 5)
    assert Net(width=(2, 3)).spread("width") == (2, 3, 3)
    assert Net(layers=1, width=(2, 3)).spread("width") == (2,)


def test_the_first_fields_are_always_there_and_the_added_ones_where_they_are_used():
    assert Net().canonical() == {"layers": 3, "width": (4, 4, 4)}
    assert Net(rate=0.0, gaps=(1, 1), at=()).added() == {}
    assert Net(rate=0.1, gaps=(1, 2), size=3, notes=[1]).added() == {
        "rate": 0.1,
        "gaps": (1, 2, 2),
        "size": 3,
        "notes": [1],
    }
    assert Net(wide=True).canonical() == {"layers": 3, "width": (4, 4, 4), "wide": True}


def test_a_known_value_comes_back():
    assert check_known("kind", "b", iter("ab")) == "b"
