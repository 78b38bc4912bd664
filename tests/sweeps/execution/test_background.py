import threading
from contextlib import contextmanager

import pytest

from sweeps.execution.background import Background


class Slow:
    """A context that is entered when it is let, and notes what happens to it, and in which thread."""

    def __init__(self, error=None):
        self.may_begin, self.error, self.did = threading.Event(), error, []

    @contextmanager
    def __call__(self):
        self.may_begin.wait(10)
        self.did.append(("entered", threading.current_thread()))
        if self.error:
            raise self.error
        try:
            yield
        finally:
            self.did.append(("left", threading.current_thread()))


def test_nothing_happens_before_it_is_begun():
    slow = Slow()
    slow.may_begin.set()
    background = Background(slow)
    background.end()
    assert not background.begun
    assert slow.did == []


def test_one_thread_enters_and_leaves_while_this_one_does_other_things():
    slow = Slow()
    background = Background(slow)
    background.begin()
    background.begin()
    assert background.begun
    assert slow.did == []  # and yet we are here
    slow.may_begin.set()
    background.wait()
    [(what, thread)] = slow.did
    assert (what, thread is threading.current_thread(), thread.is_alive()) == ("entered", False, True)
    background.end()
    assert slow.did == [("entered", thread), ("left", thread)]
    assert not thread.is_alive()


def test_what_is_being_entered_is_entered_before_it_is_left():
    slow = Slow()
    background = Background(slow)
    background.begin()
    threading.Timer(0.1, slow.may_begin.set).start()
    background.end()
    assert [what for what, _ in slow.did] == ["entered", "left"]


def test_what_keeps_it_from_beginning_is_raised_where_it_is_waited_for_and_nowhere_else():
    slow = Slow(ValueError("no room"))
    slow.may_begin.set()
    background = Background(slow)
    with pytest.raises(ValueError, match=r"^no room$"):
        background.wait()
    background.end()
