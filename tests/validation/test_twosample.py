"""Two sets of draws: alike, and not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from clusterpost.validation import classifier_accuracy, jensen_shannon


def normals(n=1000, shift=0.0, seed=0):
    return np.random.default_rng(seed).normal(shift, 1, (n, 3))


def test_a_classifier_cannot_tell_alike_sets_apart():
    accuracy = [classifier_accuracy(normals(seed=2 * i), normals(seed=2 * i + 1)) for i in range(3)]
    assert np.mean(accuracy) == pytest.approx(0.5, abs=0.03)


def test_a_classifier_comes_near_the_best_there_is():
    # Of two normals half a standard deviation apart along each of three axes: half their distance in sigmas.
    best = norm.cdf(0.5 * np.sqrt(3) / 2)
    assert best - 0.08 < classifier_accuracy(normals(), normals(shift=0.5, seed=1)) < best + 0.03


def test_destroyed_correlation_shows_in_the_classifier_alone():
    one = normals()
    one[:, 1] = 0.9 * one[:, 0] + np.sqrt(1 - 0.9**2) * one[:, 1]
    two = np.random.default_rng(3).permuted(one, axis=0)
    assert classifier_accuracy(one, two) > 0.6
    assert jensen_shannon(one, two).max() == pytest.approx(0, abs=1e-12)


def test_repeated_draws_are_not_learned_by_heart():
    few = normals(300)
    assert classifier_accuracy(np.repeat(few, 3, axis=0), normals(900, seed=1)) < 0.56


def test_divergence_of_alike_sets_is_what_their_size_says():
    values = [jensen_shannon(normals(seed=2 * i), normals(seed=2 * i + 1)) for i in range(20)]
    assert np.mean(values) == pytest.approx(19 / (4 * 1000 * np.log(2)), rel=0.15)


def test_divergence_of_normals_is_that_of_their_densities():
    x = np.linspace(-8, 9, 20_000)
    p, q = norm.pdf(x), norm.pdf(x, 1)
    expected = 0.5 * sum(np.sum(a * np.log2(np.maximum(a, 1e-300) / ((p + q) / 2))) for a in (p, q)) * (x[1] - x[0])
    got = jensen_shannon(normals(40_000), normals(40_000, shift=1.0, seed=1))
    np.testing.assert_allclose(got, expected, rtol=0.06)


@given(seed=st.integers(0, 99), scale=st.floats(0.01, 100), move=st.floats(-10, 10))
@settings(max_examples=20, deadline=None)
def test_divergence_is_symmetric_bounded_and_free_of_units(seed, scale, move):
    one, two = normals(60, seed=seed), normals(80, shift=0.3, seed=seed + 1000)
    value = jensen_shannon(one, two)
    assert ((value >= 0) & (value <= 1)).all()
    np.testing.assert_allclose(jensen_shannon(two, one), value)
    np.testing.assert_allclose(jensen_shannon(scale * one + move, scale * two + move), value, atol=0.05)
    np.testing.assert_allclose(jensen_shannon(one, one + 100), 1)
