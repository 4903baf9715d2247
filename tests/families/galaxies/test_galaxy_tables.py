"""Tables of galaxies: errors of mocks, no floor added to those of a catalog, and numbers of every inferred row."""

import numpy as np
import torch

import clusterpost
from clusterpost.families import get_family
from clusterpost.families.galaxies.errors import NSA_FLOORS
from clusterpost.observations import Observed
from clusterpost.posterior.refine import WeightedSamples
from clusterpost.posterior.target import Target
from clusterpost.provenance import AUTO, resolve_floor
from clusterpost.summarize import summarize


def test_mocks_have_errors_of_the_atlas():
    mocks = clusterpost.simulate(500, model="galaxies", seed=1)
    for band, floor in zip("ugriz", NSA_FLOORS, strict=True):
        sigma = 1.0857 * (mocks[f"{band}_SDSS_err"] / mocks[f"{band}_SDSS"]).value
        assert np.median(sigma) < 3 * floor
        assert np.quantile(sigma, 0.05) > 0.85 * floor  # relative to the noisy flux


def test_no_floor_is_added():
    assert resolve_floor(AUTO, get_family("galaxies")) == 0


def test_draws_beyond_the_prior_do_not_count():
    """Kernels may draw a negative share of stars, of which there is no metallicity; its weight is zero."""
    family = get_family("galaxies")()
    theta = family.prior.sample(64, torch.Generator().manual_seed(2))
    known = {"redshift": torch.tensor([0.05])}
    flux = torch.exp(family.simulate(theta[:1], known))
    observed = Observed(flux, 0.05 * flux, torch.ones_like(flux, dtype=torch.bool),
                        torch.zeros_like(flux, dtype=torch.bool), known)
    target = Target(observed, family.likelihood, family.prior)
    theta[1, 1:4] = torch.tensor([1.4, 1.5, -0.6])
    theta[1, 0] = torch.nan
    weight = torch.full((1, 64), 1 / 63)
    weight[0, 1] = 0.0
    density = target.log_density(theta[None])
    one = torch.ones(1)
    draws = WeightedSamples(theta[None], weight, density, one, one, 64 * one, torch.zeros(1, dtype=torch.int32))
    found = summarize(draws, target, [0.16, 0.5, 0.84], 3, family=family, ascend=True)
    means = {name: float(values[0]) for name, values in found.items() if name.endswith("_mean")}
    assert len(means) == 14
    assert all(np.isfinite(value) for value in means.values()), means
