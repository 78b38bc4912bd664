"""What passes between Tune and the dispatcher; test_engine.py and tests/faults have the rest, with Ray."""

from types import SimpleNamespace

import pytest
from ray.tune.search import Searcher

from sweeps.execution.messages import Failure, Order, Progress
from sweeps.execution.scheduler import _Feed, _Listener
from sweeps.tracking.entry import Entry
from trainables.config import Trial

ORDER = Order("0" * 64, "lr", Trial(), (0,), 0.0, Entry("lr: 0.1"))
FAILURE = Failure("ValueError: x", "Traceback", out_of_memory=False)
PROGRESS = Progress(1, 0.5, False, (), {})


class Told:
    """Stands for the dispatcher, and for its agenda and watchdog: notes the calls."""

    def __init__(self, orders=()):
        self.calls, self.orders, self.over = [], list(orders), False
        self.agenda = self.watchdog = self

    def next(self):
        return self.orders.pop(0) if self.orders else None

    def __getattr__(self, name):
        return lambda *arguments: self.calls.append((name, *arguments))


def tune_s(last_result):
    return SimpleNamespace(
        config=ORDER.to_config(), last_result=last_result, temporary_state=SimpleNamespace(ray_actor="actor")
    )


def test_tune_gets_the_next_order_then_nothing_for_now_and_at_last_the_end():
    dispatcher = Told([ORDER])
    feed = _Feed(dispatcher)
    assert Order.of(feed.suggest("a")) == ORDER
    assert feed.suggest("b") is None
    dispatcher.over = True
    assert feed.suggest("c") == Searcher.FINISHED


@pytest.mark.parametrize(
    ("event", "result", "call"),
    [
        ("on_trial_start", None, ("started", ORDER.key, "actor")),
        ("on_trial_recover", None, ("lost", ORDER.key)),
        ("on_trial_error", None, ("given_up", ORDER.key)),
        ("on_trial_complete", FAILURE.to_result(), ("ended", ORDER.key, FAILURE)),
        ("on_trial_complete", PROGRESS.to_result(), ("ended", ORDER.key, None)),
        ("on_trial_complete", {}, ("ended", ORDER.key, None)),
    ],
)
def test_each_event_of_tune_s_reaches_the_dispatcher(event, result, call):
    dispatcher = Told()
    getattr(_Listener(dispatcher), event)(iteration=1, trials=[], trial=tune_s(result))
    assert dispatcher.calls == [call]


def test_only_progress_is_an_epoch():
    dispatcher = Told()
    for news in (PROGRESS, FAILURE):
        _Listener(dispatcher).on_trial_result(iteration=1, trials=[], trial=tune_s(None), result=news.to_result())
    assert dispatcher.calls == [("progressed", ORDER.key, PROGRESS)]


def test_the_watchdog_looks_at_every_step():
    dispatcher = Told()
    _Listener(dispatcher).on_step_begin(iteration=1, trials=[])
    assert dispatcher.calls == [("kill_what_hangs",)]
