"""Draws for calibration: of the network and refined."""

import numpy as np
import pytest
import torch

from clusterpost.training.simulation import Simulator, seeded_generator
from clusterpost.validation import PosteriorSampler, sbc_ranks


@pytest.mark.parametrize("refine", [False, True])
def test_the_default_model_is_calibrated(refine):
    sampler = PosteriorSampler("any_bands", refine=refine)
    simulator = Simulator.of(sampler.model)
    result = sbc_ranks(sampler, simulator, n_mocks=400, n_draws=50, seed=3, progress=False)
    assert min(result.summary()["p_value"]) > 1e-4
    assert all(result.passes(0.999).values())


def test_draws_are_independent_and_inside_the_prior():
    sampler = PosteriorSampler("any_bands")
    simulator = Simulator.of(sampler.model)
    mocks = simulator.draw(6, seeded_generator(1, 2))
    draws = sampler(mocks, 200, seeded_generator(1, 3))
    assert draws.shape == (6, 200, 3)
    assert simulator.prior.inside(draws).all()
    order = np.corrcoef(np.arange(200), draws[0, :, 0].numpy())[0, 1]
    assert abs(order) < 0.3
    other = sampler(mocks, 200, seeded_generator(1, 4))
    assert not torch.equal(draws, other)
