"""The cluster that a file's tests share."""

from collections.abc import Iterator

import pytest

from tests.lab.hosts import Lab, cluster


@pytest.fixture(scope="module")
def lab(request, tmp_path_factory) -> Iterator[Lab]:
    with cluster(tmp_path_factory.mktemp("lab"), workers=getattr(request.module, "WORKERS", 2)) as lab:
        yield lab
