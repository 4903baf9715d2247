"""Spline flows whose blocks see a context."""

import json

import pytest
import torch

from clusterpost.flow.context import ContextSpec, ContextSplineFlow
from clusterpost.flow.network import build_flow, read_spec

LOW, HIGH = (0.0, 2.0, -1.0), (1.0, 4.0, 1.0)


def spec(**changes):
    values = {"n_parameters": 3, "n_conditions": 2, "low": LOW, "high": HIGH, "order": (1, 0, 2), "width": (16,) * 3,
              "depth": (1,) * 3, "bins": (5,) * 3, "splines": (1,) * 3, "knots": 8,
              "coordinates": ("log1m:0.01", "linear", "linear"), "context": 16, "context_depth": 1}
    return ContextSpec(**values | changes)


@pytest.fixture(scope="module")
def flow():
    torch.manual_seed(0)
    flow = ContextSplineFlow(spec())
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    flow.standardize.set_from(3 + 2 * torch.randn(100, 2))
    return flow.double().eval()


@pytest.fixture(scope="module")
def conditions():
    return 3 + torch.randn(6, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@torch.no_grad()
def test_draws_lie_inside_and_have_their_density(flow, conditions):
    unit = torch.empty(6, 50, 3, dtype=torch.float64).uniform_(0.01, 0.99, generator=torch.Generator().manual_seed(2))
    theta, log_q = flow.draw(unit, conditions)
    assert ((theta >= torch.tensor(LOW)) & (theta <= torch.tensor(HIGH))).all()
    torch.testing.assert_close(flow.log_prob(theta, conditions), log_q, rtol=1e-5, atol=1e-5)
    assert (flow.log_prob(theta, conditions.roll(1, 0)) - log_q).abs().max() > 0.1


@torch.no_grad()
def test_density_is_normalized(flow, conditions):
    generator = torch.Generator().manual_seed(3)
    low, high = torch.tensor(LOW, dtype=torch.float64), torch.tensor(HIGH, dtype=torch.float64)
    theta = low + torch.rand(6, 200_000, 3, generator=generator, dtype=torch.float64) * (high - low)
    mass = flow.log_prob(theta, conditions).exp().mean(1) * (high - low).prod()
    torch.testing.assert_close(mass, torch.ones_like(mass), atol=0.06, rtol=0)


@torch.no_grad()
def test_training_and_inference_evaluate_the_same(flow, conditions):
    theta = torch.tensor([[0.9, 2.5, 0.1]], dtype=torch.float64).repeat(6, 1)
    expected = flow.log_prob(theta, conditions)
    try:
        # Blocks of one given parameter move their splines between knots, where training evaluates the network.
        torch.testing.assert_close(flow.train().log_prob(theta, conditions), expected, atol=0.05, rtol=0)
    finally:
        flow.eval()


@torch.no_grad()
def test_comes_back_from_a_file(flow, conditions):
    other = build_flow(read_spec(json.loads(json.dumps(flow.spec.to_dict())))).double().eval()
    other.load_export(flow.export())
    theta = torch.tensor([[0.9, 2.5, 0.1]], dtype=torch.float64).repeat(6, 1)
    assert torch.equal(flow.log_prob(theta, conditions), other.log_prob(theta, conditions))
    assert sum(weights.numel() for weights in flow.parameters()) == flow.spec.count_weights()


@pytest.mark.parametrize("coordinates", [(), ("linear",) * 2, ("linear", "linear", "log")])
def test_what_is_no_architecture(coordinates):
    with pytest.raises(ValueError, match="coordinate"):
        spec(coordinates=coordinates)
