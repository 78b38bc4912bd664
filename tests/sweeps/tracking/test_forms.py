"""sweeps.tracking.forms: each type is told from the others."""

import pytest

from sweeps.tracking.forms import check_count, check_numbers, check_text, check_texts
from tests.damage import ODD_VALUES


def taken(check):
    """Return the odd values that a check lets pass, and see that it refuses the others in one line."""
    passed = []
    for value in ODD_VALUES:
        try:
            check("x", value)
        except ValueError as error:
            line = str(error)
            if not line.startswith(("x is ", "x: '' is ", "'utf-8' codec can't encode")) or len(line) > 200:
                raise
        else:
            passed.append(value)
    return passed


def test_each_type_is_told_from_the_others():
    texts = [value for value in ODD_VALUES if isinstance(value, str)]
    assert taken(check_text) == [text for text in texts if text != "\ud800"]
    assert taken(check_count) == [0]
    assert taken(check_numbers) == [{}]
    assert taken(check_texts) == [{}]


def test_numbers_are_finite_and_fit_a_float():
    check_numbers("x", {"a": 1, "b": -0.5, "c": 1e308})
    for wrong in (True, None, "1", float("nan"), float("inf"), 10**400, [1]):
        with pytest.raises(ValueError, match=r"^x: 'a' is .*, but must be a finite number$"):
            check_numbers("x", {"a": wrong})


def test_counts_are_whole_and_of_a_size_that_every_reader_has():
    check_count("x", 1 << 53)
    for wrong in ((1 << 53) + 1, -1, 1.0, True, "1"):
        with pytest.raises(ValueError, match=r"^x is .*, but must be a whole number from 0$"):
            check_count("x", wrong)


def test_keys_and_values_of_texts_are_texts():
    check_texts("x", {"a": "b"})
    with pytest.raises(ValueError, match=r"^x: 'a' is 1, but must be a text$"):
        check_texts("x", {"a": 1})
    for half in ({"\ud800": "a"}, {"a": "\ud800"}):
        with pytest.raises(ValueError, match="surrogates"):
            check_texts("x", half)
    with pytest.raises(ValueError, match=r"^x is \['a'\], but must have entries$"):
        check_texts("x", ["a"])
