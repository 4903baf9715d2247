import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterpost.posterior.summary import entropy, mean, quantiles


@given(st.integers(1, 60), st.integers(0, 1000), st.lists(st.floats(0.001, 0.999), min_size=1, max_size=5))
@settings(deadline=None, max_examples=50)
def test_quantiles_are_those_of_numpy(n_samples, seed, levels):
    draws = torch.randn(3, n_samples, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected = np.quantile(draws.numpy(), levels, axis=1).T
    np.testing.assert_allclose(quantiles(draws, levels).numpy(), expected, rtol=1e-12, atol=1e-12)


def test_quantiles_of_float32_and_at_the_ends():
    draws = torch.tensor([[3.0, 1.0, 2.0]])
    assert quantiles(draws, (0.0, 0.5, 1.0)).tolist() == [[1.0, 2.0, 3.0]]
    assert quantiles(draws, (0.25,)).dtype == torch.float32


def test_draws_stay_as_they_are():
    draws = torch.tensor([[3.0, 1.0, 2.0]])
    quantiles(draws, (0.5,))
    assert draws.tolist() == [[3.0, 1.0, 2.0]]


@pytest.mark.parametrize("sigma", [0.1, 1.0, 5.0])
def test_entropy_of_a_gaussian(sigma):
    z = torch.randn(2, 20_000, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    log_q = -0.5 * (z**2).sum(-1) - 1.5 * math.log(2 * math.pi) - 3 * math.log(sigma)
    known = 1.5 * math.log(2 * math.pi * math.e) + 3 * math.log(sigma)
    # -log q scatters by sqrt(3/2)
    np.testing.assert_allclose(entropy(log_q).numpy(), known, atol=5 * math.sqrt(1.5 / 20_000))


@given(st.integers(1, 60), st.integers(0, 1000), st.lists(st.floats(0.001, 0.999), min_size=1, max_size=5))
@settings(deadline=None, max_examples=50)
def test_equal_weights_change_nothing(n_samples, seed, levels):
    draws = torch.randn(3, n_samples, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    weighted = quantiles(draws, levels, weight=torch.full_like(draws, 0.7))
    np.testing.assert_allclose(weighted, quantiles(draws, levels), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(entropy(draws, torch.full_like(draws, 0.7)), entropy(draws), atol=1e-12)


@given(st.integers(0, 1000), st.floats(0.01, 100))
@settings(deadline=None, max_examples=30)
def test_weighted_quantiles_know_neither_order_nor_scale_nor_draws_of_no_weight(seed, factor):
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randn(2, 40, generator=generator)
    weight = torch.rand(2, 40, generator=generator)
    levels = (0.03, 0.5, 0.9)
    expected = quantiles(draws, levels, weight)
    order = torch.randperm(40, generator=generator)
    torch.testing.assert_close(quantiles(draws[:, order], levels, weight[:, order] * factor), expected)
    far = torch.tensor([[-1e6, torch.inf, 1e6]]).expand(2, 3)
    more = torch.cat([draws, far], 1)[:, torch.randperm(43, generator=generator)]
    more_weight = torch.where(more.abs() > 1e5, 0.0, 1.0)
    assert torch.equal(quantiles(more, levels, more_weight).isfinite(), torch.ones(2, 3, dtype=torch.bool))
    at = torch.cat([draws, far], 1), torch.cat([weight, torch.zeros(2, 3)], 1)
    torch.testing.assert_close(quantiles(at[0], levels, at[1]), expected)
    torch.testing.assert_close(mean(*at), mean(draws, weight))


def test_weighted_quantiles_of_a_reweighted_gaussian():
    """Draws of width 1.5 about 0.3, weighted to the standard normal."""
    z = 0.3 + 1.5 * torch.randn(4, 40_000, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    weight = torch.exp(-0.5 * z**2 + 0.5 * ((z - 0.3) / 1.5) ** 2)
    found = quantiles(z, (0.16, 0.5, 0.84), weight)
    np.testing.assert_allclose(found, [[-0.99446, 0, 0.99446]] * 4, atol=0.03)
    assert (quantiles(z, (0.84,)) > 1.5).all()
    np.testing.assert_allclose(mean(z, weight), 0, atol=0.03)
    log_density = -0.5 * z**2 - 0.5 * math.log(2 * math.pi)
    np.testing.assert_allclose(entropy(log_density, weight), 0.5 * math.log(2 * math.pi * math.e), atol=0.03)


def test_all_weight_on_few_draws():
    draws = torch.tensor([[5.0, 1.0, 3.0, 2.0]])
    assert quantiles(draws, (0.1, 0.9), torch.tensor([[0.0, 0.0, 1.0, 0.0]])).tolist() == [[3.0, 3.0]]
    two = quantiles(draws, (0.0, 0.5, 1.0), torch.tensor([[1.0, 0.0, 1.0, 0.0]]))
    assert two.tolist() == [[3.0, 4.0, 5.0]]
    assert torch.isnan(quantiles(draws, (0.5,), torch.zeros(1, 4))).all()
    tiny = torch.tensor([[1e-30, 1e-35, 1.0, 1e-38]])
    assert torch.isfinite(quantiles(draws, (0.1, 0.5, 0.9), tiny)).all()


def test_entropy_of_draws_outside_the_prior():
    log_density = torch.tensor([[-1.0, -torch.inf, -3.0]])
    assert entropy(log_density, torch.tensor([[0.25, 0.0, 0.75]])).item() == pytest.approx(2.5)
