import io
import json
import os

import pytest
from rich.console import Console

from sweeps.reporting import onlooking
from sweeps.reporting.onlooking import Sight, in_words, look
from tests.sweeps.reporting.live_state import STATE


@pytest.mark.parametrize(
    ("state", "now", "runs", "line"),
    [
        (STATE, 1014.9, True, "running: 3 of 10 trials done, about 2 min left"),
        (STATE | {"seconds_left": None}, 1001, True, "running: 3 of 10 trials done"),
        (STATE, 1060, False, "no sign of life since 60 s ago: 3 of 10 trials done"),
        (STATE | {"over": True}, 1001, False, "ended 1 s ago: 3 of 10 trials done"),
        (STATE | {"over": True}, 999, False, "ended 0 s ago: 3 of 10 trials done"),  # clocks differ
        (None, 1000, False, "no command has run it here since its folder was made"),
    ],
)
def test_where_it_stands_is_a_line(state, now, runs, line):
    sight = Sight("s", state, None, now)
    assert (sight.runs, sight.line) == (runs, line)


def test_a_folder_is_looked_at_as_it_is_now(tmp_path, monkeypatch):
    monkeypatch.setattr(onlooking.time, "time", lambda: 1001.0)
    assert look(tmp_path) == Sight(tmp_path.name, None, None, 1001.0)
    (tmp_path / "live.json").write_text(json.dumps(STATE))
    (tmp_path / "report.html").write_text("<p>")
    os.utime(tmp_path / "report.html", (500, 500))
    assert look(tmp_path) == Sight(tmp_path.name, STATE, 500.0, 1001.0)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"over": true}'])
def test_a_state_that_cannot_be_read_is_none(content, tmp_path):
    (tmp_path / "live.json").write_text(content)
    assert look(tmp_path).state is None


def shown(sight):
    console = Console(file=io.StringIO(), width=200)
    for part in in_words(sight):
        console.print(part, highlight=False)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_terminal_shows_what_runs_where():
    assert shown(Sight("s", STATE, None, 1001)) == [
        "s: running: 3 of 10 trials done, about 2 min left",
        "stage lr, depth · trials run on the CPU · 2 done · 1 stopped early · 4 waiting · best so far 70.0 % (lr: 0.1)",
        "trial    epoch  train loss  validation  images/s  memory   host",
        "lr: 0.2   2/15       1.500       65.4%     1,234  1.5 GB  node1",
        "lr: 0.3   0/15",
        "warning: lr: 0.1: steps are not captured",
        "started again: lr: 0.2: its process was lost",
    ]


def test_of_one_that_does_not_run_nothing_is_shown_as_running():
    assert shown(Sight("s", STATE | {"over": True}, None, 1001)) == ["s: ended 1 s ago: 3 of 10 trials done"]


def test_where_several_studies_share_a_cluster_it_shows_who_has_what():
    alone = {
        "study": "s",
        "user": "jo",
        "kind": "CPU",
        "has": 3.0,
        "wants": 6.0,
        "priority": 0,
        "share": 0.75,
        "may": 3.0,
    }
    other = {**alone, "study": "t", "has": 0.5, "kind": "GPU", "priority": -1, "share": None}
    assert "cores" not in "".join(shown(Sight("s", STATE | {"traffic": [alone]}, None, 1001)))
    lines = shown(Sight("s", STATE | {"traffic": [alone, other]}, None, 1001))
    assert lines[5:7] == [
        "s (jo): 3 of 6 cores that it wants, share 0.75",
        "t (jo): 0.5 of 6 GPUs that it wants, priority -1",
    ]
