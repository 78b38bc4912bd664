import pytest

from sweeps.decisions.shares import Claim, allot


def claim(wants, share=None, priority=0):
    return Claim("s", wants=wants, share=share, priority=priority)


@pytest.mark.parametrize(
    ("claims", "may"),
    [
        ([claim(8)], [8]),  # alone it takes all, whatever its share
        ([claim(8, share=0.25)], [8]),
        ([claim(20)], [12]),
        ([claim(12), claim(12)], [6, 6]),
        ([claim(12), claim(12), claim(12)], [4, 4, 4]),
        ([claim(12, share=0.75), claim(12, share=0.25)], [9, 3]),
        ([claim(12, share=0.75), claim(12)], [9, 3]),
        ([claim(12, share=0.5), claim(12), claim(12)], [6, 3, 3]),
        ([claim(2, share=0.75), claim(12, share=0.25)], [2, 10]),  # what one does not want goes to the other
        ([claim(12), claim(0)], [12, 0]),
        ([claim(1), claim(12, share=0.5), claim(12)], [1, 22 / 3, 11 / 3]),  # 0.25, 0.5 and 0.25; then 2 to 1
        ([claim(12, share=1), claim(12, share=0.5)], [8, 4]),  # more than the whole is scaled
        ([claim(12, share=0.75), claim(12, share=0.25), claim(12)], [7.2, 2.4, 2.4]),
        ([claim(12, share=1), claim(12)], [6, 6]),  # a share of all leaves the others no less than that
        ([claim(10, priority=1), claim(12)], [10, 2]),
        ([claim(12, priority=1), claim(12)], [12, 0]),
        ([claim(3, priority=2), claim(12, priority=-1), claim(4, priority=0), claim(4, priority=0)], [3, 1, 4, 4]),
        ([], []),
    ],
)
def test_twelve_cores_are_shared_by_priority_and_then_by_share(claims, may):
    assert allot(12, claims) == pytest.approx(may)


@pytest.mark.parametrize("seed", range(20))
def test_nothing_idles_that_somebody_wants_and_nobody_gets_more_than_that(seed):
    import numpy as np

    rng = np.random.default_rng(seed)
    claims = [
        claim(int(rng.integers(0, 9)), rng.choice([None, 0.1, 0.5, 0.9]), int(rng.integers(-1, 2))) for _ in range(6)
    ]
    may = allot(16, claims)
    assert sum(may) == pytest.approx(min(16, sum(each.wants for each in claims)))
    assert all(granted <= each.wants + 1e-9 for granted, each in zip(may, claims, strict=True))
