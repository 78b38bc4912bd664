"""Intervals by hand, and against sets of places counted one by one."""

import numpy as np
import pytest

from analysis.maps.rectangles import Cut, Field, Frame, Interval, Reach, Rectangle


def interval(*pairs):
    return Interval(*(np.array(each) for each in zip(*pairs, strict=True)))


def as_lists(found):
    return [each.tolist() if isinstance(each, np.ndarray) else each for each in found]


def test_a_window_of_five_pixels_through_r0s_first_layers_by_hand():
    """32 pixels, a 3×3 convolution to 30, 2×2 pooling to 15, a convolution to 13, pooling to 6, which drops one."""
    changed = interval((0, 2), (7, 11), (27, 31))  # the first window is cut by the border
    for reach, places, expected in (
        (Reach(3), 30, [(0, 2), (5, 11), (25, 29)]),
        (Reach(2, 2), 15, [(0, 1), (2, 5), (12, 14)]),
        (Reach(3), 13, [(0, 1), (0, 5), (10, 12)]),
        (Reach(2, 2), 6, [(0, 0), (0, 2), (5, 5)]),
    ):
        changed = reach.reached(changed, places)
        assert list(zip(*as_lists(changed), strict=True)) == expected
    assert as_lists(changed.cut(6)) == [[0, 0, 3], 3]  # as long as the longest, and all on the map


def test_a_cut_has_at_least_one_place():
    assert as_lists(interval((3, 3)).cut(6)) == [[3], 1]
    assert as_lists(interval((5, 4)).cut(6)) == [[5], 1]  # a change that no place sees


def test_resnets_stem_by_hand():
    """7×7 with stride 2, padded by 3: output 5 sees pixels 7 to 13."""
    assert as_lists(Reach(7, 2, 3).reached(interval((13, 13)), 112)) == [[5], [8]]
    assert as_lists(Reach(7, 2, 3).seen(Cut(np.array([0, 5]), 1))) == [[-3, 7], 7]
    assert as_lists(Reach(7, 2, 3).seen(Cut(np.array([5]), 3))) == [[7], 11]


@pytest.mark.parametrize("span", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 3])
def test_what_is_reached_is_what_sees_a_changed_place(span, stride, padding):
    reach, inputs = Reach(span, stride, padding), 11
    places = (inputs + 2 * padding - span) // stride + 1
    pairs = [(first, last) for first in range(inputs) for last in range(first, inputs)]
    found = reach.reached(interval(*pairs), places)
    for (first, last), low, high in zip(pairs, found.first, found.last, strict=True):
        sees = [set(range(place * stride - padding, place * stride - padding + span)) for place in range(places)]
        hit = [place for place in range(places) if sees[place] & set(range(first, last + 1))]
        assert 0 <= low < places
        assert 0 <= high < places
        if hit:
            assert (low, high) == (hit[0], hit[-1])
        else:
            assert high - low < 1
    cut = found.cut(places)
    assert cut.size == max(1, (found.last - found.first).max() + 1)
    assert (cut.start >= 0).all()
    assert (cut.start + cut.size <= places).all()
    assert (cut.start <= found.first).all()
    assert (cut.start + cut.size > found.last).all()
    seen = reach.seen(cut)
    assert (seen.start >= -padding).all()
    assert (seen.start + seen.size <= inputs + padding).all()
    assert (seen.start == cut.start * stride - padding).all()
    assert seen.size == (cut.size - 1) * stride + span


def test_rectangles_are_joined_and_framed_along_both_axes():
    one = Rectangle(interval((2, 4), (0, 0)), interval((1, 1), (3, 5)))
    other = Rectangle(interval((3, 6), (0, 1)), interval((0, 0), (4, 4)))
    joined = one.joined(other)
    assert [as_lists(each) for each in joined] == [[[2, 0], [6, 1]], [[0, 3], [1, 5]]]
    frame = joined.frame(7, 6)
    assert [as_lists(each) for each in frame] == [[[2, 0], 5], [[0, 3], 3]]
    assert (frame.images, frame.places) == (2, 15)
    field = Field(Reach(3, 1, 1), Reach(2, 2))
    assert [as_lists(each) for each in field.reached(joined, 7, 3)] == [[[1, 0], [6, 2]], [[0, 1], [0, 2]]]
    assert [as_lists(each) for each in field.seen(frame)] == [[[1, -1], 7], [[0, 6], 6]]
    assert Field().seen(frame).same(frame)


def test_frames_are_the_same_where_each_rectangle_is():
    frame = Frame(Cut(np.array([0, 3]), 2), Cut(np.array([1, 1]), 4))
    assert frame.same(Frame(Cut(np.array([0, 3]), 2), Cut(np.array([1, 1]), 4)))
    assert not frame.same(Frame(Cut(np.array([0, 3]), 2), Cut(np.array([1, 2]), 4)))
    assert not frame.same(Frame(Cut(np.array([0, 3]), 3), Cut(np.array([1, 1]), 4)))
    assert [as_lists(each) for each in Frame.whole(2, 5, 6)] == [[[0, 0], 5], [[0, 0], 6]]
