import pytest

from sweeps.decisions.labels import label


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (3, "3"),
        (0.001, "0.001"),
        ("max", "max"),
        (None, "none"),
        (True, "yes"),
        (False, "no"),
        ((16, 32, 64), "16-32-64"),
        ([16, None], "16-none"),
        ((), ""),
        ("models/alexnet/a.pth", "a.pth"),
        ((None, True, (1, 2), "a/b.pth"), "none-yes-1-2-b.pth"),
    ],
)
def test_values_in_words(value, words):
    assert label(value) == words
