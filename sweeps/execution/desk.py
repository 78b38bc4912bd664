"""Where the worker that has a trial and those that help it leave things for one another: boxes in an actor of Ray's."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


class Desk:
    """Boxes by name, first in, first out. Nobody who waits at one keeps others from theirs."""

    def __init__(self) -> None:
        self._boxes: defaultdict[str, asyncio.Queue[Any]] = defaultdict(asyncio.Queue)
        self._closed: set[str] = set()

    async def put(self, box: str, item: Any) -> None:
        """Leave something in a box; nothing is left in one that is closed."""
        if box not in self._closed:
            self._boxes[box].put_nowait(item)

    async def take(self, box: str) -> Any:
        """Wait for what comes next in a box, and return it; None where it is closed, and nothing more will come."""
        return None if box in self._closed else await self._boxes[box].get()

    async def close(self, box: str) -> None:
        """Close a box, also for those who wait at it now."""
        if box not in self._closed:
            self._closed.add(box)
            self._boxes.pop(box, asyncio.Queue()).put_nowait(None)


class Closed(Exception):
    """Who is at the other side of the desk has gone."""


@dataclass(frozen=True)
class DeskActor:
    """The desk, wherever one is."""

    handle: Any  # Ray's

    def put(self, box: str, item: Any) -> None:
        """Leave something in a box, without waiting. Large contents go by reference (`by_reference`)."""
        self.handle.put.remote(box, item)

    def take(self, box: str) -> Any:
        """Wait for what comes next in a box. Raises Closed where nothing will."""
        try:
            item = ray.get(self.handle.take.remote(box))
        except ray.exceptions.RayError as error:
            raise Closed("the desk is gone") from error
        if item is None:
            raise Closed(box)
        return item

    def close(self, *boxes: str) -> None:
        """Close boxes, without waiting."""
        for box in boxes:
            self.handle.close.remote(box)


def start() -> DeskActor:
    """Start a desk on the driver's node, beside the workers' resources, without waiting for it."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return DeskActor(ray.remote(Desk).options(num_cpus=0, scheduling_strategy=here).remote())


def by_reference(content: bytes) -> tuple[Any]:
    """Return a content as it passes the desk without being copied into it: it stays in the store of this machine."""
    return (ray.put(content),)


def dereferenced(wrapped: tuple[Any]) -> bytes:
    """Return the content. Raises Closed where it went with the process that it came from."""
    try:
        content: bytes = ray.get(wrapped[0])
    except ray.exceptions.RayError as error:
        raise Closed("what it had is gone") from error
    return content
