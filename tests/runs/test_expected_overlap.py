"""The expected overlap falls with time and with a change of area, and a correction raises it again."""

from mamp import ObjectFrame
from mamp.runs.expected_overlap import expected_overlap, expected_overlaps


def test_it_falls_with_time_and_with_a_change_of_area_in_either_direction() -> None:
    assert expected_overlap(100, 100, 0) == 1
    assert 1 > expected_overlap(100, 100, 1) > expected_overlap(100, 100, 50) > 0.6
    assert expected_overlap(100, 100, 50) > expected_overlap(300, 100, 50)
    assert expected_overlap(300, 100, 50) == expected_overlap(100, 300, 50)
    assert 0 < expected_overlap(0, 100, 50) < 1


def test_each_mask_is_compared_with_the_nearest_input_mask_of_its_object() -> None:
    entries = [ObjectFrame(t, t / 25, 1, 100, 1.0 if t in (0, 10) else 0.9) for t in range(12)]
    entries[5] = ObjectFrame(5, 0.2, 1, 0, 0.0)  # it is absent
    entries.append(ObjectFrame(3, 0.1, 2, 50, 0.9))  # never in an input mask
    expected = expected_overlaps(entries, {0, 10})
    assert expected[0, 1] == expected[10, 1] == 1 and expected[9, 1] == expected[11, 1] == expected[1, 1]
    assert expected[4, 1] < expected[9, 1] and (5, 1) not in expected and (3, 2) not in expected
