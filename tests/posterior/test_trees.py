import dataclasses

import pytest
import torch
from brute import dense, mocks, worst_quantile

from clusterpost.families.clusters.likelihood import ClusterLikelihood
from clusterpost.noise import get_noise
from clusterpost.posterior.target import Target
from clusterpost.posterior.trees import CellTrees, sample_by_cells
from clusterpost.priors import Exponential, Normal, PowerLaw, ProductPrior, cluster_prior

LOW, HIGH = torch.tensor([0.0, -1.0]), torch.tensor([4.0, 1.0])
CENTER, SIGMA = torch.tensor([[1.234, 0.1], [3.0, -0.5]]), torch.tensor([[0.3, 0.2], [0.004, 0.003]])


def two_normals(rows, points):
    return -0.5 * ((points - CENTER[rows, None]) / SIGMA[rows, None]).square().sum(-1)


@pytest.fixture(scope="module")
def trees():
    """Of two objects: one wide, one much narrower than the first cells."""
    return CellTrees(two_normals, 2, LOW, HIGH)


NUMBERS = torch.arange(2)[:, None]


def midpoints(low, high, n):
    """Points of a grid of n x n cells for each object, and the area of a cell."""
    axis = (torch.arange(n) + 0.5) / n
    unit = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).reshape(1, -1, 2)
    return low[:, None] + (high - low)[:, None] * unit, (high - low).prod(-1).double() / n**2


def test_draws_have_the_density_that_is_said(trees):
    unit = torch.rand(2, 4000, 2, generator=torch.Generator().manual_seed(0))
    theta, log_q = trees.draw(unit, NUMBERS)
    torch.testing.assert_close(trees.log_prob(theta, NUMBERS), log_q)
    assert ((theta >= LOW) & (theta <= HIGH)).all()
    inside = (theta < CENTER[:, None]).all(-1).double().mean(1)
    torch.testing.assert_close(inside, torch.full((2,), 0.25).double(), atol=0.03, rtol=0)
    # The density is normalized: what is within ten standard deviations, and what is anywhere else.
    low, high = (torch.clamp(CENTER + sign * 10 * SIGMA, LOW, HIGH) for sign in (-1, 1))
    places, sizes = midpoints(low, high, 500)
    total = sizes * trees.log_prob(places, NUMBERS).double().exp().sum(1)
    places, sizes = midpoints(LOW.expand(2, 2), HIGH.expand(2, 2), 500)
    elsewhere = ((places < low[:, None]) | (places > high[:, None])).any(-1)
    total += sizes * (elsewhere * trees.log_prob(places, NUMBERS).double().exp()).sum(1)
    torch.testing.assert_close(total, torch.ones(2).double(), atol=0.01, rtol=0)


def test_weights_are_all_but_equal(trees):
    unit = torch.rand(2, 4000, 2, generator=torch.Generator().manual_seed(0))
    theta, log_q = trees.draw(unit, NUMBERS)
    weight = torch.softmax(two_normals(NUMBERS[:, 0], theta) - log_q, 1)
    assert (1 / weight.square().sum(1) / 4000 > 0.85).all()


def test_a_density_that_is_nowhere_is_uniform():
    nothing = CellTrees(lambda rows, points: torch.full(points.shape[:2], torch.nan), 1, LOW, HIGH)
    log_q = nothing.log_prob(torch.tensor([[[1.0, 0.5], [3.9, -0.9]]]), NUMBERS[:1])
    torch.testing.assert_close(log_q.exp(), torch.full((1, 2), 1 / 8))


def target_of(observed, table, noise, prior):
    return Target(observed, ClusterLikelihood(table, get_noise(noise)), prior)


def with_limit(observed, times=0.7):
    """The bluest band is not detected, and its limit lies below what the flux was."""
    flux, error = observed.flux.clone(), observed.error.clone()
    flux[:, 0], error[:, 0] = times * flux[:, 0], 0.1 * flux[:, 0]
    limit, measured = observed.limit.clone(), observed.measured.clone()
    limit[:, 0], measured[:, 0] = True, False
    return dataclasses.replace(observed, flux=flux, error=error, limit=limit, measured=measured)


CASES = {
    "normal": ("normal", cluster_prior(), None),
    "upper limit": ("lognormal", cluster_prior(), with_limit),
    "slope and exponential": ("lognormal", ProductPrior(log_mass=PowerLaw(-2), ebv=Exponential(0.3)), None),
    "no power law": ("lognormal", ProductPrior(log_mass=Normal(4.5, 0.2)), None),
    "distance uncertain": ("normal", cluster_prior(0.2), None),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_draws_are_the_exact_posterior(case):
    name, prior, change = CASES[case]
    _, observed, table = mocks(1, name, seed=6, error=(0.3, 0.45), mass=(4.0, 5.0))
    observed = change(observed) if change else observed
    with torch.inference_mode():
        out = sample_by_cells(target_of(observed, table, name, prior), n_samples=4096, seed=0)
        axes, marginals, log_evidence = dense(observed, table, get_noise(name), prior, (120, 90, 50))
    assert out.efficiency[0] > 0.8
    assert worst_quantile(out.theta[0], out.weight[0], axes, marginals) < 0.07
    assert out.log_evidence[0].item() == pytest.approx(log_evidence, abs=0.03)


def test_a_limit_counts():
    """Without it, the posterior is another."""
    _, observed, table = mocks(1, seed=6, error=(0.3, 0.45), mass=(4.0, 5.0))
    limited = with_limit(observed, 0.3)
    without = dataclasses.replace(limited, limit=torch.zeros_like(limited.limit))
    with torch.inference_mode():
        out, other = (sample_by_cells(target_of(o, table, "lognormal", cluster_prior()), n_samples=1024, seed=0)
                      for o in (limited, without))
    mean = [(x.weight[..., None] * x.theta).sum(1)[0] for x in (out, other)]
    assert ((mean[0] - mean[1]).abs() / other.theta[0].std(0)).max() > 0.3


def test_an_object_is_drawn_alike_whatever_is_beside_it():
    _, observed, table = mocks(5, "normal", seed=1, error=(0.02, 0.3))
    observed = dataclasses.replace(observed, limit=observed.limit.clone(), measured=observed.measured.clone())
    observed.limit[2, 0], observed.measured[2, 0] = True, False
    with torch.inference_mode():
        target = target_of(observed, table, "normal", cluster_prior())
        together = sample_by_cells(target, n_samples=256, seed=0)
        for row in (1, 2):
            alone = sample_by_cells(target[row], n_samples=256, seed=0)
            torch.testing.assert_close(alone.theta[0], together.theta[row], rtol=0, atol=2e-3)
