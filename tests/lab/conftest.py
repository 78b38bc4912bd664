"""The cluster that a file's tests share."""

from collections.abc import Iterator

import pytest

from tests.lab.hosts import Lab, cluster


@pytest.fixture(scope="module")
def lab(request, tmp_path_factory) -> Iterator[Lab]:
    asked = (("WORKERS", 2), ("CORES", 1), ("GPUS", 0))
    sizes = (getattr(request.module, name, default) for name, default in asked)
    with cluster(tmp_path_factory.mktemp("lab"), *sizes) as lab:
        yield lab
