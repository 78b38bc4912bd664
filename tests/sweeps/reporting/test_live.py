from sweeps.reporting.live import LEAST, SHARE, Live


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def report(takes: float):
    clock, written = Clock(), []

    def write():
        written.append(clock.now)
        clock.now += takes

    return Live(write, clock), clock, written


def test_the_first_end_is_written_at_once_and_the_next_ones_after_a_while():
    live, clock, written = report(takes=0.0)
    for at in (0, 1, LEAST - 0.1, LEAST, LEAST + 1, 2 * LEAST):
        clock.now = 100.0 + at
        live.trial_ended()
    assert written == [100.0, 100.0 + LEAST, 100.0 + 2 * LEAST]


def test_writing_takes_five_percent_of_the_time_at_most():
    live, clock, written = report(takes=3.0)
    for _ in range(1000):
        live.trial_ended()
        clock.now += 1.0
    assert len(written) * 3.0 <= (clock.now - 100.0) / SHARE + 3.0
    assert len(written) > 10
