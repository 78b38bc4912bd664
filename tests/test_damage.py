"""tests.damage: the damage is what it says, and nothing is left out."""

import json

import pytest

from tests.damage import HUGE, any_of, flipped, foreign, make_huge, mistyped, survey, swapped, truncated


def test_every_length_and_every_bit_or_as_many_as_asked_for():
    assert [left for _, left in truncated(b"abc")] == [b"", b"a", b"ab"]
    assert [left for _, left in flipped(b"\x00\xff")] == [
        *(bytes([1 << bit, 0xFF]) for bit in range(8)),
        *(bytes([0, 0xFF ^ 1 << bit]) for bit in range(8)),
    ]
    assert [len(left) for _, left in truncated(bytes(1001), most=5)] == [0, 250, 500, 750, 1000]
    assert len({left for _, left in flipped(bytes(1000), most=77)}) == 77


def test_each_value_of_a_json_is_left_out_and_replaced():
    made = dict(mistyped(b'{"a": [1, 2, 3], "b": {"c": 4}}'))
    assert json.loads(made["a left out"]) == {"b": {"c": 4}}
    assert json.loads(made["b/c left out"]) == {"a": [1, 2, 3], "b": {}}
    assert json.loads(made["a/1 is None"]) == {"a": [1, None, 3], "b": {"c": 4}}
    assert json.loads(made["b is []"]) == {"a": [1, 2, 3], "b": []}
    assert not list(mistyped(b"no JSON"))


def test_all_kinds_come_together_and_no_damage_leaves_the_file_as_it_was():
    content = b'{"a": 1.25}'
    made = dict(any_of(content))
    assert made.keys() == dict((*truncated(content), *flipped(content), *foreign(), *mistyped(content))).keys()
    assert content not in made.values()


def test_each_two_files_are_swapped():
    assert dict(swapped({"a": b"1", "b": b"2", "c": b"3"})) == {
        "a and b swapped": {"a": b"2", "b": b"1", "c": b"3"},
        "a and c swapped": {"a": b"3", "b": b"2", "c": b"1"},
        "b and c swapped": {"a": b"1", "b": b"3", "c": b"2"},
    }


def test_a_survey_tells_what_was_read_from_what_was_refused_and_lets_nothing_else_pass():
    def read(content):
        return {b"1": int, b"x": int, b"2": lambda _: fail("two\nlines")}[content](content)

    def fail(line):
        raise ValueError(line)

    whole, refused = survey([("one", b"1"), ("other", b"x")], read)
    assert whole == {"one": 1}
    assert refused.keys() == {"other"}
    with pytest.raises(KeyError) as caught:
        survey([("unknown", b"?")], read)
    assert caught.value.__notes__ == ["unknown"]
    with pytest.raises(AssertionError):
        survey([("told at length", b"2")], read)


def test_a_huge_file_takes_no_room(tmp_path):
    make_huge(tmp_path / "x", b"PK")
    stat = (tmp_path / "x").stat()
    assert stat.st_size == HUGE
    assert stat.st_blocks * 512 < 1 << 20
