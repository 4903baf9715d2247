import math

import numpy as np
import pytest
import torch
from brute import NormalFlow, UniformFlow, mocks
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clusterpost.families.clusters.amplitude import MassConditional, Tabulated
from clusterpost.families.clusters.likelihood import ClusterLikelihood
from clusterpost.families.clusters.truncated import CutNormal
from clusterpost.noise import get_noise
from clusterpost.posterior.proposal import AmplitudeProposal, FlowProposal, base_dimensions
from clusterpost.posterior.target import Target
from clusterpost.priors import Normal, PowerLaw, ProductPrior, cluster_prior

NO_CONDITIONS = torch.zeros(1000, 1)


def sobol(n, k, dimension, seed=0):
    points = torch.quasirandom.SobolEngine(dimension, scramble=True, seed=seed).draw(k)
    return points.expand(n, -1, -1).clamp(1e-6, 1 - 1e-6)


def efficiency(log_weight):
    weight = torch.softmax(log_weight.double(), -1)
    return 1 / (weight**2).sum(-1) / weight.shape[-1]


class TestCutNormal:
    @settings(deadline=None, max_examples=100)
    @given(mean=st.floats(-300, 300), sigma=st.floats(0.02, 5), unit=st.floats(0.001, 0.999))
    def test_quantile_inverts_the_integral_of_the_density(self, mean, sigma, unit):
        low, high = 4.6, 18.4
        density = CutNormal(torch.tensor(mean), torch.tensor(sigma), low, high)
        x = density.quantile(torch.tensor(unit)).item()
        assert low <= x <= high
        # ever finer towards the lower bound and towards x: a tail falls steeply from a bound
        part = torch.logspace(-9, 0, 5_001, dtype=torch.float64)
        points = torch.cat([low + (x - low) * part, x - (x - low) * part]).sort().values
        integral = torch.trapezoid(density.log_prob(points).exp(), points).item()
        assert integral == pytest.approx(unit, abs=2e-3)

    @pytest.mark.parametrize(("mean", "sigma"), [(10.0, 0.1), (4.0, 0.3), (19.0, 0.5), (10.0, 100.0)])
    def test_near_the_bounds_it_is_scipys(self, mean, sigma):
        expected = stats.truncnorm((4.6 - mean) / sigma, (18.4 - mean) / sigma, mean, sigma)
        unit = torch.linspace(0.001, 0.999, 97, dtype=torch.float64)
        got = CutNormal(torch.tensor(mean), torch.tensor(sigma), 4.6, 18.4)
        np.testing.assert_allclose(got.quantile(unit), expected.ppf(unit.numpy()), rtol=1e-5)
        x = got.quantile(unit)
        np.testing.assert_allclose(got.log_prob(x), expected.logpdf(x.numpy()), rtol=1e-4, atol=1e-4)

    def test_each_is_what_it_is_alone(self):
        """Whether its neighbors are cut or not."""
        mean = torch.tensor([4.0, 5.0, 12.0, 18.3, 30.0], dtype=torch.float64)[:, None]
        unit = torch.linspace(0.01, 0.99, 9, dtype=torch.float64).expand(5, 9)
        whole = CutNormal(mean.expand(5, 9), torch.full((5, 9), 0.3), 4.6, 18.4)
        x = whole.quantile(unit)
        for i in range(5):
            alone = CutNormal(mean[i].expand(9), torch.full((9,), 0.3), 4.6, 18.4)
            torch.testing.assert_close(x[i], alone.quantile(unit[i]), rtol=1e-12, atol=0)
            torch.testing.assert_close(whole.log_prob(x)[i], alone.log_prob(x[i]), rtol=1e-12, atol=1e-12)
        assert (whole.log_inside[2] == 0).all()
        assert (whole.log_inside[[0, 1, 3, 4]] < 0).all()

    def test_far_tail_is_almost_that_of_the_normal(self):
        got = CutNormal(torch.tensor(0.0), torch.tensor(1.0), 7.0, 30.0)
        x = got.quantile(torch.linspace(0.001, 0.999, 999, dtype=torch.float64))
        assert efficiency((-0.5 * x**2 - got.log_prob(x))[None]) > 0.97
        assert efficiency((-0.3 * x**2 - got.log_prob(x))[None]) < 0.97


class TestTabulated:
    nodes = torch.tensor([0.0, 0.0, 0.3, 0.5, 0.51, 1.0, 2.0], dtype=torch.float64)
    log_density = torch.tensor([0.0, 0.0, 2.0, 2.0, 2.0001, -30.0, -torch.inf], dtype=torch.float64)

    def test_quantile_inverts_the_integral_of_the_density(self):
        table = Tabulated(self.nodes, self.log_density)
        unit = torch.linspace(0.001, 0.999, 300, dtype=torch.float64)
        x = table.quantile(unit)
        fine = torch.linspace(0, 2, 200_001, dtype=torch.float64)
        cumulative = torch.cumulative_trapezoid(table.log_prob(fine).exp(), fine)
        assert cumulative[-1] == pytest.approx(1, abs=1e-4)
        np.testing.assert_allclose(np.interp(x, fine[1:], cumulative), unit, atol=1e-4)

    def test_no_density_anywhere_is_flat(self):
        table = Tabulated(self.nodes, torch.full((7,), -torch.inf, dtype=torch.float64))
        assert table.quantile(torch.tensor([0.25], dtype=torch.float64)).item() == pytest.approx(0.5)


def shorter(observed):
    """The first band a limit, in every second cluster."""
    observed = observed[:]
    observed.measured, observed.limit = observed.measured.clone(), observed.limit.clone()
    observed.measured[::2, 0], observed.limit[::2, 0] = False, True
    return observed


CASES = {
    "closed": ("lognormal", cluster_prior(), False),
    "at the lower bound": ("lognormal", ProductPrior(log_mass=PowerLaw(-1, 4.5, 8)), False),
    "limits": ("lognormal", cluster_prior(), True),
    "normal": ("normal", cluster_prior(), False),
    "mass function": ("lognormal", ProductPrior(log_mass=PowerLaw(-2)), False),
    "mass function and limits": ("lognormal", ProductPrior(log_mass=PowerLaw(-2)), True),
    "normal in the mass": ("lognormal", ProductPrior(log_mass=Normal(4.0, 0.3)), False),
    "narrow prior": ("normal", ProductPrior(log_mass=Normal(4.0, 0.05)), True),
}


@pytest.mark.parametrize("case", CASES)
def test_masses_follow_their_conditional_density(case):
    name, prior, limits = CASES[case]
    theta, observed, table = mocks(20, name, seed=4)
    observed = shorter(observed) if limits else observed
    noise, k = get_noise(name), 2048
    log_age, ebv = (theta[:, None, i].expand(-1, k) for i in (0, 2))
    mass = MassConditional(table, noise, prior)
    log_mass, log_q = mass.at(observed, log_age, ebv).draw(sobol(20, k, 1)[..., 0])
    target = Target(observed, ClusterLikelihood(table, noise), prior)
    log_density = target.log_density(torch.stack([log_age, log_mass, ebv], -1))
    exact = efficiency(log_density - log_q)
    assert exact.min() > {"closed": 0.9999, "mass function": 0.9999, "normal in the mass": 0.9999,
                          "narrow prior": 0.85}.get(case, 0.95)
    assert efficiency(log_density - log_q + 8 * (log_mass - log_mass.mean(-1, keepdim=True))).min() < 0.95
    again = mass.at(observed, log_age, ebv).log_prob(log_mass)
    assert (again - log_q).abs().median() < 1e-4


def test_masses_beyond_the_bounds_by_far_stay_within_and_count_right():
    theta, observed, table = mocks(4, seed=4, error=(0.05, 0.1), mass=(3.0, 3.2))
    factor = torch.tensor([1e6, 1e6, 1e-2, 1e-2])[:, None]
    observed.flux, observed.error = factor * observed.flux, factor * observed.error
    log_age, ebv = (theta[:, None, i].expand(-1, 512) for i in (0, 2))
    for name in ("lognormal", "normal"):
        mass = MassConditional(table, get_noise(name), cluster_prior())
        log_mass, log_q = mass.at(observed, log_age, ebv).draw(sobol(4, 512, 1)[..., 0])
        assert ((log_mass >= 2) & (log_mass <= 8)).all()
        assert torch.isfinite(log_q).all()
        assert (log_mass[:2] > 7.9).all() or name == "normal"  # a normal likelihood forgives faintness
        target = Target(observed, ClusterLikelihood(table, get_noise(name)), None)
        weight = target.log_density(torch.stack([log_age, log_mass, ebv], -1)) - log_q
        assert efficiency(weight).min() > 0.9


def test_each_cluster_has_its_own_masses_whatever_is_beside_it():
    theta, observed, table = mocks(6, seed=4)
    observed = shorter(observed)
    mass = MassConditional(table, get_noise("lognormal"), cluster_prior())
    log_age, ebv = (theta[:, None, i].expand(-1, 64) for i in (0, 2))
    unit = sobol(6, 64, 1)[..., 0]
    assert mass.is_closed(observed).tolist() == [False, True] * 3
    together = mass.at(observed, log_age, ebv).draw(unit)
    for i in range(6):
        alone = mass.at(observed[i], log_age[i : i + 1], ebv[i : i + 1]).draw(unit[i : i + 1])
        for a, b in zip(alone, together, strict=True):
            torch.testing.assert_close(a[0], b[i], rtol=0, atol=5e-5)


def integral(proposal, observed, k=65536):
    """Of a smooth test function over the proposal's draws: mean of function / q."""
    prior = proposal.prior
    conditions = torch.tensor([[2.0, 0.7]]).expand(len(observed), 2)
    draws = proposal.draw(observed, conditions, sobol(len(observed), k, base_dimensions(prior)))
    center, sigma = torch.tensor([2.0, 4.0, 0.7]), torch.tensor([0.3, 0.2, 0.15])
    log_test = (-0.5 * ((draws.theta - center) / sigma) ** 2 - torch.log(sigma) - 0.919).sum(-1)
    inside = prior.inside(draws.theta)
    return torch.exp(torch.where(inside, log_test - draws.log_q, -torch.inf)).double().mean(-1), draws


@pytest.mark.parametrize("limits", [False, True])
@pytest.mark.parametrize("defensive", [0.0, 0.3])
def test_the_density_of_every_draw_is_that_it_was_drawn_with(limits, defensive):
    # any density integrates to one over draws weighted by 1/q, if and only if q is right
    _, observed, table = mocks(2, seed=1)
    ln_flux = table.predict(torch.tensor([2.0, 4.0, 0.7]), torch.tensor(10.0))
    relative = 20.0  # nothing is known, so that the draws are everywhere
    observed.flux = torch.exp(ln_flux - math.log1p(relative**2) / 2).expand(2, -1)
    observed.error = relative * observed.flux
    observed = shorter(observed) if limits else observed
    observed.flux = torch.where(observed.limit, 100 * observed.flux, observed.flux)
    flow = NormalFlow([0.5, 0.3])
    likelihood = ClusterLikelihood(table, get_noise("lognormal"))
    proposal = AmplitudeProposal(flow, likelihood, cluster_prior(), defensive=defensive)
    total, draws = integral(proposal, observed)
    np.testing.assert_allclose(total, 1, atol=0.08)
    inside = proposal.prior.inside(draws.theta)
    again = proposal.log_prob(observed, torch.tensor([[2.0, 0.7]]).expand(2, 2), draws.theta)
    assert (again - draws.log_q)[inside].abs().median() < 1e-4
    assert (again - draws.log_q)[inside].abs().max() < 0.05


def test_uniform_draws_are_only_where_the_flow_was_not_trained():
    center = torch.tensor([[0.5, 0.1]]).expand(4, 2)
    for name, limits, expected in (("lognormal", True, [True, False, True, False]), ("normal", False, [True] * 4)):
        _, observed, table = mocks(4, name)
        observed = shorter(observed) if limits else observed
        flow = NormalFlow([0.01, 0.01])
        proposal = AmplitudeProposal(flow, ClusterLikelihood(table, get_noise(name)), cluster_prior(), defensive=0.1)
        draws = proposal.draw(observed, center, sobol(4, 1000, 3))
        far = (draws.theta[..., 0] - 0.5).abs() > 0.1
        assert (far.sum(-1) > 80).tolist() == expected
        assert (far.sum(-1) <= 100).all()
        assert torch.isfinite(draws.log_q).all()


def test_flow_of_all_parameters_moves_the_mass_with_the_distance():
    _, observed, table = mocks(2)
    prior = cluster_prior(distance_error=0.3)
    flow = UniformFlow((0, 1, 2))
    proposal = FlowProposal(flow, ClusterLikelihood(table, get_noise("lognormal")), prior)
    assert base_dimensions(prior) == 4
    draws = proposal.draw(observed, NO_CONDITIONS[:2], sobol(2, 4096, 4))
    nominal = proposal.flow_parameters(draws.theta, draws.shift)
    assert ((nominal[..., 1] >= 2 - 1e-5) & (nominal[..., 1] <= 8 + 1e-5)).all()
    assert draws.shift.std().item() == pytest.approx(0.3, rel=0.02)
    torch.testing.assert_close(draws.theta[..., 1] - nominal[..., 1], 2 * draws.shift / math.log(10), atol=1e-5,
                               rtol=0)
    again = proposal.log_prob(observed, NO_CONDITIONS[:2], draws.theta, draws.shift)
    assert ((again - draws.log_q).abs() < 1e-5).double().mean() > 0.999


def test_masses_know_the_distance_that_was_drawn():
    _, observed, table = mocks(3, error=(0.05, 0.06))
    prior = cluster_prior(distance_error=0.1)
    proposal = AmplitudeProposal(UniformFlow(), ClusterLikelihood(table, get_noise("lognormal")), prior)
    unit = sobol(3, 512, 4).clone()
    unit[..., :3] = 0.5  # all the same but for the distance
    draws = proposal.draw(observed, NO_CONDITIONS[:3], unit)
    moved = draws.theta[..., 1] - 2 * draws.shift / math.log(10)
    assert moved.std(-1).max() < 1e-4
    assert draws.theta[..., 1].std(-1).min() > 0.08
