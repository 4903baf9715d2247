"""Autoregressive flows of splines through zuko."""

import json

import pytest
import torch

pytest.importorskip("zuko")

from clusterpost.flow.network import build_flow, read_spec
from clusterpost.flow.nsf import NsfFlow, NsfSpec

SPEC = NsfSpec(4, 2, (0.0, 2.0, -1.5, 0.0), (4.0, 8.0, 1.5, 1.0), blocks=3, width=24, bins=5)


@pytest.fixture(scope="module")
def flow():
    torch.manual_seed(0)
    flow = NsfFlow(SPEC)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    flow.standardize.set_from(3 + 2 * torch.randn(100, 2))
    return flow.double().eval()


@pytest.fixture(scope="module")
def inputs():
    generator = torch.Generator().manual_seed(1)
    unit = torch.empty(7, 50, 4, dtype=torch.float64).uniform_(0.01, 0.99, generator=generator)
    return unit, 3 + torch.randn(7, 2, generator=generator, dtype=torch.float64)


def test_draws_lie_inside_and_have_their_density(flow, inputs):
    with torch.no_grad():
        theta, log_q = flow.draw(*inputs)
        assert ((theta >= flow.box.low) & (theta <= flow.box.high)).all()
        torch.testing.assert_close(flow.log_prob(theta, inputs[1]), log_q, rtol=1e-5, atol=1e-5)
        assert (flow.log_prob(theta, inputs[1].roll(1, 0)) - log_q).abs().max() > 0.1


def test_units_computed_once_give_what_zuko_gives(flow, inputs):
    """With gradients zuko inverts; without, this package."""
    theirs = flow.draw(*inputs)
    with torch.no_grad():
        ours = flow.draw(*inputs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b.detach(), rtol=1e-6, atol=1e-6)


def test_untrained_it_is_the_prior():
    flow = NsfFlow(SPEC)
    unit = torch.rand(100, 4, generator=torch.Generator().manual_seed(2))
    theta = torch.lerp(flow.box.low, flow.box.high, unit)
    log_q = flow.log_prob(theta, torch.zeros(100, 2))
    torch.testing.assert_close(log_q, torch.full_like(log_q, -float(torch.tensor([4.0, 6.0, 3.0, 1.0]).log().sum())),
                               atol=1e-4, rtol=0)


def test_architecture_in_a_model_file(flow):
    again = build_flow(read_spec(json.loads(json.dumps(SPEC.to_dict()))))
    again.load_export(flow.export())
    conditions, theta = torch.zeros(3, 2), torch.tensor([[1.0, 3.0, 0.0, 0.5]]).expand(3, -1)
    torch.testing.assert_close(again.eval().float().log_prob(theta, conditions),
                               flow.log_prob(theta.double(), conditions.double()).float(), rtol=1e-4, atol=1e-4)
    assert sum(p.numel() for p in flow.parameters()) == SPEC.count_weights()
