import asyncio

import pytest
import ray

from sweeps.execution import desk
from sweeps.execution.desk import Closed, Desk, DeskActor


def run(steps):
    return asyncio.run(asyncio.wait_for(steps, 10))


def test_what_is_left_in_a_box_comes_out_in_order_and_of_that_box_alone():
    async def steps():
        here = Desk()
        await here.put("a", 1)
        await here.put("b", "other")
        await here.put("a", 2)
        return [await here.take("a"), await here.take("a"), await here.take("b")]

    assert run(steps()) == [1, 2, "other"]


def test_who_waits_gets_what_comes_later_and_keeps_nobody_from_another_box():
    async def steps():
        here = Desk()
        waiting = asyncio.ensure_future(here.take("a"))
        await asyncio.sleep(0)
        await here.put("b", "meanwhile")
        found = [await here.take("b")]
        await here.put("a", "later")
        return [*found, await waiting]

    assert run(steps()) == ["meanwhile", "later"]


def test_a_closed_box_ends_who_waits_at_it_and_who_comes_later():
    async def steps():
        here = Desk()
        waiting = asyncio.ensure_future(here.take("a"))
        await asyncio.sleep(0)
        await here.close("a")
        await here.close("a")
        await here.put("a", "too late")
        return [await waiting, await here.take("a"), await here.take("a")]

    assert run(steps()) == [None, None, None]


class Handle:
    """Stands for Ray's handle of a desk: answers at once."""

    def __init__(self, answer):
        self.answer, self.calls = answer, []

    def __getattr__(self, name):
        return self

    def remote(self, *arguments):
        self.calls.append(arguments)
        return self.answer


def test_a_closed_box_and_a_lost_desk_are_the_same_to_who_asks(monkeypatch):
    monkeypatch.setattr(ray, "get", lambda answer: answer)
    assert DeskActor(Handle("x")).take("a") == "x"
    with pytest.raises(Closed):
        DeskActor(Handle(None)).take("a")

    def lost(_):
        raise ray.exceptions.RayActorError

    monkeypatch.setattr(ray, "get", lost)
    with pytest.raises(Closed):
        DeskActor(Handle("x")).take("a")
    with pytest.raises(Closed):
        desk.dereferenced(("reference",))


def test_boxes_are_closed_one_by_one():
    handle = Handle(None)
    DeskActor(handle).close("a", "b")
    assert handle.calls == [("a",), ("b",)]
