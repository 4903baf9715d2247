import numpy as np
import pytest

from clusterpost.training.stars.anchoring import brighten, evolved_groups, reweight
from clusterpost.training.stars.binning import merge_neighbors
from clusterpost.training.stars.isochrones import Stars
from clusterpost.training.stars.populations import smooth

SCALES = np.array([0.08, 0.04, 0.03, 0.03, 0.03])


@pytest.fixture
def light():
    """Many kinds of star of four groups with colors of their own, times their number."""
    rng = np.random.default_rng(3)
    group = rng.integers(0, 4, 200)
    colors = np.array([[0.01, 0.05, 0.3, 1.0, 3.0], [0.3, 1.0, 2.0, 1.5, 1.0], [3.0, 2.0, 1.0, 0.6, 0.3], np.ones(5)])
    return group, colors[group] * rng.lognormal(size=(200, 1))


def test_groups():
    def kind(log_g, log_t, phase=0.0):
        one = np.array([1.0])
        return int(evolved_groups(Stars(one, one, one, one, log_t * one, log_g * one, one, phase * one))[0])

    assert [kind(1, 3.6), kind(2, 3.9), kind(3, 4.3), kind(4.2, 3.6), kind(5, 4.9, 9.0), kind(3.4, 5.0, 6.0)] == [
        0, 1, 2, 3, 2, 3]


def test_numbers_that_were_changed_are_found(light):
    group, flux = light
    true = np.array([0.4, -0.3, 0.2, 0.0])
    adopted = np.log((flux * np.exp(true)[group][:, None]).sum(0))
    found, gray = reweight(flux, group, adopted, SCALES)
    np.testing.assert_allclose(found, true, atol=0.06)  # drawn to zero a little
    assert abs(gray) < 0.05
    assert found[3] == 0


def test_numbers_stay_within_their_bounds(light):
    group, flux = light
    found, _ = reweight(flux, group, np.log(flux.sum(0)) + np.array([0, 0, 0, 1.0, 3.0]), SCALES)
    assert np.abs(found).max() <= 1.1
    assert found[0] == pytest.approx(1.1)


def test_the_mean_becomes_the_adopted_one_and_cool_stars_carry_most(light):
    group, flux = light
    adopted = np.log(flux.sum(0)) + np.array([0.0, 0.02, -0.05, 0.1, 0.3])
    factors = brighten(flux, group == 0, adopted, 0.0)
    mean = (flux * np.exp(factors[np.where(group == 0, 0, 1)])).sum(0)
    np.testing.assert_allclose(np.log(mean), adopted, atol=1e-9)
    assert factors[0, 4] > 5 * factors[1, 4] > 0
    gray = brighten(flux, group == 0, np.log(flux.sum(0)) + 0.2, 0.2)
    np.testing.assert_allclose(gray, 0.2, atol=1e-9)  # what is gray, all stars share alike


def test_bins_hold_neighbors_and_every_star():
    rng = np.random.default_rng(1)
    number = np.sort(rng.lognormal(sigma=3, size=300))[::-1]
    flux = np.column_stack([np.linspace(0, 1, 300) ** 3 + 1e-3, np.linspace(1, 2, 300), np.zeros(300)])
    bins = merge_neighbors(number, flux, 12)
    assert list(np.unique(bins)) == list(range(12))
    assert (np.diff(bins) >= 0).all()


def test_bins_keep_apart_what_differs_where_it_matters():
    number = np.ones(40)
    flux = np.ones((40, 3)) * np.repeat([1.0, 5.0, 20.0, 21.0], 10)[:, None]
    bins = merge_neighbors(number, flux, 3)
    assert [len(set(bins[i:i + 10])) for i in (0, 10, 20, 30)] == [1, 1, 1, 1]
    assert bins[20] == bins[30]  # the least difference goes
    assert len(set(bins)) == 3


def test_box_stays_centered_to_the_ends():
    line = np.arange(101.0)
    out = smooth(np.stack([line, np.ones(101)], 1), 49)
    np.testing.assert_allclose(out[4:-4, 0], line[4:-4])
    np.testing.assert_allclose(out[:, 1], 1)
    assert out[0, 0] == 2  # over the first five
    assert smooth(np.eye(101)[50], 49)[50] == pytest.approx(1 / 49)
