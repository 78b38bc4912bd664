import numpy as np

from analysis.pointing import on_object


def test_mass_and_peak_on_the_object():
    maps = np.array(
        [[[1.0, 3.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]], [[2.0, 0.0], [1.0, 1.0]], [[1.0, 0.0], [0.0, 0.0]]],
        np.float32,
    )
    masks = np.array([[[True, False], [False, False]]] * 4)
    masks[3] = False  # no object
    share, peak = on_object(maps, masks)
    np.testing.assert_array_equal(share, [0.25, np.nan, 0.5, np.nan])
    np.testing.assert_array_equal(peak, [0.0, np.nan, 1.0, np.nan])
