import sys

import pytest
import torch
from astropy.utils.exceptions import AstropyUserWarning
from brute import dense, mocks, worst_quantile

import clusterpost
from clusterpost import flags
from clusterpost.families.clusters.likelihood import ClusterLikelihood
from clusterpost.noise import get_noise
from clusterpost.posterior import mcmc
from clusterpost.posterior import refine as refine_module
from clusterpost.posterior.mcmc import run_chain
from clusterpost.posterior.proposal import AmplitudeProposal
from clusterpost.posterior.refine import UnitPoints, n_base_points, refine
from clusterpost.posterior.target import Target
from clusterpost.priors import PowerLaw, ProductPrior, cluster_prior

pytestmark = pytest.mark.usefixtures("exact_by_default")


def start(k=200, seed=0):
    prior = cluster_prior()
    return prior.sample(k, torch.Generator().manual_seed(seed)), torch.full((k,), 1 / k)


@pytest.mark.slow
def test_chains_are_the_exact_posterior():
    prior = ProductPrior(log_mass=PowerLaw(-2), distance_error=0.2)
    _, observed, table = mocks(1, seed=6, error=(0.3, 0.45), mass=(4.0, 5.0))
    noise = get_noise("lognormal")
    theta, weight = start()
    chain = run_chain(Target(observed, ClusterLikelihood(table, noise), prior), theta, weight, 4000)
    axes, marginals, _ = dense(observed, table, noise, prior, (100, 80, 30))
    flat = torch.full((4000,), 1 / 4000)
    assert chain.converged
    assert chain.n_effective > 500
    assert worst_quantile(chain.theta, flat, axes, marginals) < 0.25
    assert worst_quantile(theta, weight, axes, marginals) > 0.5
    assert worst_quantile(chain.theta + torch.tensor([0.3, 0.0, 0.0]), flat, axes, marginals) > 0.25


def test_chains_stay_inside_and_repeat_themselves(monkeypatch):
    monkeypatch.setattr(mcmc, "_MOST_STEPS", 50)
    monkeypatch.setattr(mcmc, "_N_STEPS", 50)
    monkeypatch.setattr(mcmc, "_N_BURN", 20)
    _, observed, table = mocks(1, seed=6, mass=(2.0, 2.1))
    target = Target(observed, ClusterLikelihood(table, get_noise("lognormal")), None)
    theta, weight = start()
    theta[:, 2] = 0.0  # all on a bound
    one, two, other = (run_chain(target, theta, weight, 300, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.theta, two.theta)
    assert not torch.equal(one.theta, other.theta)
    assert torch.isfinite(target.log_density(one.theta[None])).all()
    torch.testing.assert_close(target.log_density(one.theta[None])[0], one.log_density, rtol=1e-4, atol=1e-3)
    assert not one.converged


def test_chains_that_start_where_there_is_nothing_do_not_leave_the_prior(monkeypatch):
    monkeypatch.setattr(mcmc, "_MOST_STEPS", 200)
    monkeypatch.setattr(mcmc, "_N_STEPS", 200)
    _, observed, table = mocks(1, seed=6)
    target = Target(observed, ClusterLikelihood(table, get_noise("lognormal")), None)
    theta, weight = start()
    everywhere = target.log_density
    # Nothing but in a corner where few of the chains begin, and not even a number beyond.
    monkeypatch.setattr(target, "log_density", lambda theta, shift=None: torch.where(
        theta[..., 2] > 1.3, everywhere(theta, shift), torch.where(theta[..., 2] > 0.5, -torch.inf, torch.nan)))
    chain = run_chain(target, theta, weight, 2000)
    assert target.prior.inside(chain.theta).all()
    assert (chain.theta[:, 2] > 1.3).all()
    assert torch.isfinite(chain.log_density).all()


def test_chains_do_not_start_from_what_is_no_number(monkeypatch):
    for name, steps in (("_MOST_STEPS", 10), ("_N_STEPS", 10), ("_N_BURN", 5)):
        monkeypatch.setattr(mcmc, name, steps)
    _, observed, table = mocks(1, seed=6)
    target = Target(observed, ClusterLikelihood(table, get_noise("lognormal")), None)
    chain = run_chain(target, torch.full((100, 3), torch.nan), torch.full((100,), 0.01), 50)
    assert target.prior.inside(chain.theta).all()


def refined_by_a_poor_proposal(monkeypatch):
    """Two clusters for which neither more draws nor kernels help."""
    _, observed, table = mocks(2, seed=6, error=(0.2, 0.3))
    noise, prior = get_noise("lognormal"), cluster_prior()

    class Narrow:  # it never leaves one place, and knows the density there only
        def draw(self, unit, conditions):
            theta = torch.tensor([1.0, 0.5]) + 0.001 * unit
            return theta, self.log_prob(theta, conditions)

        def log_prob(self, theta, conditions):
            return torch.full(theta.shape[:-1], 13.8)

    monkeypatch.setattr(refine_module, "_UNIFORM", ())
    monkeypatch.setattr(mcmc, "_N_STEPS", 150)
    monkeypatch.setattr(mcmc, "_LENGTHS", 4)
    points = torch.quasirandom.SobolEngine(3, scramble=True, seed=0).draw(n_base_points(100))
    target = Target(observed, ClusterLikelihood(table, noise), prior)
    likelihood = ClusterLikelihood(table, noise)
    return target, refine(AmplitudeProposal(Narrow(), likelihood, prior), target, torch.zeros(2, 1),
                          UnitPoints(points, torch.zeros(2, 3)), n_samples=100, target_ess=1e9, min_ess=1e9)


def test_a_cluster_that_nothing_else_settles_comes_from_chains_and_says_so(monkeypatch):
    target, out = refined_by_a_poor_proposal(monkeypatch)
    assert (out.flag & flags.MCMC).bool().all()
    assert not (out.flag & flags.LOW_EFFICIENCY).any()
    assert (out.theta[..., 0].std(-1) > 0.05).all()
    torch.testing.assert_close(out.weight, torch.full((2, 100), 0.01))
    torch.testing.assert_close(out.log_density, target.log_density(out.theta), rtol=1e-3, atol=1e-2)


def test_without_emcee_such_a_cluster_keeps_what_there_is(monkeypatch):
    monkeypatch.setitem(sys.modules, "emcee", None)  # as if it were not installed
    with pytest.warns(AstropyUserWarning, match=r"pip install 'clusterpost\[mcmc\]'"):
        target, out = refined_by_a_poor_proposal(monkeypatch)
    assert (out.flag == flags.LOW_EFFICIENCY).all()
    assert target.prior.inside(out.theta).all()
    monkeypatch.setattr(refine_module, "_AIM", 50.0)  # more than can be reached
    with pytest.warns(AstropyUserWarning, match="keep LOW_EFFICIENCY"):
        table = clusterpost.infer_table(clusterpost.simulate(2, seed=1), n_samples=100, progress=False)
    assert ((table["flag"] & flags.LOW_EFFICIENCY) > 0).all()
    assert (table["age_q16"] < table["age_q84"]).all()
    theta, weight = start()
    with pytest.raises(ImportError, match=r"pip install 'clusterpost\[mcmc\]'"):
        run_chain(target[0], theta, weight, 10)
