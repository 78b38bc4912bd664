"""The data set of a command, of which this machine holds one copy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.execution.memory import is_large
from trainables.datasets import Dataset, decoded

if TYPE_CHECKING:
    import ray


class SharedData:
    """A data set that moves to Ray's object store when workers need it: the driver then lets go of its own copy.

    The store holds it until this process leaves Ray. Of large decoded images on the disk only the place moves there,
    and each worker maps them: the system keeps in memory what it has room for.
    """

    def __init__(self, data: Dataset) -> None:
        self._data: Dataset | None = data
        self._reference: ray.ObjectRef | None = None

    def reference(self) -> ray.ObjectRef:
        """Return Ray's reference to the data set, which is put into the object store once.

        Raises UserError where it would be mapped, and a host of the cluster has not got it.
        """
        if self._reference is None:
            import ray  # here, as it takes a second, which a start that finds everything done saves

            self._reference, self._data = ray.put(_to_share(self._data)), None
        return self._reference


def _to_share(data: Dataset | None) -> Any:
    """Return what makes the data set of a worker, once Ray has carried it there."""
    if data is None or data.mapped is None:
        return data
    if not is_large(data.size):
        return replace(data, mapped=None)  # the store's copy is not
    from sweeps.execution import hosts

    hosts.check_all_have(data.mapped)
    return _Place(data.mapped, data.name)


class _Place:
    """Becomes, as it is unpickled, the data set that lies decoded at a place."""

    def __init__(self, place: Path, name: str) -> None:
        self.place, self.name = place, name

    def __reduce__(self) -> tuple[Any, tuple[Path, str]]:
        return decoded.mapped, (self.place, self.name)
