"""The rungs of a ladder, and what every rule keeps in its books. How rules decide: test_rules.py."""

import pytest

from sweeps.decisions.books import Books, ladder


@pytest.mark.parametrize(
    ("first", "last", "eta", "rungs"),
    [
        (1, 27, 3, (1, 3, 9, 27)),
        (1, 15, 4, (1, 4, 15)),
        (1, 100, 3, (1, 3, 10, 32, 100)),
        (1, 2, 3, (1, 2)),
        (1, 1, 3, (1,)),
        (2, 1, 3, (1,)),
        (2, 18, 3, (2, 6, 18)),
        (4, 16, 2, (4, 8, 16)),
    ],
)
def test_rungs_are_whole_steps_that_end_at_the_full_number_of_epochs(first, last, eta, rungs):
    assert ladder(first, last, eta) == rungs


class Patient(Books):
    """Rungs at 2 and 4; nobody is promotable."""

    def _rungs(self, number):  # noqa: ARG002
        return (2, 4)

    def _promotable(self):
        return iter(())


def test_where_a_trial_was_drawn_changes_nothing_and_nothing_is_wanted():
    books, other = Patient(4, 3), Patient(4, 3)
    assert books.first(0, {"x": 1}) == other.first(0) == 2
    books.recall(1, {1: 0.5, 2: 0.6, 3: 0.7}, {"x": 2})
    other.recall(1, {1: 0.5, 2: 0.6, 3: 0.7})
    books.no_more()
    assert tuple(books.wants()) == ()
    assert vars(books) == vars(other)
    assert books.scores == {0: {}, 1: {2: 0.6}}
    assert books.limits == {0: 2, 1: 4}
    assert (books.ready(), books.due(), books.due()) == (1, (1, 4), None)


def test_a_trial_that_others_have_run_stands_at_its_highest_rung_or_runs_on_to_the_first():
    books = Patient(4, 3)
    books.adopt(0, {1: 0.5})
    books.adopt(1, {1: 0.5, 2: 0.6, 3: 0.7})
    books.adopt(2, {1: 0.5, 2: 0.6, 3: 0.7, 4: 0.8, 5: 0.9})
    assert books.scores == {0: {}, 1: {2: 0.6}, 2: {2: 0.6, 4: 0.8}}
    assert books.limits == {0: 2, 1: 2, 2: 4}
    assert (books.ready(), books.due(), books.due()) == (1, (0, 2), None)
