"""What infer_table promises: the exact posterior, whatever the brightness, bands, noise and prior."""

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.table import QTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from infer_tables import PARAMETERS, coordinate, differences, half_width, theta_of, value

import clusterpost
from clusterpost import exact_posterior, flags, infer_table, sample_posterior
from clusterpost.bands import ACS_BANDS, WFC3_BANDS
from clusterpost.errors import InputWarning
from clusterpost.families.clusters.exact_grid import ExactGrid
from clusterpost.families.clusters.likelihood import ClusterLikelihood
from clusterpost.families.clusters.table import load_table
from clusterpost.noise import get_noise
from clusterpost.observations import Observed
from clusterpost.posterior.draws import sobol_points
from clusterpost.posterior.target import Target
from clusterpost.priors import Exponential, Normal, PowerLaw, ProductPrior, cluster_prior

pytestmark = pytest.mark.usefixtures("exact_by_default")

EIGHT = (*WFC3_BANDS, *ACS_BANDS)

QUANTILES = ("q16", "q50", "q84")


def shifted(tbl, factor, mpc):
    """Fluxes multiplied, as far away as is said."""
    out = tbl.copy()
    for band in EIGHT:
        if band in out.colnames:
            out[band], out[f"{band}_err"] = out[band] * factor, out[f"{band}_err"] * factor
    out["distance"] = np.full(len(out), mpc) * u.Mpc
    return out


def observed_of(tbl, noise="lognormal", floor=0.05):
    """Observed, built by hand from a table in mJy; a negative error is a limit."""
    flux, error = (torch.tensor(np.array([value(tbl[f"{b}{end}"]) if b in tbl.colnames else np.full(len(tbl), np.nan)
                                          for b in EIGHT]).T) for end in ("", "_err"))
    limit = error < 0
    error = torch.where(limit, -error, torch.hypot(error, floor * flux.abs()))
    there = torch.isfinite(flux)
    flux, error = torch.where(there, flux, 1.0), torch.where(there, error, 1.0)
    measured = there & ~limit & get_noise(noise).usable(flux, error)
    return Observed(flux, error, measured, limit & there, {"distance": torch.tensor(value(tbl["distance"]))})


def brute(tbl, row, noise="lognormal", prior=None, shape=(90, 70, 40)):
    """Distribution functions by parameter, and log evidence: a grid over all three, about where the posterior is."""
    prior = cluster_prior() if prior is None else prior
    observed = observed_of(tbl, noise)[row]
    used = (observed.measured | observed.limit)[0].nonzero()[:, 0]
    observed = Observed(*(x[:, used] for x in (observed.flux, observed.error, observed.measured, observed.limit)),
                        observed.covariates)
    table = load_table().select([list(EIGHT)[i] for i in used]).to(dtype=torch.float64)
    target = Target(observed, ClusterLikelihood(table, get_noise(noise)), prior)
    shifts = torch.linspace(-3.6, 3.6, 9, dtype=torch.float64) if prior.distance_error else torch.zeros(1).double()
    log_weight = torch.log_softmax(-0.5 * shifts**2, 0)
    low, high = prior.low.double(), prior.high.double()
    for _ in range(3):  # each time about what is left of the last
        step = (high - low) / torch.tensor(shape)
        axes = [a + b * (torch.arange(n).double() + 0.5) for a, b, n in zip(low, step, shape, strict=True)]
        theta = torch.cartesian_prod(*axes)[None]
        density = torch.logsumexp(torch.stack([
            target.log_density(theta, torch.full(theta.shape[:2], prior.distance_error * shift)) + weight
            for shift, weight in zip(shifts, log_weight, strict=True)]), 0).reshape(shape)
        log_evidence = torch.logsumexp(density.flatten(), 0)
        p = torch.exp(density - log_evidence)
        marginals = [p.sum(dim=[d for d in range(3) if d != i]) for i in range(3)]
        result = {name: (a + b * torch.arange(n + 1), np.append(0, marginal.cumsum(0)))
                  for name, a, b, n, marginal in zip(PARAMETERS, low, step, shape, marginals, strict=True)}
        total = (log_evidence + step.log().sum()).item()
        there = [(m > 1e-6 * m.max()).nonzero()[:, 0] for m in marginals]
        edges = [(max(t[0] - 1, 0), min(t[-1] + 2, n)) for t, n in zip(there, shape, strict=True)]
        start, stop = (torch.tensor([e[k] for e in edges]) for k in (0, 1))
        low, high = low + start * step, low + stop * step
    return result, total


def target_of(tbl, noise="lognormal"):
    """The exact density of mocks in the WFC3 bands."""
    observed = observed_of(tbl, noise)
    observed = Observed(*(x[:, :5] for x in (observed.flux, observed.error, observed.measured, observed.limit)),
                        observed.covariates)
    likelihood = ClusterLikelihood(load_table().select(list(WFC3_BANDS)).to(dtype=torch.float64), get_noise(noise))
    return Target(observed, likelihood,
                  cluster_prior())


def assert_agrees(out, row, exact, tolerance=0.06):
    """The exact posterior has the right share below each quantile.

    A share and no width, because between two modes the one says nothing of the other.
    """
    for name in PARAMETERS:
        for q, level in zip(QUANTILES, (0.16, 0.5, 0.84), strict=True):
            share = np.interp(coordinate(out, f"{name}_{q}")[row], *exact[name])
            assert abs(share - level) < tolerance, (name, q, row, share)


# Scale symmetry


@pytest.fixture(scope="module")
def middling():
    """Clusters whose masses are far from the prior's bounds."""
    params = QTable({"age": [3, 40, 300, 5000], "mass": [1e5] * 4, "ebv": [0.5, 0.2, 0, 0.1]})
    return clusterpost.simulate(params, distance=10.0, errors=np.array([0.05, 0.1, 0.2, 0.1, 0.05]), seed=5)


@pytest.mark.parametrize("refine", [True, False])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(log_mpc=st.floats(-2, 3), dex=st.floats(-2, 2))
def test_brightness_and_distance_move_the_mass_only(middling, refine, log_mpc, dex):
    """Fluxes times 10^dex at the same distance, and the same cluster at any other distance."""
    expected = infer_table(middling, n_samples=200, refine=refine)
    moved = shifted(middling, 10**dex * (10 / 10**log_mpc) ** 2, 10**log_mpc)
    out = infer_table(moved, n_samples=200, refine=refine)
    for name in PARAMETERS:
        by = dex if name == "mass" else 0.0
        for column in (*QUANTILES, "mean"):
            wanted = coordinate(expected, f"{name}_{column}") + by
            # Weights carry the rounding of likelihoods in float32; the network's draws that of its conditions only.
            atol = 5e-4 if refine else 2e-5
            np.testing.assert_allclose(coordinate(out, f"{name}_{column}"), wanted, rtol=0, atol=atol, err_msg=name)
    for name in ("support", "entropy", "efficiency", "log_evidence"):
        np.testing.assert_allclose(out[name], expected[name], rtol=1e-3, atol=1e-3, err_msg=name)
    np.testing.assert_array_equal(out["flag"], expected["flag"])


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(factor=st.floats(1e-3, 1e3), log_mpc=st.floats(-2, 3))
def test_the_network_sees_no_brightness(middling, factor, log_mpc):
    """Wherever the mass then lies; what its range leaves of the posterior is up to the weights and not the network."""
    moved = shifted(middling, factor, 10**log_mpc)
    model = clusterpost.load_model()
    seen = [model.encode(o) for o in (observed_of(middling), observed_of(moved))]
    torch.testing.assert_close(*seen, rtol=0, atol=1e-12)
    assert (seen[0][0] - seen[0][1]).abs().max() > 0.1  # it sees the colors
    out = infer_table(moved, n_samples=50, refine=False)
    assert ((value(out["mass_q16"]) >= 100 * (1 - 1e-6)) & (value(out["mass_q84"]) <= 1e8 * (1 + 1e-6))).all()


def test_the_priors_bounds_on_mass_count(middling):
    """A cluster of 5 Msun cannot be in this prior; its posterior piles up at the bound, and is exact there."""
    faint = shifted(middling, 10 ** (np.log10(5) - 5), 10.0)
    out, exact = infer_table(faint), exact_posterior(faint)
    assert (value(out["mass_q84"]) < 400).all()
    for name, change in differences(out, exact).items():
        assert change.max() < 0.25, name
    np.testing.assert_allclose(out["log_evidence"], exact["log_evidence"], atol=0.1)


# Against the exact grid


@pytest.fixture(scope="module")
def prior_mocks():
    return clusterpost.simulate(60, seed=21)


@pytest.fixture(scope="module")
def of_prior_mocks(prior_mocks):
    return infer_table(prior_mocks), exact_posterior(prior_mocks)


def are_exact(out, exact):
    """The default's promise, for each of nine quantiles."""
    changes = differences(out, exact)
    return {name: np.median(change) <= 0.03 and np.quantile(change, 0.95) <= 0.12 for name, change in changes.items()}


def test_quantiles_are_exact(of_prior_mocks):
    out, exact = of_prior_mocks
    assert all(are_exact(out, exact).values()), are_exact(out, exact)
    np.testing.assert_allclose(out["log_evidence"], exact["log_evidence"], atol=0.05)
    np.testing.assert_allclose(out["entropy"], exact["entropy"], atol=0.1)
    np.testing.assert_allclose(out["support"], exact["support"], atol=0.12)


def test_what_is_not_exact_fails(prior_mocks, of_prior_mocks):
    """Photometry 5 % brighter in one band, a network alone with other noise, and posteriors a quarter too wide."""
    _, exact = of_prior_mocks
    tbl = prior_mocks.copy()
    tbl["F275W"], tbl["F275W_err"] = 1.05 * tbl["F275W"], 1.05 * tbl["F275W_err"]
    assert not any(are_exact(infer_table(tbl), exact).values())
    alone = are_exact(infer_table(prior_mocks, noise="normal", refine=False), exact)
    assert not any(alone.values())
    wider = exact.copy()
    for name in PARAMETERS:
        for q in ("q16", "q84"):
            middle, end = (coordinate(exact, f"{name}_{x}") for x in ("q50", q))
            end = middle + 1.25 * (end - middle)
            wider[f"{name}_{q}"] = (end if name == "ebv" else 10**end) * exact[f"{name}_{q}"].unit
    failed = are_exact(wider, exact)
    assert not any(ok for name, ok in failed.items() if not name.endswith("q50"))


def test_two_bands_and_acs_are_exact(prior_mocks):
    bands = ["F275W", "F435W_ACS", "F555W_ACS", "F814W"]
    tbl = clusterpost.simulate(60, bands=bands, seed=22)
    for row in range(0, 60, 2):
        for band in bands[1:3]:
            tbl[band][row] = np.nan * u.mJy
    out, exact = infer_table(tbl), exact_posterior(tbl)
    assert set(out["n_bands"]) == {2, 4}
    assert all(are_exact(out, exact).values()), are_exact(out, exact)


@pytest.mark.parametrize("noise", ["lognormal", pytest.param("normal", marks=pytest.mark.slow)])
def test_the_map_is_the_highest_point(noise):
    """Never lower than the best point of a fine grid, by the exact density."""
    tbl = clusterpost.simulate(16, noise=noise, seed=23)
    out = infer_table(tbl, noise=noise)
    target = target_of(tbl, noise)
    at_map = target.log_density(torch.tensor(theta_of(out, "_map"))[:, None])[:, 0]
    log_age, ebv = torch.linspace(0, np.log10(13750), 276), torch.linspace(0, 1.5, 76)
    grid = torch.stack(torch.meshgrid(log_age, ebv, indexing="ij"), -1).reshape(-1, 2).double()
    best = torch.full((len(tbl),), -torch.inf, dtype=torch.float64)
    middle = at_map.new_tensor(coordinate(out, "mass_map"))
    for offset in np.linspace(-0.8, 0.8, 17):  # mass about that of the MAP
        mass = (middle[:, None] + offset).clamp(2, 8).expand(-1, len(grid))
        theta = torch.stack([grid[:, 0].expand_as(mass), mass, grid[:, 1].expand_as(mass)], -1)
        best = torch.maximum(best, target.log_density(theta).amax(1))
    assert (at_map >= best - 0.005).all(), (at_map - best).min()
    # Every draw is lower, too, and the strongest mode of a network alone is not as high.
    drawn = target.log_density(torch.tensor(theta_of(sample_posterior(tbl, n_samples=200, noise=noise))))
    assert (at_map >= drawn.amax(1) - 1e-3).all()
    alone = infer_table(tbl, noise=noise, refine=False)
    assert (target.log_density(torch.tensor(theta_of(alone, "_map"))[:, None])[:, 0] < best - 0.005).any()


def test_no_exact_draw_is_higher_than_the_map(prior_mocks, of_prior_mocks):
    out, _ = of_prior_mocks
    target = target_of(prior_mocks)
    drawn = ExactGrid(target.table).summarize(target.observed, points=sobol_points(500, 3, 1)).theta
    at_map = target.log_density(torch.tensor(theta_of(out, "_map"))[:, None])
    assert (at_map >= target.log_density(drawn) - 0.005).all()


# Limits and noise


@pytest.mark.parametrize("sharpness", [pytest.param(0.2, marks=pytest.mark.slow), 0.01])
def test_upper_limits(middling, sharpness):
    """As brute force has it, and in the right direction: a limit on the blue flux makes clusters older or redder."""
    params = QTable({name: middling[f"{name}_true"] for name in PARAMETERS})
    tbl = clusterpost.simulate(params, distance=10.0, errors=0.2, seed=6)
    true_flux = clusterpost.simulate(params, distance=10.0)["F275W"]
    tbl["F275W"] = 0.8 * true_flux
    tbl["F275W_err"] = -sharpness * tbl["F275W"]
    out = infer_table(tbl, n_samples=6000)
    assert ((out["flag"] & flags.UPPER_LIMIT) != 0).all()
    assert (out["n_bands"] == 4).all()
    without = tbl.copy()
    without["F275W"] = np.nan * u.mJy
    ignored = infer_table(without)
    # The limit's probability is below one.
    assert (np.asarray(out["log_evidence"]) < np.asarray(ignored["log_evidence"])).all()
    moved = (coordinate(out, "age_q50") - coordinate(ignored, "age_q50")) / half_width(ignored, "age") + (
        value(out["ebv_q50"]) - value(ignored["ebv_q50"])) / half_width(ignored, "ebv")
    assert (moved > -0.1).all()
    assert moved.max() > 0.3
    for row in (0, 1, 3):
        exact, log_evidence = brute(tbl, row)
        assert_agrees(out, row, exact)
        assert out["log_evidence"][row] == pytest.approx(log_evidence, abs=0.05)


def test_a_limit_far_above_changes_nothing(middling):
    tbl = middling.copy()
    tbl["F814W"], tbl["F814W_err"] = 100 * tbl["F814W"], -tbl["F814W"]
    missing = middling.copy()
    missing["F814W"] = np.nan * u.mJy
    out, expected = infer_table(tbl, n_samples=4000), infer_table(missing, n_samples=4000)
    for name, change in differences(out, expected).items():
        assert change.max() < 0.1, name
    np.testing.assert_allclose(out["log_evidence"], expected["log_evidence"], atol=0.05)


def test_normal_noise():
    """Negative fluxes are measurements like any other."""
    params = QTable({"age": [8, 200, 900, 4000], "mass": [3e3] * 4, "ebv": [0.6, 0.4, 0.2, 0]})
    errors = np.array([0.5, 0.3, 0.2, 0.15, 0.15])
    tbl = clusterpost.simulate(params, distance=10.0, errors=errors, noise="normal", seed=2)
    for row in range(3):
        tbl["F275W"][row] = (-0.5, 0.0, 0.3)[row] * tbl["F275W_err"][row]
    out = infer_table(tbl, noise="normal", n_samples=6000)
    assert not (out["flag"] & (flags.NOT_POSITIVE | flags.NOT_INFERRED)).any()
    assert (out["n_bands"] == 5).all()
    for row in range(4):
        exact, log_evidence = brute(tbl, row, "normal")
        assert_agrees(out, row, exact)
        assert out["log_evidence"][row] == pytest.approx(log_evidence, abs=0.05)
    lognormal = infer_table(tbl)
    assert max(change.max() for change in differences(lognormal, out).values()) > 0.2


# Priors


@pytest.fixture(scope="module")
def vague():
    """Clusters of large errors, to which a prior matters."""
    params = QTable({"age": [10, 100, 1000] * u.Myr, "mass": [1e4] * 3 * u.solMass, "ebv": [0.4, 0.3, 0.1] * u.mag})
    return clusterpost.simulate(params, distance=10.0, errors=0.35, seed=3)


@pytest.mark.parametrize(
    "prior",
    [
        ProductPrior(log_mass=PowerLaw(-2)),
        ProductPrior(ebv=Exponential(0.1)),
        ProductPrior(log_age=Normal(2, 0.3)),
        cluster_prior(distance_error=0.2),
        lambda theta: -((theta[..., 0] - 1) ** 2) - theta[..., 1] * theta[..., 2],
    ],
    ids=["mass function", "reddening", "age", "distance", "function"],
)
@pytest.mark.parametrize("noise", ["lognormal", "normal"])
def test_priors_by_brute_force(vague, prior, noise):
    from clusterpost.priors import as_prior

    out = infer_table(vague, prior=prior, noise=noise)
    assert not (out["flag"] & ~flags.PERHAPS_OLD).any()
    for row in [0] if getattr(prior, "distance_error", 0) else [0, 2]:
        exact, log_evidence = brute(vague, row, noise, as_prior(prior))
        assert_agrees(out, row, exact)
        assert out["log_evidence"][row] == pytest.approx(log_evidence, abs=0.05)


def test_what_priors_do(vague):
    flat = infer_table(vague)
    light = infer_table(vague, prior=ProductPrior(log_mass=PowerLaw(-2)))
    clear = infer_table(vague, prior=ProductPrior(ebv=Exponential(0.05)))
    for q in QUANTILES:
        assert (value(light[f"mass_{q}"]) < value(flat[f"mass_{q}"])).all()
        assert (value(clear[f"ebv_{q}"]) < value(flat[f"ebv_{q}"])).all()
    uncertain = infer_table(vague, prior=cluster_prior(distance_error=0.3))
    assert (half_width(uncertain, "mass") > 1.2 * half_width(flat, "mass")).all()
    for name in ("age", "ebv"):  # of which the distance knows nothing
        for q in QUANTILES:
            change = np.abs(coordinate(uncertain, f"{name}_{q}") - coordinate(flat, f"{name}_{q}"))
            assert (change < 0.1 * half_width(flat, name)).all()


def test_an_uncertain_distance_is_as_the_grid_has_it(vague):
    prior = cluster_prior(distance_error=0.3)
    out, exact = infer_table(vague, prior=prior), exact_posterior(vague, prior=prior)
    for name, change in differences(out, exact).items():
        assert change.max() < 0.12, name
    for name in ("log_evidence", "entropy"):
        np.testing.assert_allclose(out[name], exact[name], atol=0.1, err_msg=name)
    np.testing.assert_allclose(out["support"], exact["support"], atol=0.1)
    np.testing.assert_allclose(out["support"], infer_table(vague)["support"], atol=0.1)


# Support


def test_support_of_mocks_and_of_mixed_up_bands():
    tbl = clusterpost.simulate(1000, seed=31)
    out = infer_table(tbl, n_samples=100, n_modes=1, refine=False)  # a broader posterior only makes support smaller
    assert ((out["flag"] & flags.OUTSIDE_SUPPORT) != 0).sum() <= 5
    bright = clusterpost.simulate(100, seed=32, errors=0.05)
    mixed = bright.copy()
    order = ["F555W", "F275W", "F814W", "F336W", "F438W"]
    for band, source in zip(WFC3_BANDS, order, strict=True):
        mixed[band], mixed[f"{band}_err"] = bright[source], bright[f"{source}_err"]
    with pytest.warns(InputWarning, match="most of 100 rows fit badly"):
        out = infer_table(mixed, n_samples=200, refine=False)
    assert ((out["flag"] & flags.OUTSIDE_SUPPORT) != 0).mean() > 0.6
    assert np.isfinite(value(out["age_q50"])).all()
