"""What a training step makes small, on a toy whose exact posterior is known."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from clusterpost.bands import ACS_BANDS, WFC3_BANDS
from clusterpost.families.clusters.amplitude import MassConditional
from clusterpost.families.clusters.likelihood import ClusterLikelihood
from clusterpost.flow.network import build_flow
from clusterpost.noise import get_noise
from clusterpost.posterior.target import Target
from clusterpost.priors import PowerLaw, ProductPrior
from clusterpost.training.objectives import LogVariance, NegativeLogLikelihood
from clusterpost.training.recipes import any_bands
from clusterpost.training.simulation import Mocks, seeded_generator

EIGHT = (*WFC3_BANDS, *ACS_BANDS)


class NormalFlow(nn.Module):
    """q(theta | x) = N(a x + b, s^2).

    With a = 1/2, b = 0 and s^2 = 1/2 the posterior of theta ~ N(0, 1), x ~ N(theta, 1).
    """

    def __init__(self, slope=0.5, offset=0.0, sigma=0.5**0.5):
        super().__init__()
        self.slope, self.offset = nn.Parameter(torch.tensor(slope)), nn.Parameter(torch.tensor(offset))
        self.log_sigma = nn.Parameter(torch.tensor(sigma).log())

    def _density(self, x):
        mean = self.slope * x[..., None, :1] + self.offset
        return torch.distributions.Normal(mean, self.log_sigma.exp())

    def log_prob(self, theta, x):
        single = theta.ndim == 2
        density = self._density(x).log_prob(theta[:, None] if single else theta).sum(-1)
        return density[:, 0] if single else density

    def draw(self, unit, x):
        theta = self._density(x).icdf(unit)
        return theta, self.log_prob(theta, x)


class Toy:
    """In the place of a simulator."""

    family = SimpleNamespace(likelihood=SimpleNamespace(log_prob_of_colors=None))

    def draw(self, n, generator):
        theta = torch.randn(n, 1, generator=generator)
        x = theta + torch.randn(n, 1, generator=generator)
        nothing = torch.zeros(n)
        seen = torch.ones(n, 1, dtype=torch.bool)
        return Mocks(x, torch.ones(n, 1), seen, ~seen, {"distance": nothing}, theta)


LIKELIHOOD = Toy.family.likelihood


@pytest.fixture
def conjugate(monkeypatch):
    """ln p(theta) p(x | theta) of the toy in the place of the photometric likelihood."""

    def joint(mocks, theta):
        x = mocks.flux[:, None]
        return (-0.5 * theta**2 - 0.5 * (x - theta) ** 2).sum(-1)

    monkeypatch.setattr(LIKELIHOOD, "log_prob_of_colors", joint)


def loss_of(flow, objective, progress=1.0, n=2000, seed=0):
    toy, generator = Toy(), seeded_generator(seed)
    mocks = toy.draw(n, generator)
    return objective(flow, mocks, mocks.flux, toy, generator, progress)


UNEVEN = LogVariance(nll=0.0)


@pytest.mark.usefixtures("conjugate")
class TestLogVariance:
    def test_is_zero_for_the_exact_posterior(self):
        assert loss_of(NormalFlow(), UNEVEN).item() == pytest.approx(0, abs=1e-9)

    @pytest.mark.parametrize("wrong", [{"slope": 0.6}, {"offset": 0.2}, {"sigma": 0.5}, {"sigma": 1.0}])
    def test_is_positive_for_a_wrong_one(self, wrong):
        assert loss_of(NormalFlow(**wrong), UNEVEN).item() > 1e-3

    def test_constants_of_an_object_do_not_matter(self, monkeypatch):
        before = loss_of(NormalFlow(offset=0.2), UNEVEN)
        joint = LIKELIHOOD.log_prob_of_colors

        def shifted(mocks, theta):
            return joint(mocks, theta) + 100 * torch.sin(mocks.flux)

        monkeypatch.setattr(LIKELIHOOD, "log_prob_of_colors", shifted)
        torch.testing.assert_close(loss_of(NormalFlow(offset=0.2), UNEVEN), before, rtol=1e-3, atol=1e-5)

    @pytest.mark.parametrize(("name", "too_much", "too_little"), [("slope", 0.7, 0.3), ("offset", 0.3, -0.3),
                                                                  ("log_sigma", 1.1, 0.45)])
    def test_gradient_pushes_the_right_way(self, name, too_much, too_little):
        for value, sign in ((too_much, 1), (too_little, -1)):
            flow = NormalFlow(**{{"log_sigma": "sigma"}.get(name, name): value})
            loss_of(flow, UNEVEN).backward()
            assert sign * getattr(flow, name).grad > 1e-3  # a step against it goes home

    def test_finds_the_posterior(self):
        flow = NormalFlow(0.1, 0.5, 1.2)
        optimizer = torch.optim.Adam(flow.parameters(), lr=0.03)
        for step in range(300):
            optimizer.zero_grad()
            loss_of(flow, UNEVEN, n=100, seed=step).backward()
            optimizer.step()
        found = [flow.slope.item(), flow.offset.item(), flow.log_sigma.exp().item()]
        assert found == pytest.approx([0.5, 0.0, 0.5**0.5], abs=0.03)

    def test_begins_with_the_nll(self):
        objective = LogVariance(begin=0.1)
        flow = NormalFlow(offset=0.2)
        assert torch.equal(loss_of(flow, objective, progress=0.09), loss_of(flow, NegativeLogLikelihood()))
        assert not torch.equal(loss_of(flow, objective, progress=0.11), loss_of(flow, NegativeLogLikelihood()))

    def test_is_that_and_its_share_of_the_nll(self):
        flow = NormalFlow(offset=0.2)
        parts = loss_of(flow, UNEVEN) + 0.3 * loss_of(flow, NegativeLogLikelihood())
        torch.testing.assert_close(loss_of(flow, LogVariance(nll=0.3)), parts)

    def test_draws_where_there_is_next_to_nothing_are_let_be(self, monkeypatch):
        joint = LIKELIHOOD.log_prob_of_colors
        gradients = []
        for depth in (1e2, 1e5):
            monkeypatch.setattr(LIKELIHOOD, "log_prob_of_colors", lambda mocks, theta, depth=depth: (
                joint(mocks, theta) - depth * (theta[..., 0] > 1)))
            flow = NormalFlow(offset=0.2)
            loss_of(flow, UNEVEN).backward()
            gradients.append(flow.offset.grad)
        assert torch.isfinite(gradients[0])
        torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5)

    def test_outliers_count_linearly(self):
        far = [loss_of(NormalFlow(offset=offset), UNEVEN).item() for offset in (4.0, 8.0)]
        assert far[1] < 5 * far[0]  # by squares 16 times


def test_nll_is_the_mean_at_the_truths():
    flow, toy = NormalFlow(), Toy()
    mocks = toy.draw(100, seeded_generator(0))
    got = NegativeLogLikelihood()(flow, mocks, mocks.flux, toy, seeded_generator(1), 0.5)
    expected = -torch.distributions.Normal(mocks.flux / 2, 0.5**0.5).log_prob(mocks.theta).mean()
    torch.testing.assert_close(got, expected)


@pytest.fixture
def photometry():
    recipe = any_bands(width=(8, 8), knots=8)
    return recipe, recipe.simulator.draw(30, seeded_generator(3))


def test_scale_free_likelihood_is_the_exact_one_with_the_mass_integrated(photometry):
    """ln p(x, m | t, E) - ln p(m | t, E, x) under a mass density that is flat over all masses."""
    recipe, mocks = photometry
    simulator = recipe.simulator
    observed = mocks.to(dtype=torch.float64)
    table = simulator.family.table.to(dtype=torch.float64)
    prior = ProductPrior(log_mass=PowerLaw(-1, -20, 30))
    unit = torch.rand(30, 40, 2, generator=seeded_generator(4)).double()
    theta = prior.low[[0, 2]] + unit * (prior.high - prior.low)[[0, 2]]
    mass = MassConditional(table, get_noise("lognormal"), prior)
    log_mass, log_q = mass.at(observed, *theta.unbind(-1)).draw(torch.full((30, 40), 0.5).double())
    exact = Target(observed, ClusterLikelihood(table, get_noise("lognormal")), prior).log_likelihood(
        torch.stack([theta[..., 0], log_mass, theta[..., 1]], dim=-1)) - log_q
    got = ClusterLikelihood(table, get_noise("lognormal")).log_prob_of_colors(observed, theta)
    difference = got - exact
    torch.testing.assert_close(difference, difference[:, :1].expand(-1, 40), rtol=0, atol=1e-6)
    assert exact.std(1).min() > 0.5


def test_scale_free_likelihood_is_blind_to_brightness_distance_and_missing_bands(photometry):
    recipe, mocks = photometry
    theta = recipe.learned_part(mocks).theta[:, None]
    density = recipe.simulator.family.likelihood.log_prob_of_colors
    before = density(mocks, theta)
    other = replace(mocks, flux=7 * mocks.flux, error=7 * mocks.error,
                    covariates={"distance": 3 * mocks.covariates["distance"]})
    torch.testing.assert_close(density(other, theta), before, rtol=1e-4, atol=1e-3)
    there = mocks.measured
    other = replace(mocks, flux=torch.where(there, mocks.flux, 3.0), error=torch.where(there, mocks.error, 2.0),
                    measured=there)
    assert torch.equal(density(other, theta), before)


def test_a_flow_learns_by_it():
    """A few steps on real mocks make importance weights more even than the prior's."""
    recipe = any_bands(width=(32, 32), depth=(1, 1), bins=(8, 6), knots=32)
    torch.manual_seed(0)
    flow = build_flow(recipe.spec)
    assert recipe.simulator.bands == EIGHT

    def batch(seed, n):
        mocks = recipe.learned_part(recipe.simulator.draw(n, seeded_generator(seed)))
        return mocks, recipe.encoder(mocks)

    def uneven():
        with torch.no_grad():
            return UNEVEN(flow, *batch(10_000, 2000), recipe.simulator, seeded_generator(5), 1.0).item()

    flow.standardize.set_from(batch(20_000, 5000)[1])
    before = uneven()
    optimizer = torch.optim.Adam(flow.parameters(), lr=5e-3)
    for step in range(60):
        optimizer.zero_grad()
        LogVariance()(flow, *batch(step, 128), recipe.simulator, seeded_generator(step, 1), 1.0).backward()
        optimizer.step()
    assert uneven() < 0.9 * before
