import math

import numpy as np
import pytest
import torch
from brute import mocks
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clusterpost.errors import InputError
from clusterpost.families.clusters.likelihood import ClusterLikelihood
from clusterpost.families.clusters.table import load_table
from clusterpost.noise import NOISE_MODELS, get_noise
from clusterpost.observations import Observed
from clusterpost.posterior.target import Target
from clusterpost.priors import BoxPrior, ProductPrior, cluster_prior


def around(theta, k=7, seed=1, width=0.1):
    generator = torch.Generator().manual_seed(seed)
    points = theta[:, None] + width * torch.randn(len(theta), k, 3, generator=generator, dtype=theta.dtype)
    prior = cluster_prior()
    return torch.minimum(torch.maximum(points, prior.low.to(points)), prior.high.to(points))


def test_likelihood_is_the_product_over_bands_and_limits():
    theta, observed, table = mocks(3, dtype=torch.float64)
    observed.measured[1, 2] = False
    observed.measured[2, 0], observed.limit[2, 0] = False, True
    points = around(theta)
    got = Target(observed, ClusterLikelihood(table, get_noise("lognormal")), None).log_likelihood(points)
    ln_flux = table.predict(points, observed.covariates["distance"][:, None]).numpy()
    for i in range(3):
        expected = 0.0
        for band in range(8):
            f, e = observed.flux[i, band].item(), observed.error[i, band].item()
            if observed.measured[i, band]:
                s = math.sqrt(math.log1p((e / f) ** 2))
                expected = expected + stats.norm.logpdf(math.log(f), ln_flux[i, :, band] - s**2 / 2, s)
            if observed.limit[i, band]:
                expected = expected + stats.norm.logcdf((f - np.exp(ln_flux[i, :, band])) / e)
        np.testing.assert_allclose(got[i], expected, rtol=1e-9)


@settings(deadline=None, max_examples=30)
@given(filler=st.floats(1e-3, 1e3), name=st.sampled_from(sorted(NOISE_MODELS)))
def test_a_band_without_a_measurement_does_not_matter(filler, name):
    theta, observed, table = mocks(2)
    points = around(theta)
    one = Target(observed, ClusterLikelihood(table, get_noise(name)), None)
    other = observed[:]
    other.flux = torch.where(observed.measured, observed.flux, filler)
    other.error = torch.where(observed.measured, observed.error, 0.3 * filler)
    two = Target(other, ClusterLikelihood(table, get_noise(name)), None)
    for method in ("log_likelihood", "log_density", "chi2", "pull2"):
        assert torch.equal(getattr(one, method)(points), getattr(two, method)(points))


@settings(deadline=None, max_examples=30)
@given(dex=st.floats(-1.5, 1.5), mpc=st.floats(0.1, 1000))
def test_brightness_and_distance_move_the_mass_and_nothing_else(dex, mpc):
    theta, observed, table = mocks(3, dtype=torch.float64)
    points = around(theta)
    other = observed[:]
    other.flux, other.error = observed.flux * 10**dex, observed.error * 10**dex
    other.covariates["distance"] = torch.full_like(observed.covariates["distance"], mpc)
    moved = points.clone()
    moved[..., 1] += dex + 2 * torch.log10(other.covariates["distance"] / observed.covariates["distance"])[:, None]
    args = (ClusterLikelihood(table, get_noise("lognormal")), None)
    one, two = Target(observed, *args), Target(other, *args)
    torch.testing.assert_close(one.log_likelihood(points), two.log_likelihood(moved), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(one.pull2(points), two.pull2(moved), rtol=1e-9, atol=1e-9)


def test_a_farther_cluster_is_a_heavier_one():
    theta, observed, table = mocks(3, dtype=torch.float64)
    target, points = Target(observed, ClusterLikelihood(table, get_noise("normal")), None), around(theta)
    shift = torch.linspace(-0.2, 0.2, 7, dtype=torch.float64).expand(3, 7)
    heavier = points.clone()
    heavier[..., 1] -= 2 * shift / math.log(10)
    torch.testing.assert_close(target.log_likelihood(points, shift), target.log_likelihood(heavier))
    assert not torch.allclose(target.log_likelihood(points, shift), target.log_likelihood(points))


def test_prior_is_added_and_nothing_is_outside_it():
    theta, observed, table = mocks(4)
    points = around(theta)
    target = Target(observed, ClusterLikelihood(table, get_noise("lognormal")), None)
    by_function = Target(observed, ClusterLikelihood(table, get_noise("lognormal")), lambda theta: -theta[..., 2] / 0.3)
    flat = cluster_prior().log_prob(points)
    torch.testing.assert_close(target.log_density(points), target.log_likelihood(points) + flat)
    torch.testing.assert_close(by_function.log_density(points),
                               target.log_likelihood(points) - points[..., 2] / 0.3)
    points[..., 2] = 1.6
    assert torch.isneginf(target.log_density(points)).all()
    assert torch.isneginf(by_function.log_density(points)).all()


def test_chi2_is_that_of_the_paper():
    theta, observed, table = mocks(2, dtype=torch.float64)
    points = around(theta)
    flux = torch.exp(table.predict(points, observed.covariates["distance"][:, None]))[..., :5]
    expected = (((flux - observed.flux[:, None, :5]) / observed.error[:, None, :5]) ** 2).sum(-1)
    likelihood = ClusterLikelihood(table, get_noise("lognormal"))
    torch.testing.assert_close(Target(observed, likelihood, None).chi2(points), expected)
    likelihood = ClusterLikelihood(table, get_noise("normal"))
    torch.testing.assert_close(Target(observed, likelihood, None).pull2(points), expected)


@pytest.mark.parametrize("name", list(NOISE_MODELS))
@pytest.mark.parametrize("n_bands", [2, 5])
def test_residuals_of_the_truth_are_chi_square_distributed(name, n_bands):
    theta, observed, table = mocks(4000, name, n_bands=n_bands, seed=3)
    target = Target(observed, ClusterLikelihood(table, get_noise(name)), None)
    pull2 = target.pull2(theta[:, None])[:, 0]
    assert stats.kstest(pull2.numpy(), stats.chi2(n_bands).cdf).pvalue > 1e-3
    assert stats.kstest(1.2 * pull2.numpy(), stats.chi2(n_bands).cdf).pvalue < 1e-3
    assert (observed.n_measured == n_bands).all()


def test_rows_are_taken_by_index_slice_and_mask():
    theta, observed, table = mocks(6)
    target, points = Target(observed, ClusterLikelihood(table, get_noise("lognormal")), None), around(theta)
    whole = target.log_density(points)
    mask = torch.tensor([True, False, True, False, False, True])
    for rows in (slice(1, 4), mask, torch.tensor([5, 0])):
        assert torch.equal(target[rows].log_density(points[rows]), whole[rows])
    assert torch.equal(target[-1].log_density(points[-1:]), whole[-1:])
    assert len(target[2]) == len(observed[2]) == 1


def test_precision_can_be_changed_and_masks_stay_masks():
    _, observed, _ = mocks(2)
    double = observed.to("cpu", torch.float64)
    assert double.flux.dtype == double.covariates["distance"].dtype == torch.float64
    assert double.measured.dtype == torch.bool
    assert isinstance(double, Observed)


def test_a_flux_that_the_noise_model_cannot_take_is_named():
    _, observed, table = mocks(3)
    observed.flux[1, 2] = -0.5
    with pytest.raises(InputError, match=r"cannot describe the flux -0.5 mJy in row 1, band F438W.*noise='normal'"):
        Target(observed, ClusterLikelihood(table, get_noise("lognormal")), None)
    assert len(Target(observed, ClusterLikelihood(table, get_noise("normal")), None)) == 3
    observed.measured[1, 2] = False
    assert len(Target(observed, ClusterLikelihood(table, get_noise("lognormal")), None)) == 3


@pytest.mark.parametrize(("prior", "name"), [
    (BoxPrior([-1.0, 2.0, 0.0], [4.0, 8.0, 1.5]), "log_age"),
    (BoxPrior([0.0, 2.0, 0.0], [4.0, 8.0, 2.5]), "ebv"),
])
def test_a_prior_beyond_the_table_is_refused(prior, name):
    _, observed, table = mocks(1)
    with pytest.raises(InputError, match=f"prior of {name} covers .* the band-flux table"):
        Target(observed, ClusterLikelihood(table, get_noise("lognormal")), prior)
    assert len(Target(observed, ClusterLikelihood(table, get_noise("lognormal")), ProductPrior())) == 1


def test_bands_may_be_any():
    theta, observed, _ = mocks(2)
    table = load_table().select(["F336W", "F814W"])
    two = Observed(*(getattr(observed, name)[:, [1, 4]] for name in ("flux", "error", "measured", "limit")),
                   observed.covariates)
    likelihood = ClusterLikelihood(table, get_noise("lognormal"))
    assert torch.isfinite(Target(two, likelihood, None).log_density(around(theta))).all()


@pytest.mark.parametrize("name", ["normal", "lognormal"])
def test_an_uncertain_distance_is_integrated_over(name):
    """Against a dense sum over the distance: noisy fluxes and a limit, where few nodes would not do."""
    theta, observed, table = mocks(4, name, seed=2, error=(0.2, 0.3), dtype=torch.float64)
    observed.measured[:2, 0], observed.limit[:2, 0] = False, True
    points = around(theta, k=9, width=0.1)
    target = Target(observed, ClusterLikelihood(table, get_noise(name)), cluster_prior(distance_error=0.1))
    shift = torch.linspace(-0.7, 0.7, 1001, dtype=torch.float64)
    density = torch.stack([target.log_likelihood(points, one.expand(points.shape[:2])) for one in shift])
    density = density + (-0.5 * (shift / 0.1) ** 2 - math.log(0.1 * math.sqrt(2 * math.pi)))[:, None, None]
    exact = torch.logsumexp(density, 0) + math.log(1.4 / 1000)
    near = exact > exact.amax(1, keepdim=True) - 6
    torch.testing.assert_close(target.log_likelihood(points)[near], exact[near], rtol=0, atol=0.005)
