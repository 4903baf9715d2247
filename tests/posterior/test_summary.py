import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterpost.posterior.summary import entropy, quantiles


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
