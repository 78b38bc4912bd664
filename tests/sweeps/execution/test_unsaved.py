import pickle
import threading

from sweeps.execution.unsaved import Unsaved


class Holder(Unsaved):
    def __init__(self):
        self.lock = threading.Lock()


def test_whatever_it_holds_is_left_out_of_a_snapshot():
    assert vars(pickle.loads(pickle.dumps(Holder()))) == {}  # noqa: S301  it is our own
