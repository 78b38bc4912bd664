"""The data set of a command, of which this machine holds one copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainables.datasets import Dataset

if TYPE_CHECKING:
    import ray


class SharedData:
    """A data set that moves to Ray's object store when workers need it: the driver then lets go of its own copy.

    The store holds it until this process leaves Ray.
    """

    def __init__(self, data: Dataset) -> None:
        self._data: Dataset | None = data
        self._reference: ray.ObjectRef | None = None

    def reference(self) -> ray.ObjectRef:
        """Return Ray's reference to the data set, which is put into the object store once."""
        if self._reference is None:
            import ray  # here, as it takes a second, which a start that finds everything done saves

            self._reference, self._data = ray.put(self._data), None
        return self._reference
