import math
from copy import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from clusterpost.families.clusters.table import LN10, distance_term, load_table
from clusterpost.noise import get_noise
from clusterpost.posterior.ascent import ascend, choose_starts, find_map
from clusterpost.priors import cluster_prior

BANDS = ("F275W", "F336W", "F438W", "F555W", "F814W")
DISTANCE = torch.tensor(10.0)
PRIOR = cluster_prior()


class Mocks:
    """Clusters from the prior, a third at its edges, two to five bands each, and their exact density."""

    def __init__(self, n, noise, seed):
        generator = torch.Generator().manual_seed(seed)
        self.table, self.noise = load_table().select(BANDS), get_noise(noise)
        theta = PRIOR.sample(n, generator)
        theta[: n // 4, 2] = 0.0
        theta[n // 8 : n // 3, 0] = PRIOR.high[0]
        relative = 0.05 + 0.45 * torch.rand(n, 5, generator=generator)
        relative[::4] = 0.05
        self.flux, self.error = self.noise.sample(self.table.predict(theta, DISTANCE), relative, generator)
        rank = torch.rand(n, 5, generator=generator).argsort(1).argsort(1)
        self.measured = rank < torch.randint(2, 6, (n, 1), generator=generator)
        self.generator, self.evaluations = generator, 0

    def log_density(self, theta):
        self.evaluations += theta.shape[1]
        ln_flux = self.table.predict(theta, DISTANCE)
        density = self.noise.log_prob(self.flux[:, None], self.error[:, None], ln_flux)
        return torch.where(self.measured[:, None], density, 0.0).sum(-1) + PRIOR.log_prob(theta)

    def grid(self, n_ebv=76, rows=20):
        """The best point of a fine grid, the mass chosen analytically; and broad draws about the good points."""
        age, ebv = torch.meshgrid(self.table.log_age, torch.linspace(0, 1.5, n_ebv), indexing="ij")
        age, ebv = age.reshape(-1), ebv.reshape(-1)
        ln_unit = (self.table.ln_flux(age, ebv) + distance_term(DISTANCE)).double()
        best, draws = [], []
        for at in torch.arange(len(self.flux)).split(rows):
            misfit, ln_mass = self.misfit(at, ln_unit)
            index = misfit.argmin(1)
            best.append(torch.stack([age[index], ln_mass.gather(1, index[:, None])[:, 0] / LN10, ebv[index]], 1))
            share = torch.softmax(-0.35 * misfit, 1).cumsum(1)
            pick = torch.rand(len(at), 1000, generator=self.generator, dtype=share.dtype)
            pick = torch.searchsorted(share, pick).clamp(max=len(age) - 1)
            theta = torch.stack([age[pick], ln_mass.gather(1, pick) / LN10, ebv[pick]], -1).float()
            draws.append(theta + torch.tensor([0.02, 0.03, 0.02]) * torch.randn(theta.shape, generator=self.generator))
        best, draws = torch.cat(best).float(), torch.cat(draws)
        return best, torch.minimum(torch.maximum(draws, PRIOR.low), PRIOR.high)

    def misfit(self, at, ln_unit):
        """Sum of squared residuals at the best mass, and that mass, (rows, points)."""
        measured = self.measured[at].double()
        flux, error = self.flux[at].double(), self.error[at].double()
        low, high = 2 * LN10, 8 * LN10
        if self.noise.name == "lognormal":
            variance = torch.log1p((error / flux) ** 2)
            data, w = flux.log() + variance / 2, measured / variance
            total = w.sum(1, keepdim=True)
            ln_mass = (((w * data).sum(1, keepdim=True) - w @ ln_unit.T) / total).clamp(low, high)
            square = (w * data**2).sum(1, keepdim=True) - 2 * (w * data) @ ln_unit.T + w @ (ln_unit**2).T
            linear = (w * data).sum(1, keepdim=True) - w @ ln_unit.T
            return square - 2 * ln_mass * linear + ln_mass**2 * total, ln_mass
        unit, w = ln_unit.exp(), measured / error**2
        linear, square = (w * flux) @ unit.T, w @ (unit**2).T
        mass = (linear / square).clamp(math.exp(low), math.exp(high))
        return (w * flux**2).sum(1, keepdim=True) - 2 * mass * linear + mass**2 * square, mass.log()

    def chi2(self, theta):
        predicted = self.table.predict(theta, DISTANCE).exp()
        return torch.where(self.measured, ((predicted - self.flux) / self.error) ** 2, 0.0).sum(-1)


@pytest.fixture(scope="module", params=["lognormal", "normal"])
def judged(request):
    mocks = Mocks(100, request.param, seed=7)
    best, draws = mocks.grid()
    return mocks, best, draws


def test_never_below_the_fine_grid(judged):
    mocks, grid, draws = judged
    at_grid = mocks.log_density(grid[:, None])[:, 0]
    value = mocks.log_density(draws)
    mocks.evaluations = 0
    theta, found = find_map(mocks.log_density, draws, value, PRIOR.low, PRIOR.high)
    assert mocks.evaluations < 2600
    assert (grid[:, 2] == 0).sum() > 5
    assert (grid[:, 0] == PRIOR.high[0]).sum() > 5
    # what is tested here can fail: draws alone do, and so do starts that do not climb
    assert (value.amax(1) < at_grid - 0.005).float().mean() > 0.3
    assert (found >= value.amax(1)).all()
    assert (found >= at_grid - 0.005).all()
    torch.testing.assert_close(mocks.log_density(theta[:, None])[:, 0], found, rtol=1e-5, atol=1e-4)
    if mocks.noise.name == "normal":
        assert (mocks.chi2(theta) <= mocks.chi2(grid) + 0.01).all()


def test_an_ascent_that_stops_at_its_start_fails(judged):
    mocks, grid, draws = judged
    at_grid = mocks.log_density(grid[:, None])[:, 0]
    start, value, covariance = choose_starts(draws, mocks.log_density(draws))
    _, found = ascend(mocks.log_density, start, PRIOR.low, PRIOR.high, covariance, schedule=((), ()))
    assert torch.equal(found, value.amax(1))
    assert (found < at_grid - 0.005).any()


def gaussian(mean, covariance):
    precision = torch.linalg.inv(covariance)

    def log_density(theta):
        apart = theta - mean
        density = -0.5 * torch.einsum("...i,ij,...j->...", apart, precision, apart)
        return torch.where(((theta >= 0) & (theta <= 1)).all(-1), density, -torch.inf)

    return log_density, precision


@given(st.integers(0, 10_000), st.floats(0.0, 0.97), st.floats(-0.6, 0.6))
@settings(deadline=None, max_examples=15)
def test_a_correlated_gaussian_whose_peak_may_lie_outside_the_box(seed, correlation, shift):
    generator = torch.Generator().manual_seed(seed)
    width = 0.02 + 0.3 * torch.rand(3, generator=generator, dtype=torch.float64)
    sign = torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)
    corr = correlation * sign[:, None] * sign + (1 - correlation) * torch.eye(3, dtype=torch.float64)
    mean = torch.tensor([0.5 + shift, 0.5, 0.5 - shift], dtype=torch.float64)
    log_density, precision = gaussian(mean, corr * width[:, None] * width)
    low, high = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    draws = torch.rand(1, 1000, 3, generator=generator, dtype=torch.float64)
    _, found = find_map(log_density, draws, log_density(draws), low, high)
    exact = max(
        -minimize(lambda x: 0.5 * (x - mean.numpy()) @ precision.numpy() @ (x - mean.numpy()), x0,
                  jac=lambda x: precision.numpy() @ (x - mean.numpy()), bounds=[(0, 1)] * 3, method="L-BFGS-B",
                  options={"ftol": 1e-14, "gtol": 1e-10}).fun
        for x0 in (mean.clamp(0, 1).numpy(), draws[0, 0].numpy())
    )
    assert found.item() == pytest.approx(exact, abs=0.005)


def test_a_ridge_with_kinks():
    """As from a table that is interpolated linearly: no derivative along the ridge."""
    def log_density(theta):
        x, y = theta.unbind(-1)
        return -30 * (x - 0.37).abs() - ((y - x**2) / 0.01) ** 2

    draws = torch.rand(5, 2000, 2, generator=torch.Generator().manual_seed(1))
    theta, found = find_map(log_density, draws, log_density(draws), torch.zeros(2), torch.ones(2))
    assert (found > -0.05).all()
    torch.testing.assert_close(theta, torch.tensor([0.37, 0.1369]).expand(5, 2), atol=0.002, rtol=0)


def test_a_narrow_peak_beside_a_broad_one():
    def log_density(theta):
        broad = -0.5 * ((theta - 0.3) / 0.2).square().sum(-1)
        narrow = 1.0 - 0.5 * ((theta - 0.8) / 0.02).square().sum(-1)
        return torch.logaddexp(broad, narrow)

    draws = torch.rand(8, 3000, 3, generator=torch.Generator().manual_seed(2))
    theta, _ = find_map(log_density, draws, log_density(draws), torch.zeros(3), torch.ones(3))
    torch.testing.assert_close(theta, torch.full((8, 3), 0.8), atol=0.002, rtol=0)
    # one start in the wrong place stays there
    eye = 0.01 * torch.eye(3).expand(8, 1, 3, 3)
    alone, _ = ascend(log_density, torch.full((8, 1, 3), 0.3), torch.zeros(3), torch.ones(3), eye)
    assert (alone < 0.5).all()


@pytest.mark.parametrize("n_samples", [1, 2, 7, 40, 257])
def test_few_draws(n_samples):
    log_density, _ = gaussian(torch.full((3,), 0.4), 0.01 * torch.eye(3))
    draws = torch.rand(2, n_samples, 3, generator=torch.Generator().manual_seed(3))
    theta, found = find_map(log_density, draws, log_density(draws), torch.zeros(3), torch.ones(3))
    assert (found >= log_density(draws).amax(1)).all()
    if n_samples > 7:
        torch.testing.assert_close(theta, torch.full((2, 3), 0.4), atol=0.01, rtol=0)


def test_draws_outside_the_support_harm_nobody():
    log_density, _ = gaussian(torch.full((3,), 0.4), 0.01 * torch.eye(3))
    draws = torch.rand(3, 400, 3, generator=torch.Generator().manual_seed(4))
    draws[0, 10:] += 5.0
    draws[1] += 5.0
    with_nan = log_density(draws)
    with_nan[1, :50] = torch.nan
    theta, found = find_map(log_density, draws, with_nan, torch.zeros(3), torch.ones(3))
    torch.testing.assert_close(theta[[0, 2]], torch.full((2, 3), 0.4), atol=0.01, rtol=0)
    assert not torch.isnan(found).any()


def test_the_batch_does_not_matter(judged):
    mocks, _, draws = judged

    def found(rows):
        part = copy(mocks)
        part.flux, part.error, part.measured = mocks.flux[rows], mocks.error[rows], mocks.measured[rows]
        return find_map(part.log_density, draws[rows], part.log_density(draws[rows]), PRIOR.low, PRIOR.high)[1]

    torch.testing.assert_close(found(slice(5, 8)), found(slice(0, 10))[5:8], atol=1e-3, rtol=0)


def test_starts_are_spread_over_the_first_parameter():
    draws = torch.rand(4, 1000, 3, generator=torch.Generator().manual_seed(5))
    value = -draws.square().sum(-1)
    start, best, covariance = choose_starts(draws, value, 16)
    assert start.shape == (4, 16, 3)
    assert covariance.shape == (4, 16, 3, 3)
    assert (start[..., 0].diff(dim=1) > 0).all()
    assert torch.equal(best.amax(1), value.amax(1))
    torch.testing.assert_close(-start.square().sum(-1), best)
