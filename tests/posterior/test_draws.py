import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm

from clusterpost.flow.network import ConditionalFlow, FlowSpec, choose_permutations
from clusterpost.posterior.draws import base_points, draw_posterior, rotated


@pytest.fixture(scope="module")
def flow():
    spec = FlowSpec(3, 5, (0.0, 2.0, 0.0), (4.0, 8.0, 1.5), choose_permutations(3, 4, seed=1), width=32)
    torch.manual_seed(3)
    flow = ConditionalFlow(spec)
    for parameter in flow.inn.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return flow.requires_grad_(False).eval()


@pytest.fixture(scope="module")
def conditions():
    return torch.randn(12, 5, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("n", [10, 100, 1024])
def test_base_points(n):
    points = base_points(n, 3, seed=0)
    assert points.shape == (n, 3)
    assert ((points >= 0) & (points <= 1)).all()
    assert torch.equal(points, base_points(n, 3, seed=np.int64(0)))
    assert not torch.equal(points, base_points(n, 3, seed=1))
    for i in range(3):
        assert kstest(points[:, i].numpy(), "uniform").statistic < 1.5 / np.sqrt(n)


def test_rotated_points_are_standard_normal(conditions):
    z = rotated(base_points(2048, 3, seed=0), conditions).numpy()
    assert z.shape == (12, 2048, 3)
    assert np.isfinite(z).all()
    for draws in z.reshape(12, 2048, 3).transpose(0, 2, 1).reshape(-1, 2048):
        # evenly spread, hence nearer to the distribution than independent draws would be
        assert kstest(norm.cdf(draws), "uniform").statistic < 0.01
    assert np.abs(np.corrcoef(z[0].T) - np.eye(3)).max() < 0.02


def test_objects_are_rotated_differently(conditions):
    z = rotated(base_points(64, 3, seed=0), conditions)
    assert not torch.isclose(z[0], z[1], atol=1e-3).any(dim=1).any()
    one = conditions[:1].repeat(2, 1)
    one[1, 4] += 0.1  # one condition of five differs
    a, b = rotated(base_points(64, 3, seed=0), one)
    assert not torch.isclose(a, b, atol=1e-3).any(dim=1).any()


def test_rotation_is_continuous(conditions):
    points = base_points(256, 3, seed=0)
    change = (rotated(points, conditions + 1e-7) - rotated(points, conditions)).abs()
    assert change.quantile(0.99) < 1e-3


def test_points_at_the_edges_stay_finite():
    z = rotated(torch.tensor([[0.0, 1.0, 1 - 1e-9]]), torch.zeros(1, 2))
    assert torch.isfinite(z).all()


def test_draws_follow_the_object_not_its_row(flow, conditions):
    points = base_points(50, 3, seed=0)
    theta, log_q = draw_posterior(flow, conditions, points)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    shuffled, log_shuffled = draw_posterior(flow, conditions[order], points)
    torch.testing.assert_close(shuffled, theta[order], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(log_shuffled, log_q[order], rtol=1e-3, atol=1e-3)
    alone, _ = draw_posterior(flow, conditions[5:6], points)
    torch.testing.assert_close(alone[0], theta[5], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(theta[0], theta[1], atol=1e-2)


@pytest.mark.parametrize("points_per_pass", [1, 7, 50, 599, 600, 10_000])
def test_points_per_pass_changes_nothing(flow, conditions, points_per_pass):
    points = base_points(50, 3, seed=0)
    theta, log_q = draw_posterior(flow, conditions, points)
    again, log_again = draw_posterior(flow, conditions, points, points_per_pass)
    torch.testing.assert_close(again, theta, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(log_again, log_q, rtol=1e-3, atol=1e-3)


def test_the_density_is_that_of_the_flow(flow, conditions):
    theta, log_q = draw_posterior(flow, conditions, base_points(50, 3, seed=0))
    expected = flow.log_prob(theta.reshape(-1, 3), conditions.repeat_interleave(50, dim=0)).reshape(12, 50)
    # Within a thousandth of a bound, float32 does not hold where exactly a draw lies.
    unit = (theta - flow.box.low) / (flow.box.high - flow.box.low)
    inner = ((unit > 1e-3) & (unit < 1 - 1e-3)).all(-1)
    assert inner.float().mean() > 0.5
    torch.testing.assert_close(log_q[inner], expected[inner], rtol=1e-2, atol=1e-2)
