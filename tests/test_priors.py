import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clusterpost.priors import PARAMETERS, BoxPrior, cluster_prior


def test_cluster_prior_is_that_of_the_paper():
    prior = cluster_prior()
    assert prior.names == PARAMETERS == ("log_age", "log_mass", "ebv")
    np.testing.assert_allclose(prior.low, [0.0, 2.0, 0.0])
    np.testing.assert_allclose(prior.high, [math.log10(13750), 8.0, 1.5], rtol=1e-6)


def test_samples_are_uniform_and_independent():
    prior = cluster_prior()
    draws = prior.sample(20_000, torch.Generator().manual_seed(1))
    assert draws.shape == (20_000, 3)
    unit = ((draws - prior.low) / (prior.high - prior.low)).numpy()
    for column in unit.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
        assert stats.kstest(column**1.05, "uniform").pvalue < 1e-3  # the test can fail
    assert np.abs(np.corrcoef(unit.T) - np.eye(3)).max() < 0.03


def test_log_prob_integrates_to_one():
    prior = BoxPrior([-1.0, 2.0], [0.5, 2.75], names=("a", "b"))
    a, b = torch.linspace(-2, 1, 601), torch.linspace(1, 4, 601)
    step = (a[1] - a[0]) * (b[1] - b[0])
    grid = torch.stack(torch.meshgrid(a + 1e-4, b + 1e-4, indexing="ij"), -1)
    assert prior.log_prob(grid).exp().sum() * step == pytest.approx(1, abs=0.01)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**20), n=st.integers(1, 50))
def test_every_draw_has_the_density_of_the_box(seed, n):
    prior = cluster_prior()
    draws = prior.sample(n, torch.Generator().manual_seed(seed))
    expected = -math.log(math.log10(13750) * 6 * 1.5)
    torch.testing.assert_close(prior.log_prob(draws), torch.full((n,), expected))


def test_bounds_count_as_inside_and_nothing_beyond():
    prior = cluster_prior()
    assert torch.isfinite(prior.log_prob(torch.stack([prior.low, prior.high]))).all()
    for index in range(3):
        for bound, sign in ((prior.low, -1), (prior.high, 1)):
            theta = (prior.low + prior.high) / 2
            theta[index] = bound[index] + sign * 1e-4
            assert prior.log_prob(theta) == -torch.inf


def test_same_seed_same_draws():
    one, two, other = (cluster_prior().sample(5, torch.Generator().manual_seed(s)) for s in (3, 3, 4))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("high", [[1.0, -1.0], [1.0, 0.0]])
def test_bounds_the_wrong_way_round_are_refused(high):
    with pytest.raises(ValueError, match="below its upper bound"):
        BoxPrior([0.0, 0.0], high, names=("a", "b"))
