import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, truncnorm

from clusterpost.bands import ACS_BANDS, WFC3_BANDS
from clusterpost.errors import InputError
from clusterpost.families.clusters import exact_grid as grid_module
from clusterpost.families.clusters.dense import cell_quantiles
from clusterpost.families.clusters.exact_grid import ExactGrid
from clusterpost.families.clusters.likelihood import ClusterLikelihood
from clusterpost.families.clusters.table import BandFluxTable, load_table
from clusterpost.families.clusters.truncated import cut_entropy, cut_mean, cut_sample, interval, log_interval
from clusterpost.noise import get_noise
from clusterpost.observations import Observed
from clusterpost.posterior.target import Target
from clusterpost.posterior.trees import sample_by_cells
from clusterpost.priors import Exponential, Normal, PowerLaw, ProductPrior, cluster_prior

EIGHT = (*WFC3_BANDS, *ACS_BANDS)

NOISE = get_noise("lognormal")
LEVELS = (0.16, 0.5, 0.84)
DOUBLE = torch.float64


@pytest.fixture(scope="module")
def table():
    return load_table().select(list(EIGHT))


@pytest.fixture(scope="module")
def full(table):
    """The default grid."""
    return ExactGrid(table)


@pytest.fixture(scope="module")
def small(table):
    """A grid that builds and runs fast."""
    return ExactGrid(table, n_age=230, n_ebv=50)


def observe(table, theta, relative, distance=10.0, measured=None, seed=0):
    """Mock observations of clusters with these parameters."""
    theta = torch.as_tensor(theta, dtype=DOUBLE).reshape(-1, 3)
    n, n_band = len(theta), len(table.bands)
    mpc = torch.full((n,), float(distance), dtype=DOUBLE)
    ln_flux = table.to(dtype=DOUBLE).predict(theta, mpc)
    relative = torch.as_tensor(relative, dtype=DOUBLE).expand(n, n_band)
    flux, error = NOISE.sample(ln_flux, relative, torch.Generator().manual_seed(seed))
    seen = torch.ones(n, n_band, dtype=torch.bool)
    if measured is not None:
        seen = torch.as_tensor(measured).expand(n, n_band)
    return Observed(flux, error, seen, torch.zeros(n, n_band, dtype=torch.bool), {"distance": mpc})


def draw_mocks(table, n, relative, seed=0):
    generator = torch.Generator().manual_seed(seed)
    theta = cluster_prior().sample(n, generator)
    low, high = relative
    errors = torch.empty(n, len(table.bands)).uniform_(low, high, generator=generator)
    return observe(table, theta, errors, seed=seed + 1)


def bands_seen(*names):
    return [band in names for band in EIGHT]


FIVE = bands_seen("F275W", "F336W", "F438W", "F555W", "F814W")


def brute_force(table, observed, prior, n_age=207, n_mass=240, n_ebv=75):
    """Quantiles and ln evidence of one object by summing the density over a three-dimensional grid."""
    table = table.to(dtype=DOUBLE)
    low, high = prior.low.double(), prior.high.double()
    middles = [(torch.arange(n, dtype=DOUBLE) + 0.5) / n * (high[i] - low[i]) + low[i]
               for i, n in enumerate((n_age, n_mass, n_ebv))]
    density = torch.empty(n_age, n_mass, n_ebv, dtype=DOUBLE)
    mass, ebv = torch.meshgrid(middles[1], middles[2], indexing="ij")
    seen = observed.measured[0]
    flux, error = observed.flux[0, seen].double(), observed.error[0, seen].double()
    for i, log_age in enumerate(middles[0]):
        theta = torch.stack([log_age.expand_as(mass), mass, ebv], -1)
        ln_flux = table.predict(theta[0], observed.covariates["distance"][:1].double())[:, seen]  # of the first mass
        ln_flux = ln_flux + math.log(10) * (middles[1] - middles[1][0])[:, None, None]
        density[i] = NOISE.log_prob(flux, error, ln_flux).sum(-1) + prior.log_prob(theta)
    top = density.amax()
    weight = torch.exp(density - top)
    log_evidence = top + torch.log(weight.sum()) + sum(torch.log(x[1] - x[0]) for x in middles)
    result = []
    surviving = torch.log10(table.surviving_mass(middles[0]))[:, None]
    parts = (torch.arange(8, dtype=DOUBLE) / 8 - 7 / 16) * (middles[1][1] - middles[1][0])  # of a cell of mass
    stellar = (middles[1][:, None] + parts + surviving[..., None]).reshape(-1)
    for axis, x in enumerate(middles):
        marginal = weight.sum([a for a in range(3) if a != axis])
        edges = np.append(x - (x[1] - x[0]) / 2, x[-1] + (x[1] - x[0]) / 2)
        cdf = np.append(0, marginal.cumsum(0)) / marginal.sum().item()
        result.append(np.interp(LEVELS, cdf, edges))
    order = stellar.argsort()
    cdf = weight.sum(2)[..., None].expand(-1, -1, 8).reshape(-1)[order].cumsum(0)
    result.append(np.interp(LEVELS, cdf / cdf[-1], stellar[order]))
    return np.array(result), log_evidence.item()


def half_widths(quantiles):
    return (quantiles[..., 2:] - quantiles[..., :1]) / 2


CASES = {
    "eight bands": ([3.5, 5.0, 0.1], 0.25, [True] * 8, None),
    "two bands": ([2.0, 5.0, 0.4], 0.3, bands_seen("F438W", "F814W_ACS"), None),
    "one band": ([2.0, 5.0, 0.4], 0.4, bands_seen("F555W"), None),
    "at the largest mass": ([2.5, 7.95, 0.6], 0.4, FIVE, None),
    "below the least mass": ([0.6, 1.2, 0.05], 0.4, FIVE, None),
    "another prior": ([1.0, 3.0, 0.3], 0.4, FIVE,
                      ProductPrior(log_age=Normal(1.5, 0.5), log_mass=PowerLaw(-2), ebv=Exponential(0.2))),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_brute_force(table, full, case):
    theta, relative, measured, prior = CASES[case]
    exact = ExactGrid(table, prior) if prior else full
    observed = observe(table, theta, relative, measured=measured, seed=3)
    expected, log_evidence = brute_force(table, observed, exact.prior)
    found = exact.summarize(observed, LEVELS)
    difference = np.abs(found.quantiles[0].numpy() - expected) / half_widths(expected)
    assert difference.max() < 0.02
    assert found.log_evidence[0].item() == pytest.approx(log_evidence, abs=0.01)


@pytest.mark.parametrize("relative", [0.001, 0.01, 0.05, 0.3])
def test_draws_and_evidence_are_those_of_the_target(table, full, relative):
    """Draws from cells, weighted by the exact density over their own, have the same evidence, means, and entropy."""
    observed = observe(table, [[0.9, 4.0, 0.3], [1.75, 5.0, 0.02], [3.4, 6.0, 0.5]], relative, measured=FIVE)
    unit = torch.quasirandom.SobolEngine(3, scramble=True, seed=1).draw(1024)
    summary = full.summarize(observed, LEVELS, unit)
    target = Target(observed, ClusterLikelihood(table.to(dtype=DOUBLE), NOISE), cluster_prior())
    weighted = sample_by_cells(target, n_samples=1000, seed=1, target_ess=3000)
    torch.testing.assert_close(weighted.log_evidence, summary.log_evidence, rtol=0, atol=0.04)
    half = half_widths(summary.quantiles)[:, :3, 0]
    assert ((summary.theta.mean(1) - summary.mean).abs() / half).max() < 0.05
    # the entropy is the mean of -ln p
    log_posterior = target.log_density(summary.theta) - summary.log_evidence[:, None]
    torch.testing.assert_close(-log_posterior.mean(1), summary.entropy, rtol=0, atol=0.04)


def test_a_shifted_table_is_noticed(table):
    """Negative control: fluxes off by 5 % in one band show in quantiles and in the weights of draws."""
    wrong = BandFluxTable(table.log_age, table.ebv, table.ln_flux_nodes + 0.05 * (torch.arange(8) == 0),
                          table.surviving_nodes, table.header)
    observed = observe(table, [[1.2, 4.0, 0.3], [2.5, 5.0, 0.2]], 0.1, measured=FIVE)
    right, off = (ExactGrid(t, n_age=345, n_ebv=75).summarize(observed, LEVELS) for t in (table, wrong))
    difference = (right.quantiles - off.quantiles).abs() / half_widths(right.quantiles)
    assert (difference.amax((1, 2)) > 0.1).all()
    assert ((right.log_evidence - off.log_evidence).abs() > 0.03).all()


@pytest.mark.slow
@pytest.mark.parametrize(("relative", "n"), [((0.05, 0.3), 3), ((0.05, 0.08), 6)])
def test_the_grid_is_fine_enough(table, relative, n):
    """Against division of cells until nothing changes, which shares no code with the dense grid."""
    five = table.select([b for b, seen in zip(EIGHT, FIVE, strict=True) if seen])
    observed = draw_mocks(five, n, relative, seed=5)
    found = ExactGrid(five).summarize(observed, LEVELS)
    exact = ExactGrid(five)
    for grid in exact.grids:
        grid.least_cells = torch.inf
    exact = exact.summarize(observed, LEVELS)
    assert exact.divided.all()
    assert not found.divided.all()
    difference = (found.quantiles - exact.quantiles).abs() / half_widths(exact.quantiles)
    assert difference.quantile(0.95) < 0.01
    assert ((found.mean - exact.mean).abs() / half_widths(exact.quantiles)[:, :3, 0]).max() < 0.02
    torch.testing.assert_close(found.entropy, exact.entropy, rtol=0, atol=0.01)
    torch.testing.assert_close(found.log_evidence, exact.log_evidence, rtol=0, atol=0.01)


def test_a_sharp_posterior_holds_the_truth(table, full):
    """S/N of a thousand: the division of cells finds modes far narrower than a cell of the grid."""
    theta = torch.tensor([[0.83, 3.7, 0.212], [2.31, 4.4, 0.043], [3.87, 5.5, 0.9], [1.53, 4.0, 0.0]], dtype=DOUBLE)
    summary = full.summarize(observe(table, theta, 1e-3), (0.001, 0.5, 0.999))
    assert summary.divided.all()
    low, high = summary.quantiles[:, :3, 0], summary.quantiles[:, :3, 2]
    assert ((low <= theta + 1e-4) & (theta - 1e-4 <= high)).all()
    assert (high - low)[:, 2].max() < 0.02


def test_a_missing_band_is_a_table_without_it(table, small):
    measured = bands_seen("F275W", "F438W", "F814W_ACS")
    observed = observe(table, [[1.0, 4.0, 0.2], [3.0, 5.0, 0.1]], 0.2, measured=measured)
    kept = torch.tensor(measured)
    junk = replace(observed, flux=torch.where(kept, observed.flux, 1.0), error=torch.where(kept, observed.error, -1.0))
    columns = ("flux", "error", "measured", "limit")
    less = replace(observed, **{name: getattr(observed, name)[:, kept] for name in columns})
    a = small.summarize(junk, LEVELS)
    three = ExactGrid(table.select([b for b, seen in zip(EIGHT, measured, strict=True) if seen]), n_age=230, n_ebv=50)
    b = three.summarize(less, LEVELS)
    torch.testing.assert_close(a.quantiles, b.quantiles, rtol=0, atol=1e-4)
    torch.testing.assert_close(a.log_evidence, b.log_evidence, rtol=0, atol=1e-3)


@settings(max_examples=15, deadline=None)
@given(log_factor=st.floats(-1.2, 1.2), seed=st.integers(0, 100))
def test_brightness_moves_the_mass_alone(table, small, log_factor, seed):
    observed = observe(table, [1.5, 5.0, 0.3], 0.15, measured=FIVE, seed=seed)
    factor = 10**log_factor
    brighter = replace(observed, flux=observed.flux * factor, error=observed.error * factor)
    farther = replace(observed, covariates={"distance": observed.covariates["distance"] * factor**0.5})
    a, b, c = (small.summarize(x, LEVELS) for x in (observed, brighter, farther))
    shift = torch.tensor([0.0, log_factor, 0.0, log_factor])[:, None]
    torch.testing.assert_close(b.quantiles, a.quantiles + shift, rtol=0, atol=2e-4)
    torch.testing.assert_close(c.quantiles, b.quantiles, rtol=0, atol=1e-4)
    torch.testing.assert_close(b.entropy, a.entropy, rtol=0, atol=1e-3)


def test_neighbors_in_the_batch_do_not_matter(table, small):
    observed = draw_mocks(table, 21, (0.1, 0.5))
    together = small.summarize(observed, LEVELS)
    order = torch.randperm(21, generator=torch.Generator().manual_seed(0))
    shuffled = small.summarize(observed[order], LEVELS)
    torch.testing.assert_close(shuffled.quantiles, together.quantiles[order], rtol=0, atol=2e-4)
    alone = small.summarize(observed[4], LEVELS)
    torch.testing.assert_close(alone.quantiles, together.quantiles[4:5], rtol=0, atol=2e-4)


def test_an_uncertain_distance(table):
    """The evidence averaged over distances, by Gauss-Hermite quadrature."""
    observed = observe(table, [1.5, 4.0, 0.2], 0.2, measured=FIVE)
    nodes, weights = np.polynomial.hermite_e.hermegauss(15)
    total = []
    exact = ExactGrid(table, n_age=230, n_ebv=50)
    for node in nodes:
        moved = replace(observed, covariates={"distance": observed.covariates["distance"] * math.exp(0.2 * node)})
        total.append(exact.summarize(moved, LEVELS).log_evidence.item())
    expected = np.log(np.sum(weights / weights.sum() * np.exp(total)))
    uncertain = ExactGrid(table, cluster_prior(distance_error=0.2), n_age=230, n_ebv=50).summarize(observed, LEVELS)
    assert uncertain.log_evidence.item() == pytest.approx(expected, abs=2e-3)
    wide, narrow = (half_widths(x.quantiles)[0, 1, 0] for x in (uncertain, exact.summarize(observed, LEVELS)))
    assert wide > 1.1 * narrow


@pytest.mark.parametrize("log_mass", [-6.0, 12.0])
def test_a_mass_far_beyond_the_prior(table, log_mass):
    """The posterior crowds at the bound, and nothing is lost to rounding."""
    observed = observe(table, [2.0, log_mass, 0.2], 0.1, measured=FIVE)
    summary = ExactGrid(table, n_age=230, n_ebv=50).summarize(observed, LEVELS)
    assert summary.divided.all()
    assert torch.isfinite(summary.quantiles).all()
    assert summary.mean[0, 1].item() == pytest.approx(2.0 if log_mass < 2 else 8.0, abs=0.05)
    target = Target(observed, ClusterLikelihood(table.to(dtype=DOUBLE), NOISE), cluster_prior())
    weighted = sample_by_cells(target, n_samples=1000, seed=1, target_ess=3000)
    assert weighted.log_evidence.item() == pytest.approx(summary.log_evidence.item(), abs=0.05)


def test_draws_are_spread_as_the_quantiles_say(table, small):
    observed = draw_mocks(table, 6, (0.1, 0.4), seed=8)
    unit = torch.quasirandom.SobolEngine(3, scramble=True, seed=0).draw(4096)
    summary = small.summarize(observed, (0.025, 0.16, 0.5, 0.84, 0.975), unit)
    assert ((summary.theta >= cluster_prior().low - 1e-6) & (summary.theta <= cluster_prior().high + 1e-6)).all()
    for i in range(3):
        below = (summary.theta[:, :, None, i] <= summary.quantiles[:, None, i]).double().mean(1)
        torch.testing.assert_close(below, torch.tensor([[0.025, 0.16, 0.5, 0.84, 0.975]], dtype=DOUBLE).expand(6, -1),
                                   rtol=0, atol=0.012)


def test_what_it_cannot_do(table, small):
    observed = observe(table, [[1.0, 4.0, 0.2], [1.0, 4.0, 0.2]], 0.2)
    unseen = replace(observed, measured=torch.tensor([[True] * 8, [False] * 8]))
    with pytest.raises(InputError, match="row 1 has no measured band"):
        small.summarize(unseen)
    flux = observed.flux.clone()
    flux[1, 2] = -1.0
    with pytest.raises(InputError, match="row 1, band number 2 has -1"):
        small.summarize(replace(observed, flux=flux))
    with pytest.raises(InputError, match="power law in mass"):
        ExactGrid(table, ProductPrior(log_mass=Normal(4, 1)), n_age=10, n_ebv=10)
    with pytest.raises(InputError, match="power law in mass"):
        ExactGrid(table, lambda theta: -theta[..., 0], n_age=10, n_ebv=10)


def test_blocks_change_nothing(table, small, monkeypatch):
    observed = draw_mocks(table, 9, (0.1, 0.5))
    whole = small.summarize(observed, LEVELS)
    monkeypatch.setattr(grid_module, "_OBJECTS_PER_BLOCK", 4)
    parts = small.summarize(observed, LEVELS)
    torch.testing.assert_close(parts.quantiles, whole.quantiles, rtol=0, atol=2e-4)


@pytest.mark.parametrize(("mean", "sigma"), [(0.5, 0.05), (0.31, 0.02), (0.0, 0.1), (1.02, 0.05)])
def test_cell_quantiles(mean, sigma):
    """Cells of up to half a standard deviation, and densities cut at an edge."""
    low, high = (0 - mean) / sigma, (1 - mean) / sigma
    middle = (torch.arange(100, dtype=DOUBLE) + 0.5) / 100
    density = torch.exp(-0.5 * ((middle - mean) / sigma) ** 2)[None]
    levels = torch.tensor([0.025, 0.16, 0.5, 0.84, 0.975], dtype=DOUBLE)
    expected = truncnorm(low, high, mean, sigma).ppf(levels.numpy())
    found = cell_quantiles([(density, 0.0, 0.01, True), (2 * density, torch.ones(1), 0.01, True)], levels)[0]
    np.testing.assert_allclose(found, [expected, 1 + expected], atol=0.004 * sigma)


@pytest.mark.parametrize(("alpha", "beta"), [(-1.0, 2.0), (-30.0, 0.5), (3.0, 40.0), (7.0, 7.5), (-9.0, -8.0)])
def test_truncated_normal(alpha, beta):
    reference = truncnorm(alpha, beta)
    a, b = torch.tensor([alpha], dtype=DOUBLE), torch.tensor([beta], dtype=DOUBLE)
    inside = norm.sf(alpha) - norm.sf(beta) if alpha > 0 else norm.cdf(beta) - norm.cdf(alpha)
    assert interval(a, b).item() == pytest.approx(inside, rel=1e-9)
    assert log_interval(a, b).item() == pytest.approx(np.log(inside), rel=1e-9)
    assert cut_mean(a, b).item() == pytest.approx(reference.mean(), rel=1e-6)
    x = np.linspace(max(alpha, -9), min(beta, 9), 200_001)
    density = norm.pdf(x) / inside
    entropy = -np.trapezoid(density * np.log(density), x)
    assert cut_entropy(a, b).item() == pytest.approx(entropy, abs=1e-6)
    unit = torch.linspace(0.01, 0.99, 9, dtype=DOUBLE)
    np.testing.assert_allclose(cut_sample(unit, a, b), reference.ppf(unit.numpy()), atol=2e-3)


def test_far_tails_stay_finite():
    a, b = torch.tensor([100.0, -2e4], dtype=DOUBLE), torch.tensor([300.0, -1e4], dtype=DOUBLE)
    assert log_interval(a, b)[0].item() == pytest.approx(norm.logsf(100.0), rel=1e-9)
    assert torch.isfinite(log_interval(a, b)).all()
    sample = cut_sample(torch.full((2,), 0.5, dtype=DOUBLE), a, b)
    assert sample[0].item() == pytest.approx(100.0 + math.log(2) / 100, abs=1e-4)
    assert sample[1].item() == pytest.approx(-1e4, abs=1e-3)
