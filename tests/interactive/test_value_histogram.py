import numpy as np

from mamp.interactive.value_histogram import ValueHistogram


def test_values_seen_in_the_object_alone_speak_for_it() -> None:
    rng = np.random.default_rng(0)
    values = np.zeros((40, 40, 3), np.float32)
    values[:, 20:] = 4  # in half of the object and of the background each
    values[:20, :20] = -4  # in the object alone
    weight = np.zeros((40, 40), np.float32)
    weight[:20] = 1
    odds = ValueHistogram(values + rng.normal(0, 0.1, values.shape).astype(np.float32)).log_odds(weight)
    assert (odds[:20, :20] > 2).all()
    assert (odds[20:, :20] < -2).all()
    assert (np.abs(odds[:, 20:]) < 0.5).all()


def test_a_constant_image_says_nothing() -> None:
    weight = np.linspace(0, 1, 35, dtype=np.float32).reshape(5, 7)
    np.testing.assert_allclose(ValueHistogram(np.full((5, 7, 2), 3, np.float32)).log_odds(weight), 0, atol=1e-6)


def test_extreme_values_share_the_last_bin() -> None:
    values = np.zeros((4, 4, 1), np.float32)
    values[0, 0], values[3, 3] = 1e4, 2e4
    assert np.isfinite(ValueHistogram(values).log_odds(np.full((4, 4), 0.5, np.float32))).all()


def test_the_background_is_what_the_object_leaves() -> None:
    """Its densities are computed by subtraction: exchanging the two only changes the sign."""
    rng = np.random.default_rng(0)
    histogram = ValueHistogram(rng.normal(0, 1, (30, 40, 3)).astype(np.float32))
    weight = rng.random((30, 40)).astype(np.float32)
    np.testing.assert_allclose(histogram.log_odds(weight), -histogram.log_odds(1 - weight), atol=1e-4)
