"""Confusion counts, by hand."""

import numpy as np

from analysis.inference.confusion import confusion, confusion_table


def test_confusion_counts_true_classes_in_rows():
    counts = confusion(np.array([0, 0, 2, 2, 2]), np.array([0, 1, 2, 0, 0]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 0, 0], [2, 0, 1]]


def test_there_is_a_row_and_a_column_for_each_class_even_where_no_image_is():
    counts = confusion(np.array([2]), np.array([0]), 4)
    assert counts.tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert confusion(np.array([], int), np.array([], int), 2).tolist() == [[0, 0], [0, 0]]


def test_the_table_names_true_classes_at_its_rows():
    table = confusion_table(np.array([[1, 2], [0, 3]]), ("cat", "dog"), "title")
    assert table.to_csv() == "true class,cat,dog\ncat,1,2\ndog,0,3\n"
    assert table.title == "title"
