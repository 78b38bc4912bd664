"""sweeps.tracking.sending: what goes at once, and what becomes of the rest where MLflow refuses something of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from sweeps.decisions.status import Status
from sweeps.tracking.sending import Sending
from sweeps.tracking.shared import Shared, Tracked
from sweeps.tracking.spool import About, Spooled, Standing
from tests.sweeps.tracking.trials import KEY

TAGS = [RunTag("status", "done")]


class Server:
    """Takes what has no `bad` in its name, at most 1,000 items at once, and notes how many came with each request."""

    def __init__(self) -> None:
        self.requests: list[tuple[int, int, int]] = []

    def log_batch(self, _: str, metrics: Any = (), params: Any = (), tags: Any = ()) -> None:
        assert max(len(params), len(tags)) <= 100
        assert len(metrics) + len(params) + len(tags) <= 1000
        if any("bad" in each.key for each in [*metrics, *params, *tags]):
            raise MlflowException("invalid name", INVALID_PARAMETER_VALUE)
        self.requests.append((len(params), len(metrics), len(tags)))


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def sending(server: Server, tmp_path: Path) -> Sending:
    about = About(KEY, "study", "depth=2", {}, {}, None, 1)
    trial = Tracked(Spooled(tmp_path, about, Standing(Status.DONE, None, 1)), run_id="run")
    store: Any = SimpleNamespace(client=server)
    return Sending(store, Shared(), trial)


def params(*names: str) -> list[Param]:
    return [Param(name, "1") for name in names]


def metrics(*names: str) -> dict[tuple[str, int], Metric]:
    return {(name, 1): Metric(name, 1.0, 1, 1) for name in names}


def test_all_goes_at_once(sending: Sending, server: Server) -> None:
    sending.entries(params("depth"), metrics("loss", "lr"), TAGS)
    assert server.requests == [(1, 2, 1)]
    assert len(sending.trial.answered) == 1


def test_nothing_takes_no_request(sending: Sending, server: Server) -> None:
    sending.entries([], {}, [])
    assert server.requests == []


@pytest.mark.parametrize(
    ("given", "requests"),
    [
        ((100, 899, 1), [(100, 899, 1)]),
        ((100, 900, 1), [(100, 0, 0), (0, 900, 0), (0, 0, 1)]),
        ((101, 2, 1), [(100, 0, 0), (1, 0, 0), (0, 2, 0), (0, 0, 1)]),
    ],
)
def test_more_than_a_request_may_have_goes_in_several(
    sending: Sending, server: Server, given: tuple[int, int, int], requests: list[tuple[int, int, int]]
) -> None:
    names = [[f"{number}" for number in range(count)] for count in given]
    sending.entries(params(*names[0]), metrics(*names[1]), [RunTag(name, "1") for name in names[2]])
    assert server.requests == requests


def test_what_is_refused_costs_only_itself(sending: Sending, server: Server) -> None:
    sending.entries(params("depth", "bad"), metrics("loss", "bad loss"), TAGS)
    assert server.requests == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
    assert sending.trial.sent.refused == {"'bad'", "'bad loss'"}
    assert [line.split(": ")[1] for line in sending.shared.notes()] == [
        "'bad' is refused by MLflow",
        "'bad loss' is refused by MLflow",
    ]


def test_tags_that_are_refused_are_an_error_of_the_trial(sending: Sending) -> None:
    """They say where it stands: without them it is not delivered."""
    with pytest.raises(MlflowException, match="invalid name"):
        sending.entries([], {}, [RunTag("bad", "1")])


def test_an_mlflow_that_is_away_is_not_asked_item_by_item(
    sending: Sending, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def away(*_: Any, **__: Any) -> None:
        asked.append(1)
        raise ConnectionError

    monkeypatch.setattr(server, "log_batch", away)
    with pytest.raises(ConnectionError):
        sending.entries(params("depth"), metrics("loss"), TAGS)
    assert (len(asked), sending.trial.answered) == (1, set())
