import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from clusterpost.posterior.draws import rotation, sobol_points
from clusterpost.posterior.refine import UnitPoints


@pytest.fixture(scope="module")
def conditions():
    return torch.randn(12, 5, generator=torch.Generator().manual_seed(4))


def rotated(points, conditions):
    """The points of every object, as draws are made from them."""
    every = UnitPoints(points, rotation(conditions, points.shape[1]))
    return every(torch.arange(len(conditions)), 0, len(points))


@pytest.mark.parametrize("dimensions", [2, 3, 4])
@pytest.mark.parametrize("n", [10, 100, 1024])
def test_base_points(n, dimensions):
    points = sobol_points(n, dimensions, seed=0)
    assert points.shape == (n, dimensions)
    assert ((points >= 0) & (points <= 1)).all()
    assert torch.equal(points, sobol_points(n, dimensions, seed=np.int64(0)))
    assert not torch.equal(points, sobol_points(n, dimensions, seed=1))
    for i in range(dimensions):
        assert kstest(points[:, i].numpy(), "uniform").statistic < 1.5 / np.sqrt(n)


def test_more_points_begin_with_the_fewer():
    """So that what is drawn later continues what was drawn first."""
    assert torch.equal(sobol_points(500, 3, seed=2)[:100], sobol_points(100, 3, seed=2))


@pytest.mark.parametrize("dimensions", [2, 3, 4])
def test_rotations(conditions, dimensions):
    shift = rotation(conditions, dimensions)
    assert shift.shape == (12, dimensions)
    assert shift.dtype == conditions.dtype
    assert ((shift >= 0) & (shift < 1)).all()


def test_rotated_points_are_uniform(conditions):
    points = rotated(sobol_points(2048, 3, seed=0), conditions).numpy()
    assert points.shape == (12, 2048, 3)
    assert ((points > 0) & (points < 1)).all()
    for draws in points.transpose(0, 2, 1).reshape(-1, 2048):
        # evenly spread, hence nearer to the distribution than independent draws would be
        assert kstest(draws, "uniform").statistic < 0.01
    assert np.abs(np.corrcoef(points[0].T) - np.eye(3)).max() < 0.02


def test_rotations_are_uniform_over_objects():
    shift = rotation(torch.randn(4000, 18, generator=torch.Generator().manual_seed(5)), 3).numpy()
    for column in shift.T:
        assert kstest(column, "uniform").pvalue > 1e-3
    assert np.abs(np.corrcoef(shift.T) - np.eye(3)).max() < 0.06


def test_objects_are_rotated_differently(conditions):
    shift = rotation(conditions, 3)
    assert not torch.isclose(shift[0], shift[1], atol=1e-3).any()
    one = conditions[:1].repeat(2, 1)
    one[1, 4] += 0.1  # one condition of five differs
    a, b = rotation(one, 3)
    assert not torch.isclose(a, b, atol=1e-3).any()


@settings(max_examples=30, deadline=None)
@given(step=st.floats(0, 1e-6), seed=st.integers(0, 99))
def test_rotation_is_continuous(step, seed):
    conditions = torch.randn(12, 18, generator=torch.Generator().manual_seed(seed)).double()
    change = (rotation(conditions + step, 3) - rotation(conditions, 3)).abs()
    change = torch.minimum(change, 1 - change)  # around the end of the cube
    assert change.max() <= 11 * 18 * step + 1e-12


def test_rotation_follows_the_object_not_its_row(conditions):
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(rotation(conditions[order], 3), rotation(conditions, 3)[order], rtol=0, atol=1e-6)
    torch.testing.assert_close(rotation(conditions[5:6], 3)[0], rotation(conditions, 3)[5], rtol=0, atol=1e-6)


def test_points_stay_off_the_edges():
    points = rotated(torch.tensor([[0.0, 1.0, 1 - 1e-9]]), torch.zeros(1, 2))
    assert ((points > 0) & (points < 1)).all()
    assert torch.isfinite(torch.special.ndtri(points)).all()
